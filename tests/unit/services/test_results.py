"""Fetching results: what is fetched, what is dropped, and what is composed here instead."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.backends.base import Submission
from bot.backends.scripted import Recording, ScriptedBackend, synthetic_recording
from bot.domain.errors import ArtifactMissing, Unavailable
from bot.domain.events import Artifact
from bot.domain.grid import grid_geometry
from bot.domain.job import Job, JobState
from tests.unit.services.harness import Harness, open_harness


async def _made(harness: Harness) -> Job:
    (job,) = await harness.ended((await harness.submit(rows=3)).id)
    return job


def _gridless(job: Submission) -> Recording:
    return synthetic_recording(job.workflow, grid=False)


async def test_a_result_is_a_grid_its_rows_and_what_there_is_to_know(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        job = await _made(harness)
        package = harness.fetcher.result(job)
        with Image.open(package.grid) as grid:
            assert grid.size == grid_geometry(job.request).size
        assert [number for number, _ in package.rows] == [1, 2, 3]
        known = json.loads(package.metadata.read_text(encoding="utf-8"))
        assert known["prompt"] == "a lighthouse at dawn"
        assert known["row_seeds"] == {"1": 7, "2": 8, "3": 9}
        assert known["missing_rows"] == []
        # A recording has no painter of its own: what was asked for is all that is known.
        assert (known["painter"], known["model"]) == ("sd-2-1", "sd-2-1")
        assert (known["engine"], known["steps_run"]) == (None, None)
        assert known["created_at"] < known["collected_at"]
        assert set(known["sha256"]) == {"grid.png", *(path.name for _, path in package.rows)}
        for name, digest in known["sha256"].items():
            content = (package.folder / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest
        assert not list(package.folder.glob(".*"))


@pytest.mark.parametrize("how", ["never made", "lost on the way"])
async def test_a_grid_that_is_not_there_is_composed_from_the_rows(tmp_path: Path, how: str) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    if how == "never made":
        backend = ScriptedBackend(tmp_path / "scripted", recording=_gridless, speed=0)
    else:
        backend.faults.missing = frozenset({"grid.png"})
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert job.state is JobState.FINISHED
        package = harness.fetcher.result(job)
        strips = [Image.open(path) for _, path in package.rows]
        with Image.open(package.grid) as grid:
            assert grid.size == grid_geometry(job.request).size
            top = 0
            for strip in strips:
                box = (0, top, grid.width, top + strip.height)
                assert grid.crop(box).tobytes() == strip.tobytes()
                top += strip.height
                strip.close()


async def test_a_row_that_is_lost_on_the_way_is_left_out(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.missing = frozenset({"row-02.png"})
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert job.fetched_rows == (1, 3)
        package = harness.fetcher.result(job)
        with Image.open(package.grid) as grid:
            assert grid.height == 2 * grid_geometry(job.request).strip_size[1]
        known = json.loads(package.metadata.read_text(encoding="utf-8"))
        assert known["missing_rows"] == [2]
        assert known["row_seeds"] == {"1": 7, "3": 9}
        assert await harness.faults() == ()


async def test_a_row_that_was_painted_again_is_fetched_as_it_was_announced_last(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path) as harness:
        job = await _made(harness)
        row = job.rows[0]
        assert row.artifact is not None
        harness.fetcher.row_path(job.id, 1).unlink()
        # What an earlier run announced lies under the same name, and is not that any more.
        earlier = replace(row, artifact=replace(row.artifact, sha256="0" * 64))
        lost = harness.fetcher.prefetch_row(job, earlier)
        path = await harness.fetcher.prefetch_row(job, row)
        assert path.exists()
        with pytest.raises(asyncio.CancelledError):
            await lost
        harness.fetcher.discard(job.id)


class SlowBackend(ScriptedBackend):
    """Never has what an earlier run announced: its server says to come back, for ever."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, speed=0)
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        if artifact.sha256 == "0" * 64:
            self.asked.set()
            await self.gate.wait()
            raise Unavailable("come back later")
        await super().fetch(artifact, target)


