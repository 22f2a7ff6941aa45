"""Pictures that are removed: in which order, after an interruption, and what stays."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import Unavailable
from bot.domain.job import Job, JobState
from bot.domain.request import SourceImage
from bot.domain.retention import RemovalCause, RetentionLimits
from bot.services.retention import RetentionService
from bot.services.storage import StorageReport, measure_storage
from bot.store import deliveries, pictures
from bot.store.pictures import PictureRepository
from tests.unit.pictures.site import templates
from tests.unit.services.fakes import CHANNEL, GUILD, NOW
from tests.unit.services.harness import Harness, a_member, open_harness

DAY = RetentionLimits(age=timedelta(days=1))
NO_LIMITS = RetentionLimits()
STAMP = NOW.isoformat(timespec="microseconds")


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Stage:
    """A harness with jobs and a way to remove their pictures."""

    harness: Harness
    removed: list[tuple[str, int]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    away: bool = False

    async def forget(self, job_id: str) -> None:
        if self.away:
            raise Unavailable("not there")
        self.forgotten.append(job_id)

    def retention(
        self,
        limits: RetentionLimits = NO_LIMITS,
        sleep: Callable[[float], object] | None = None,
    ) -> RetentionService:
        return RetentionService(
            self.harness.database,
            self.harness.fetcher,
            limits,
            forget=self.forget,
            release=self.forget,
            now=self.harness.clock,
            sleep=sleep or self.harness.sleeps,  # type: ignore[arg-type]
            on_removed=lambda cause, size: self.removed.append((cause, size)),
        )

    async def jobs(self, count: int, *, apart: timedelta = timedelta(hours=1)) -> list[Job]:
        """Make results, each some time after the one before."""
        made = []
        for user in range(1, count + 1):
            made += await self.harness.ended((await self.harness.submit(user)).id)
            self.harness.clock.at += apart
        return made

    async def sql(self, text: str, *values: str | int) -> None:
        def run(link: sqlite3.Connection) -> None:
            link.execute(text, values)

        await self.harness.database.write(run)

    def stored(self, *jobs: Job) -> list[bool]:
        return [self.harness.fetcher.result(job).grid.exists() for job in jobs]

    def size(self, job: Job) -> int:
        folder = self.harness.fetcher.folder(job.id)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@asynccontextmanager
async def on_stage(folder: Path) -> AsyncIterator[Stage]:
    async with open_harness(folder, templates=templates()) as harness:
        yield Stage(harness)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with on_stage(tmp_path) as opened:
        yield opened


async def test_what_is_too_old_goes_and_favourites_go_last(stage: Stage) -> None:
    jobs = await stage.jobs(4)
    starred, posted, plain, young = jobs
    await stage.sql("INSERT INTO stars VALUES (?, ?, ?)", starred.id, 9, STAMP)
    await stage.sql(
        "INSERT INTO gallery_posts (job_id, guild_id, channel_id, wanted_at) VALUES (?, ?, ?, ?)",
        *(posted.id, GUILD, CHANNEL, STAMP),
    )
    stage.harness.clock.at += timedelta(hours=22)
    sizes = [stage.size(job) for job in jobs]
    done = await stage.retention(DAY).apply_limits()
    assert [removal.job_id for removal in done] == [plain.id, starred.id, posted.id]
    assert stage.stored(*jobs) == [False, False, False, True]
    assert stage.removed == [("age", sizes[2]), ("age", sizes[0]), ("age", sizes[1])]
    assert stage.forgotten[-3:] == [plain.id, starred.id, posted.id]
    removal = await stage.harness.queue.jobs.picture_removal(starred.id)
    assert removal is not None
    assert removal.cause is RemovalCause.AGE
    assert await stage.harness.queue.jobs.picture_removal(young.id) is None
    # The request stays, with everything that makes it again.
    kept = await stage.harness.stored(plain.id)
    assert kept.request == plain.request
    assert await stage.retention(DAY).apply_limits() == ()


async def test_the_size_limit_is_kept(stage: Stage) -> None:
    jobs = await stage.jobs(3)
    two = sum(stage.size(job) for job in jobs[1:])
    assert await stage.retention(RetentionLimits(size=10**9)).apply_limits() == ()
    (removal,) = await stage.retention(RetentionLimits(size=two)).apply_limits()
    assert (removal.job_id, removal.cause) == (jobs[0].id, RemovalCause.SIZE)
    assert stage.stored(*jobs) == [False, True, True]
    assert len(await stage.retention(RetentionLimits(size=0)).apply_limits()) == 2


def kept_undelivered(link: sqlite3.Connection, job: Job) -> None:
    link.execute(
        "UPDATE jobs SET snapshot = json_set(snapshot, '$.rung', 'kept') WHERE id = ?", (job.id,)
    )


def rows_owed(link: sqlite3.Connection, job: Job) -> None:
    deliveries.record_attempt(link, job.id, "rows", "rows", at=NOW)


def being_delivered(link: sqlite3.Connection, job: Job) -> None:
    link.execute("UPDATE jobs SET state = 'delivering' WHERE id = ?", (job.id,))


@pytest.mark.parametrize("change", [kept_undelivered, rows_owed, being_delivered])
async def test_what_is_not_delivered_completely_stays(
    stage: Stage, change: Callable[[sqlite3.Connection, Job], None]
) -> None:
    (job,) = await stage.jobs(1, apart=timedelta(days=99))
    await stage.harness.database.write(lambda link: change(link, job))
    assert await stage.retention(RetentionLimits(timedelta(1), 0)).apply_limits() == ()
    assert stage.stored(job) == [True]


async def test_what_another_job_starts_from_stays(tmp_path: Path) -> None:
    async with open_harness(tmp_path, templates=templates(), dispatching=False) as harness:
        stage = Stage(harness)
        job = await harness.submit()
        await stage.sql("UPDATE jobs SET state = 'finished', ended_at = ?", STAMP)
        (harness.fetcher.folder(job.id)).mkdir(parents=True)
        (harness.fetcher.folder(job.id) / "grid.png").write_bytes(b"grid")
        request = job.request.upscale_of(job.id, 1, 1)
        assert request.origin == SourceImage(job.id, 1, 1)
        waiting = (await harness.queue.submit(request, a_member())).job
        harness.clock.at += timedelta(days=99)
        assert await stage.retention(DAY).apply_limits() == ()
        await harness.queue.cancel(waiting.id, a_member())
        assert len(await stage.retention(DAY).apply_limits()) == 1


async def test_what_is_needed_since_the_plan_was_made_stays(stage: Stage) -> None:
    jobs = await stage.jobs(2)
    stage.harness.clock.at += timedelta(days=9)

    async def pause(_seconds: float) -> None:
        # Somebody upscales the second one while the first one is being removed.
        await stage.harness.database.write(lambda link: rows_owed(link, jobs[1]))

    (done,) = await stage.retention(DAY, sleep=pause).apply_limits()
    assert done.job_id == jobs[0].id
    assert stage.stored(*jobs) == [False, True]


async def test_a_removal_that_was_interrupted_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_stage(tmp_path) as stage:
        jobs = await stage.jobs(2, apart=timedelta(days=9))

        def die(folder: Path) -> int:
            (folder / "row-01.png").unlink()
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr("bot.services.retention._delete_folder", die)
            with pytest.raises(Killed):
                await stage.retention(DAY).apply_limits()
        # The intent is saved: whoever asks now is told that it is gone.
        assert await stage.harness.queue.jobs.picture_removal(jobs[0].id) is not None
        assert stage.stored(*jobs) == [True, True]
    async with on_stage(tmp_path) as stage:
        assert await stage.retention().finish_removals() == 1
        assert stage.stored(*jobs) == [False, True]
        assert await stage.retention().finish_removals() == 0


async def test_removed_and_erased_pictures_are_deleted_at_once(stage: Stage) -> None:
    jobs = await stage.jobs(3)
    running = stage.retention()
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds > 1:
            asleep.set()
            await asyncio.Event().wait()

    running = stage.retention(sleep=sleep)
    task = asyncio.create_task(running.run())
    async with asyncio.timeout(10):
        await asleep.wait()
        assert sorted(stage.forgotten) == sorted(job.id for job in jobs)  # their work folders
        await stage.harness.database.write(
            lambda link: deliveries.want_removal(link, jobs[0].id, (), at=NOW)
        )
        asleep.clear()
        running.wake()
        await asleep.wait()
    task.cancel()
    assert stage.stored(*jobs) == [False, True, True]
    assert stage.removed == [("removed", stage.removed[0][1])]


async def test_a_job_that_has_not_ended_is_removed_when_it_has(stage: Stage) -> None:
    (job,) = await stage.jobs(1)
    await stage.harness.database.write(lambda link: being_delivered(link, job))
    await stage.harness.database.write(
        lambda link: deliveries.want_removal(link, job.id, (), at=NOW)
    )
    assert await stage.retention().finish_removals() == 0
    assert stage.stored(job) == [True]
    await stage.sql("UPDATE jobs SET state = 'finished'")
    assert await stage.retention().finish_removals() == 1


async def test_what_cannot_be_deleted_now_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await stage.jobs(2)
    for job in jobs:
        await stage.harness.database.write(
            lambda link, job=job: pictures.record_removal(  # type: ignore[misc]
                link, job.id, RemovalCause.REMOVED, at=NOW
            )
        )

    def refuse(folder: Path) -> int:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patched:
        patched.setattr("bot.services.retention._delete_folder", refuse)
        assert await stage.retention().finish_removals() == 0
    stage.away = True  # the backend
    assert await stage.retention().finish_removals() == 0
    assert stage.stored(*jobs) == [False, False]
    stage.away = False
    assert await stage.retention().finish_removals() == 2
    assert await PictureRepository(stage.harness.database).open_removals() == ()


async def test_a_work_folder_goes_as_soon_as_the_result_is_posted(stage: Stage) -> None:
    (job,) = await stage.jobs(1)
    retention = stage.retention()
    await retention.release_delivered(job)
    assert stage.forgotten == [job.id]
    await stage.harness.database.write(lambda link: kept_undelivered(link, job))
    await retention.release_delivered(await stage.harness.stored(job.id))
    await retention.release_posted()
    assert stage.forgotten == [job.id]
    assert job.state is JobState.FINISHED


async def test_storage_is_counted_by_kind_server_and_member(stage: Stage, tmp_path: Path) -> None:
    jobs = await stage.jobs(2)
    folders = stage.harness.fetcher
    (folders.folder(jobs[0].id) / "prints").mkdir()
    (folders.folder(jobs[0].id) / "prints" / "grid.webp").write_bytes(b"x" * 100)
    folders.folder("unknown").mkdir()
    (folders.folder("unknown") / "grid.png").write_bytes(b"x" * 7)
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "one.sqlite3").write_bytes(b"x" * 50)
    (tmp_path / "notes").write_bytes(b"x" * 3)
    await stage.sql("INSERT INTO stars VALUES (?, ?, ?)", jobs[1].id, 9, STAMP)
    report: StorageReport = await measure_storage(
        stage.harness.database,
        tmp_path,
        folders.root,
        {
            "database": sorted(tmp_path.glob("gridbrush*.sqlite3*")),
            "backups": [tmp_path / "backups"],
            "work folders": [tmp_path / "scripted", tmp_path / "never made"],
        },
    )
    assert (report.kinds["renditions"], report.kinds["backups"]) == (100, 50)
    assert report.kinds["other"] == 3
    assert report.kinds["originals"] == sum(stage.size(job) for job in jobs) - 100 + 7
    assert report.kinds["database"] > 0
    assert report.kinds["work folders"] > 0
    assert report.members == {1: stage.size(jobs[0]), 2: stage.size(jobs[1])}
    assert report.servers == {GUILD: sum(report.members.values())}
    assert (report.results, report.favourites, report.unknown) == (2, 1, 7)
    assert report.total == sum(
        path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()
    )
    assert isinstance(stage.harness.backend, ScriptedBackend)
