"""Sizes are tested against the best that trying every allowed size can find."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.domain.image_size import SIZE_STEP_PX, fit_aspect, is_valid_size

SIDES = st.integers(1, 64)
AREAS = st.integers(512 * 512, 1024 * 1024)


@pytest.mark.parametrize(
    ("ratio", "size"),
    [((1, 1), (768, 768)), ((16, 9), (1024, 576)), ((9, 16), (576, 1024)), ((4, 1), (1536, 384))],
)
def test_common_shapes_have_their_exact_size(ratio: tuple[int, int], size: tuple[int, int]) -> None:
    assert fit_aspect(*ratio, 768 * 768, 1024 * 1024) == size


@settings(deadline=None, max_examples=150)
@given(SIDES, SIDES, AREAS, st.integers(SIZE_STEP_PX * SIZE_STEP_PX, 2048 * 2048))
def test_a_fitted_size_is_allowed_and_keeps_its_orientation(
    ratio_w: int, ratio_h: int, area: int, max_pixels: int
) -> None:
    assume(1 / 4 <= ratio_w / ratio_h <= 4)
    width, height = fit_aspect(ratio_w, ratio_h, area, max_pixels)
    assert is_valid_size(width, height, max_pixels)
    assert min(width, height) >= 64
    assert (width - height) * (ratio_w - ratio_h) >= 0
    assert fit_aspect(ratio_h, ratio_w, area, max_pixels) == (height, width)
    assert fit_aspect(3 * ratio_w, 3 * ratio_h, area, max_pixels) == (width, height)


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, AREAS, st.integers(SIZE_STEP_PX * SIZE_STEP_PX, 1280 * 1280))
def test_no_allowed_size_fits_better(
    ratio_w: int, ratio_h: int, area: int, max_pixels: int
) -> None:
    assume(1 / 4 <= ratio_w / ratio_h <= 4)
    wanted = min(area, max_pixels)

    def misfit(width: int, height: int) -> float:
        shape = abs(log(width * ratio_h / (height * ratio_w)))
        return 2 * shape + abs(log(width * height / wanted))

    sides = range(SIZE_STEP_PX, 2 * 1280 + 1, SIZE_STEP_PX)
    allowed = [(w, h) for w in sides for h in sides if is_valid_size(w, h, max_pixels)]
    best = min(misfit(*size) for size in allowed)
    assert misfit(*fit_aspect(ratio_w, ratio_h, area, max_pixels)) == pytest.approx(best, abs=1e-8)


@settings(deadline=None, max_examples=100)
@given(SIDES, SIDES, AREAS)
def test_shape_and_area_come_out_close_to_what_was_asked(
    ratio_w: int, ratio_h: int, area: int
) -> None:
    assume(1 / 4 <= ratio_w / ratio_h <= 4)
    width, height = fit_aspect(ratio_w, ratio_h, area, 2 * area)
    assert abs(log(width * ratio_h / (height * ratio_w))) < 0.12
    assert abs(log(width * height / area)) < 0.3


@settings(deadline=None)
@given(st.integers(1, 16))
def test_a_square_of_whole_tiles_is_fitted_exactly(tiles: int) -> None:
    side = tiles * SIZE_STEP_PX
    assert fit_aspect(1, 1, side * side, 1024 * 1024) == (side, side)


@pytest.mark.parametrize(
    "call", [(5, 1, 4096, 4096), (1, 5, 4096, 4096), (0, 1, 4096, 4096), (1, -1, 4096, 4096)]
)
def test_a_ratio_beyond_four_to_one_is_an_error(call: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="nothing fits"):
        fit_aspect(*call)


@pytest.mark.parametrize("call", [(1, 1, 4096, 4095), (1, 1, 0, 4096)])
def test_less_than_one_tile_is_an_error(call: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="nothing fits"):
        fit_aspect(*call)