async def test_a_row_that_was_painted_again_does_not_wait_for_the_first_fetch(
    tmp_path: Path,
) -> None:
    backend = SlowBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        row = job.rows[0]
        assert row.artifact is not None
        harness.fetcher.row_path(job.id, 1).unlink()
        earlier = replace(row, artifact=replace(row.artifact, sha256="0" * 64))
        waiting = harness.fetcher.prefetch_row(job, earlier)
        await backend.asked.wait()
        async with asyncio.timeout(10):
            path = await harness.fetcher.prefetch_row(job, row)
        assert path.exists()
        assert waiting.cancelled()
        assert await harness.fetcher.fetch_all(job) == (1, 2, 3)
        assert not list(harness.fetcher.folder(job.id).glob(".*"))


class Painterly(ScriptedBackend):
    """Delivers one of the files in another size, correctly announced or not."""

    wrong = "row-02.png"

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        await super().fetch(artifact, target)
        if target.name == self.wrong:
            await asyncio.to_thread(Image.new("RGB", (10, 10)).save, target)


@pytest.mark.parametrize(("wrong", "here"), [("row-02.png", (1, 3)), ("grid.png", (1, 2, 3))])
async def test_a_picture_of_the_wrong_size_is_dropped(
    tmp_path: Path, wrong: str, here: tuple[int, ...]
) -> None:
    backend = Painterly(tmp_path / "scripted", speed=0)
    backend.wrong = wrong
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert job.fetched_rows == here
        with Image.open(harness.fetcher.result(job).grid) as grid:
            size = replace(grid_geometry(job.request), rows=len(here)).size
            assert grid.size == size
        assert harness.fetcher.row_path(job.id, 2).exists() == (2 in here)


class FlakyBackend(ScriptedBackend):
    """Is away when files are fetched, so many times."""

    away = 2
    fetched = 0

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("try again")
        self.fetched += 1
        await super().fetch(artifact, target)


async def test_a_file_server_that_is_away_is_asked_again(tmp_path: Path) -> None:
    async with open_harness(
        tmp_path, backend=FlakyBackend(tmp_path / "scripted", speed=0)
    ) as harness:
        job = await _made(harness)
        assert job.fetched_rows == (1, 2, 3)
        assert harness.sleeps.taken


async def test_a_file_server_that_is_away_for_minutes_costs_no_picture(tmp_path: Path) -> None:
    backend = FlakyBackend(tmp_path / "scripted", speed=0)
    backend.away = 30  # fewer than one row alone would wait for
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert job.fetched_rows == (1, 2, 3)
        assert 60.0 in harness.sleeps.taken


async def test_a_file_server_that_stays_away_loses_the_pictures(tmp_path: Path) -> None:
    backend = FlakyBackend(tmp_path / "scripted", speed=0)
    backend.away = 1000
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert job.state is JobState.FAILED
        assert await harness.faults() == ()


async def test_each_file_is_fetched_once(tmp_path: Path) -> None:
    backend = FlakyBackend(tmp_path / "scripted", speed=0)
    backend.away = 0
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await _made(harness)
        assert backend.fetched == 4
        assert await harness.fetcher.fetch_all(job) == (1, 2, 3)
        assert backend.fetched == 4


async def test_begun_twice_is_fetched_once_and_forgotten_is_stopped(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        job = await _made(harness)
        first = harness.fetcher.prefetch_row(job, job.rows[0])
        assert harness.fetcher.prefetch_row(job, job.rows[0]) is first
        harness.fetcher.discard(job.id)
        await asyncio.wait([first])
        assert first.cancelled()


async def test_a_foreign_error_is_not_swallowed(tmp_path: Path) -> None:
    class Broken(ScriptedBackend):
        async def fetch(self, artifact: Artifact, target: Path) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    async with open_harness(tmp_path, backend=Broken(tmp_path / "scripted", speed=0)) as harness:
        job = await _made(harness)
        assert job.state is JobState.FAILED
        with pytest.raises(BrokenPipeError):
            await harness.fetcher.fetch_all(replace(job, grid=None))
        assert await harness.faults() == ()


async def test_a_job_without_rows_has_nothing_to_collect(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        with pytest.raises(ArtifactMissing, match="none of the announced rows"):
            await harness.fetcher.fetch_all(job)
