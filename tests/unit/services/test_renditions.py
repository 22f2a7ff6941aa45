"""Renditions are cut and shrunk from the real files, once."""

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
def fetcher(tmp_path: Path) -> ResultFetcher:
    return ResultFetcher(ScriptedBackend(tmp_path / "backend"), tmp_path / "jobs", now=lambda: NOW)


def paint(fetcher: ResultFetcher, job: Job, *rows: int) -> None:
    """Strips whose cells have colours of their own, and the grid."""
    geometry = grid_geometry(job.request)
    folder = fetcher.folder(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        strip = Image.effect_noise(geometry.strip_size, 90).convert("RGB")
        for column in range(1, geometry.samples + 1):
            strip.paste((row * 40, column * 40, 0), geometry.cell_box(1, column))
        strip.save(fetcher.row_path(job.id, row))
    if rows:
        imaging.stack_rows(
            [fetcher.row_path(job.id, row) for row in rows], folder / file_name("grid")
        )


async def test_a_grid_that_fits_is_shown_as_it_is(fetcher: ResultFetcher) -> None:
    job = a_job()
    paint(fetcher, job, 1, 2)

    assert await RenditionCache(fetcher).grid(job, 10 * MIB) == fetcher.result(job).grid


async def test_a_grid_that_does_not_fit_is_written_smaller_once(fetcher: ResultFetcher) -> None:
    job = a_job()
    paint(fetcher, job, 1, 2)
    renditions = RenditionCache(fetcher)

    small = await renditions.grid(job, 3_000)
    made_at = small.stat().st_mtime_ns

    assert small.stat().st_size <= 3_000
    assert small.suffix == ".webp"
    assert await renditions.grid(job, 3_000) == small
    assert small.stat().st_mtime_ns == made_at
    assert not [one for one in small.parent.iterdir() if one.is_dir()]


async def test_one_image_is_cut_out_exactly(fetcher: ResultFetcher) -> None:
    job = a_job()
    paint(fetcher, job, 1, 2)
    renditions = RenditionCache(fetcher)

    for row in (1, 2):
        for column in (1, 2):
            path = await renditions.image(job, row, column, MIB)
            assert await renditions.image(job, row, column, MIB) == path
            with Image.open(path) as image:
                assert image.size == (64, 64)
                assert image.convert("RGB").getcolors() == [(64 * 64, (row * 40, column * 40, 0))]


async def test_an_upscaled_picture_is_its_own_row(fetcher: ResultFetcher) -> None:
    job = a_job(1, 1, SourceImage("b" * 16, 1, 1))
    paint(fetcher, job, 1)

    path = await RenditionCache(fetcher).image(job, 1, 1, MIB)

    assert path == fetcher.row_path(job.id, 1)
    assert await RenditionCache(fetcher).preview(job) is None


async def test_a_preview_shows_rows_in_their_places(fetcher: ResultFetcher) -> None:
    job = a_job(rows=3)
    renditions = RenditionCache(fetcher)
    assert await renditions.preview(job) is None
    paint(fetcher, job, 2)

    path = await renditions.preview(job)

    assert path is not None
    assert await renditions.preview(job) == path
    with Image.open(path) as image:
        width, height = image.size
        assert (width, height) == (134, 204)
        assert image.getpixel((width // 4, height // 6)) == pytest.approx((43, 45, 49), abs=6)
        assert image.getpixel((width // 4, height // 2)) == pytest.approx((80, 40, 0), abs=12)
    paint(fetcher, job, 1, 2)
    assert await renditions.preview(job) != path


async def test_a_broken_row_makes_no_preview(fetcher: ResultFetcher) -> None:
    job = a_job()
    paint(fetcher, job, 1)
    fetcher.row_path(job.id, 1).write_bytes(b"no picture")

    assert await RenditionCache(fetcher).preview(job) is None


async def test_files_that_are_gone_are_missing(fetcher: ResultFetcher) -> None:
    job = a_job()
    renditions = RenditionCache(fetcher)

    with pytest.raises(ArtifactMissing):
        await renditions.grid(job, MIB)
    with pytest.raises(ArtifactMissing):
        await renditions.image(job, 1, 1, MIB)
