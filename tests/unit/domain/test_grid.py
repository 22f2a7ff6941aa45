"""Geometry of the picture, its encodings, and the words that go with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations, pairwise, product
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Finished,
    ResultsFetched,
    RowReady,
    Scheduled,
)
from bot.domain.grid import (
    BORDER,
    MAX_ALT_TEXT_LENGTH,
    MAX_PREVIEW_SIDE,
    MAX_WEBP_SIDE,
    Box,
    GridGeometry,
    alt_text,
    caption,
    encodings,
    encodings_within,
    file_name,
    grid_geometry,
)
from bot.domain.job import Job, apply_event, new_job
from bot.domain.request import Author, ChannelRef, Request, SourceImage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = Request(
    prompt="an astronaut in space",
    seed=1001,
    steps=50,
    width=768,
    height=512,
    rows=4,
    samples=3,
    model="sd-2-1",
    author=Author(1, "Ada"),
    place=ChannelRef(2, 3),
)
MEBIBYTE = 1024 * 1024

geometries = st.builds(
    GridGeometry,
    st.integers(1, 2048),
    st.integers(1, 2048),
    st.integers(1, 8),
    st.integers(1, 5),
)
pure = settings(max_examples=100, deadline=None)


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_strip_and_a_grid_are_as_large_as_the_engine_makes_them() -> None:
    geometry = grid_geometry(REQUEST)
    assert geometry.strip_size == (2312, 516)
    assert geometry.size == (2312, 2064)
    assert geometry.row_box(2) == (0, 516, 2312, 1032)
    assert geometry.cell_box(1, 1) == (2, 2, 770, 514)
    assert geometry.cell_box(4, 3) == (1542, 1550, 2310, 2062)


@pure
@given(geometries)
def test_rows_tile_the_grid_from_top_to_bottom(geometry: GridGeometry) -> None:
    boxes = [geometry.row_box(row) for row in range(1, geometry.rows + 1)]
    assert boxes[0][:2] == (0, 0)
    assert boxes[-1][2:] == geometry.size
    for above, below in pairwise(boxes):
        assert above[3] == below[1]
    assert {(box[2] - box[0], box[3] - box[1]) for box in boxes} == {geometry.strip_size}


@pure
@given(geometries)
def test_cells_lie_apart_inside_their_row_and_fill_it_but_for_borders(
    geometry: GridGeometry,
) -> None:
    cells = {
        (row, column): geometry.cell_box(row, column)
        for row, column in product(range(1, geometry.rows + 1), range(1, geometry.samples + 1))
    }
    for (row, _), (left, top, right, bottom) in cells.items():
        assert (right - left, bottom - top) == (geometry.width, geometry.height)
        outer = geometry.row_box(row)
        assert outer[0] + geometry.border <= left
        assert outer[1] + geometry.border == top
        assert right <= outer[2] - geometry.border
        assert bottom == outer[3] - geometry.border
    assert not any(overlap(one, other) for one, other in combinations(cells.values(), 2))
    width, height = geometry.strip_size
    upright = geometry.border * height * (geometry.samples + 1)
    level = 2 * geometry.border * geometry.width * geometry.samples
    borders = upright + level
    assert width * height - borders == geometry.samples * geometry.width * geometry.height


def test_a_row_of_one_picture_has_no_border_as_torchvision_gives_it_none() -> None:
    geometry = grid_geometry(replace(REQUEST, samples=1))
    assert geometry.strip_size == (768, 512)
    assert geometry.cell_box(2, 1) == (0, 512, 768, 1024)
    assert grid_geometry(REQUEST).border == BORDER


def test_a_row_or_picture_that_is_not_in_the_grid_has_no_box() -> None:
    geometry = grid_geometry(REQUEST)
    for row, column in ((0, 1), (5, 1), (1, 0), (1, 4)):
        with pytest.raises(ValueError, match="of"):
            geometry.cell_box(row, column)
    with pytest.raises(ValueError, match="row 5 of 4"):
        geometry.row_box(5)
    with pytest.raises(ValueError, match="at least one"):
        GridGeometry(768, 768, 0, 3)


@pure
@given(geometries, st.integers(64, 20_000))
def test_every_encoding_fits_the_side_and_each_is_smaller_than_the_last(
    geometry: GridGeometry, side: int
) -> None:
    methods = encodings(geometry, side)
    for encoding in methods:
        width, height = encoding.size(geometry.size)
        assert 1 <= width <= min(side, MAX_WEBP_SIDE, geometry.size[0])
        assert 1 <= height <= min(side, MAX_WEBP_SIDE, geometry.size[1])
    assert methods[0].format == "png"
    assert methods[0].quality is None
    assert [encoding.format for encoding in methods[1:]] == ["jpeg"] + ["webp"] * (len(methods) - 2)
    for larger, smaller in pairwise(methods[1:]):
        assert (smaller.scale, smaller.quality or 0) < (larger.scale, larger.quality or 0)


def test_a_grid_within_the_preview_is_first_tried_whole_and_without_loss() -> None:
    best = encodings(grid_geometry(REQUEST))[0]
    assert best.size(grid_geometry(REQUEST).size) == (2312, 2064)


def test_a_grid_beyond_the_preview_is_scaled_to_it() -> None:
    wide = GridGeometry(1024, 768, 2, 8)
    best = encodings(wide)[0]
    assert best.size(wide.size)[0] == MAX_PREVIEW_SIDE
    assert wide.max_scale(100_000) == 1


def test_the_smallest_encoding_of_the_largest_grid_is_small_enough_for_any_limit() -> None:
    huge = GridGeometry(1024, 1024, 8, 4)
    width, height = encodings(huge)[-1].size(huge.size)
    assert width * height * 3 < 10 * MEBIBYTE


def test_a_png_that_cannot_fit_is_not_tried() -> None:
    geometry = grid_geometry(REQUEST)
    whole = encodings(geometry)
    assert encodings_within(geometry, 10 * MEBIBYTE, png_bytes=None) == whole
    assert encodings_within(geometry, 10 * MEBIBYTE, png_bytes=9 * MEBIBYTE) == whole
    assert encodings_within(geometry, 10 * MEBIBYTE, png_bytes=11 * MEBIBYTE) == whole[1:]


def test_scaling_is_taken_into_account_before_a_png_is_given_up() -> None:
    wide = GridGeometry(1024, 768, 2, 8)
    assert encodings_within(wide, 10 * MEBIBYTE, png_bytes=20 * MEBIBYTE)[0].format == "png"
    assert encodings_within(wide, 10 * MEBIBYTE, png_bytes=80 * MEBIBYTE)[0].format == "jpeg"


def test_files_are_named_as_the_workflow_names_them() -> None:
    assert file_name("grid") == "grid.png"
    assert file_name("row", 1) == "row-01.png"
    assert file_name("image", 1, 2) == "row-01-img-02.png"
    assert file_name("grid", extension="webp") == "grid.webp"


@pytest.mark.parametrize(
    ("kind", "row", "column"),
    [("grid", 1, None), ("row", None, None), ("row", 1, 1), ("image", 1, None)],
)
def test_a_name_needs_just_the_numbers_of_its_kind(
    kind: Literal["grid", "row", "image"], row: int | None, column: int | None
) -> None:
    with pytest.raises(ValueError, match="names no file"):
        file_name(kind, row, column)


def collected(request: Request, rows: tuple[int, ...]) -> Job:
    job = apply_event(new_job("a" * 16, request, NOW), Scheduled(), NOW)
    job = apply_event(job, Accepted(BackendJobRef("scripted", "1")), NOW)
    for row in rows:
        job = apply_event(job, RowReady(row, 1000 + row, Artifact("file:///x", 1, "0" * 64)), NOW)
    job = apply_event(job, Finished(len(rows), request.rows - len(rows)), NOW)
    return apply_event(job, ResultsFetched(rows), NOW)


def test_a_caption_says_the_settings_and_no_word_of_the_member() -> None:
    text = caption(collected(REQUEST, (1, 2, 3, 4)))
    assert text == "4 × 3 pictures · 768 × 512 px · seed 1001 · 50 steps · sd-2-1"
    assert caption(new_job("a" * 16, REQUEST, NOW)) == text


def test_a_caption_says_what_is_missing_and_which_style_was_added() -> None:
    job = collected(replace(REQUEST, style="ink"), (1, 4))
    assert "2 of 4 rows could be made" in caption(job)
    assert caption(job).endswith("· style ink")


def test_a_caption_of_an_upscaled_picture_names_where_it_comes_from() -> None:
    request = replace(REQUEST, rows=1, samples=1, origin=SourceImage("b" * 16, 2, 3))
    assert caption(collected(request, (1,))) == "picture 3 of row 2, upscaled · seed 1001 · sd-2-1"
    single = replace(request, origin=None)
    assert caption(collected(single, (1,))).startswith("1 picture · 768 × 512 px")


def test_alternative_texts_say_what_there_is_and_what_was_asked_for() -> None:
    assert alt_text(REQUEST) == "Grid of 4 × 3 pictures: an astronaut in space"
    assert alt_text(REQUEST, 2) == "Row 2 of 4: an astronaut in space"
    assert alt_text(REQUEST, 2, 3) == "Picture 3 of row 2: an astronaut in space"
    assert alt_text(replace(REQUEST, rows=1, samples=1)) == "Picture: an astronaut in space"


def test_a_long_prompt_is_cut_with_an_ellipsis() -> None:
    text = alt_text(replace(REQUEST, prompt="a " * 1000))
    assert len(text) <= MAX_ALT_TEXT_LENGTH
    assert text.endswith(" a…")
    emoji = alt_text(replace(REQUEST, prompt="🦊" * 1000))
    assert len(emoji.encode("utf-16-le")) // 2 in {MAX_ALT_TEXT_LENGTH - 1, MAX_ALT_TEXT_LENGTH}
    assert emoji.endswith("🦊…")


@pure
@given(st.text(max_size=1500))
def test_an_alternative_text_always_fits(prompt: str) -> None:
    text = alt_text(replace(REQUEST, prompt=prompt))
    assert len(text.encode("utf-16-le", "surrogatepass")) // 2 <= MAX_ALT_TEXT_LENGTH
