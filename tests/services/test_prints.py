"""Prints are cut and shrunk from the real files, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import ArtifactMissing
from bot.domain.events import Artifact
from bot.domain.grid import file_name, grid_geometry
from bot.domain.job import Job, new_job
from bot.domain.request import Author, ChannelRef, Request, SourceImage
from bot.services import imaging
from bot.services.renditions import RenditionCache
from bot.services.results import ResultFetcher

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MIB = 1024 * 1024


def a_job(rows: int = 2, samples: int = 2, origin: SourceImage | None = None) -> Job:
    request = Request(
        prompt="a lighthouse",
        seed=7,
        steps=4,
        width=64,
        height=64,
        rows=rows,
        samples=samples,
        model="sd-2-1",
        author=Author(1, "Ada"),
        place=ChannelRef(1, 2),
        origin=origin,
    )
    job = new_job("a" * 16, request, NOW)
    published = tuple(replace(row, artifact=Artifact("https://x", 1, "ab")) for row in job.rows)
    return replace(job, rows=published, fetched_rows=tuple(range(1, rows + 1)))


@pytest.fixture
def collector(tmp_path: Path) -> ResultFetcher:
    return ResultFetcher(ScriptedBackend(tmp_path / "backend"), tmp_path / "jobs", now=lambda: NOW)


def paint(collector: ResultFetcher, job: Job, *rows: int) -> None:
    """Strips whose cells have colours of their own, and the grid."""
    geometry = grid_geometry(job.request)
    folder = collector.folder(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        strip = Image.effect_noise(geometry.strip_size, 90).convert("RGB")
        for column in range(1, geometry.samples + 1):
            strip.paste((row * 40, column * 40, 0), geometry.cell_box(1, column))
        strip.save(collector.row_path(job.id, row))
    if rows:
        imaging.stack_rows(
            [collector.row_path(job.id, row) for row in rows], folder / file_name("grid")
        )


async def test_a_grid_that_fits_is_shown_as_it_is(collector: ResultFetcher) -> None:
    job = a_job()
    paint(collector, job, 1, 2)

    assert await RenditionCache(collector).grid(job, 10 * MIB) == collector.result(job).grid


async def test_a_grid_that_does_not_fit_is_written_smaller_once(collector: ResultFetcher) -> None:
    job = a_job()
    paint(collector, job, 1, 2)
    prints = RenditionCache(collector)

    small = await prints.grid(job, 3_000)
    made_at = small.stat().st_mtime_ns

    assert small.stat().st_size <= 3_000
    assert small.suffix == ".webp"
    assert await prints.grid(job, 3_000) == small
    assert small.stat().st_mtime_ns == made_at
    assert not [one for one in small.parent.iterdir() if one.is_dir()]


async def test_one_image_is_cut_out_exactly(collector: ResultFetcher) -> None:
    job = a_job()
    paint(collector, job, 1, 2)
    prints = RenditionCache(collector)

    for row in (1, 2):
        for column in (1, 2):
            path = await prints.image(job, row, column, MIB)
            assert await prints.image(job, row, column, MIB) == path
            with Image.open(path) as image:
                assert image.size == (64, 64)
                assert image.convert("RGB").getcolors() == [(64 * 64, (row * 40, column * 40, 0))]


async def test_an_upscaled_picture_is_its_own_row(collector: ResultFetcher) -> None:
    job = a_job(1, 1, SourceImage("b" * 16, 1, 1))
    paint(collector, job, 1)

    path = await RenditionCache(collector).image(job, 1, 1, MIB)

    assert path == collector.row_path(job.id, 1)
    assert await RenditionCache(collector).preview(job) is None


async def test_a_preview_shows_rows_in_their_places(collector: ResultFetcher) -> None:
    job = a_job(rows=3)
    prints = RenditionCache(collector)
    assert await prints.preview(job) is None
    paint(collector, job, 2)

    path = await prints.preview(job)

    assert path is not None
    assert await prints.preview(job) == path
    with Image.open(path) as image:
        width, height = image.size
        assert (width, height) == (134, 204)
        assert image.getpixel((width // 4, height // 6)) == pytest.approx((43, 45, 49), abs=6)
        assert image.getpixel((width // 4, height // 2)) == pytest.approx((80, 40, 0), abs=12)
    paint(collector, job, 1, 2)
    assert await prints.preview(job) != path


async def test_a_broken_row_makes_no_preview(collector: ResultFetcher) -> None:
    job = a_job()
    paint(collector, job, 1)
    collector.row_path(job.id, 1).write_bytes(b"no picture")

    assert await RenditionCache(collector).preview(job) is None


async def test_files_that_are_gone_are_missing(collector: ResultFetcher) -> None:
    job = a_job()
    prints = RenditionCache(collector)

    with pytest.raises(ArtifactMissing):
        await prints.grid(job, MIB)
    with pytest.raises(ArtifactMissing):
        await prints.image(job, 1, 1, MIB)
