"""Cancelling a job: who may, and in every state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bot.backends.base import Submission
from bot.backends.scripted import ScriptedBackend, synthetic_recording
from bot.domain.errors import NotAllowed, RequestError
from bot.domain.events import BackendJobRef, CancelRequested, Scheduled
from bot.domain.job import Job, JobState
from bot.store.database import Database
from bot.store.jobs import JobRepository
from tests.unit.services.fakes import GUILD, GatedBackend
from tests.unit.services.harness import a_member, open_harness


async def test_a_waiting_job_is_cancelled_at_once_and_gives_back_its_images(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=4) as harness:
        job = await harness.submit()
        cancelled = await harness.queue.cancel(job.id, a_member())
        assert cancelled.state is JobState.CANCELLED
        assert cancelled.cancelled_by == 7
        assert (await harness.queue.allowance(GUILD, a_member())).left == 4
        assert await harness.faults() == ()


async def test_only_the_author_or_a_moderator_may_cancel(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        with pytest.raises(NotAllowed):
            await harness.queue.cancel(job.id, a_member(8))
        assert (await harness.stored(job.id)).state is JobState.QUEUED
        cancelled = await harness.queue.cancel(job.id, a_member(8, moderator=True))
        assert cancelled.cancelled_by == 8


async def test_a_job_that_is_not_there_cannot_be_cancelled(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        with pytest.raises(RequestError, match="no such job"):
            await harness.queue.cancel("nothing", a_member())


async def test_a_running_job_is_cancelled_once_the_backend_has_stopped_it(tmp_path: Path) -> None:
    backend = ScriptedBackend(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=backend, images=4) as harness:
        job = await harness.submit()
        await harness.reaches(job.id, JobState.RUNNING)
        await harness.queue.cancel(job.id, a_member())
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.CANCELLED
        assert ended.cancelled_by == 7
        assert (await harness.queue.allowance(GUILD, a_member())).left == 4
        assert await harness.faults() == ()


async def test_a_job_that_is_being_handed_over_is_cancelled_when_it_arrives(tmp_path: Path) -> None:
    backend = ScriptedBackend(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=backend, dispatching=False) as harness:
        job = await harness.submit()
        submitting = await harness.lifecycle.apply_event(job, Scheduled())
        answered = await harness.queue.cancel(job.id, a_member())
        assert answered.state is JobState.SUBMITTING
        assert answered.cancelled_by == 7
        # What the runner holds in its hands is older than the wish to cancel.
        ended = await harness.worker.run(submitting)
        assert ended.state is JobState.CANCELLED
        assert await harness.faults() == ()


class OvertakenRepository(JobRepository):
    """Answers truly, but something happens before the answer is used."""

    def __init__(self, database: Database, meanwhile: Callable[[Job], Awaitable[object]]) -> None:
        super().__init__(database)
        self._meanwhile = meanwhile

    async def get(self, job_id: str) -> Job | None:
        job = await super().get(job_id)
        if job is not None and job.state is JobState.QUEUED:
            await self._meanwhile(job)
        return job


async def test_a_job_whose_turn_comes_while_it_is_cancelled_is_not_submitted(
    tmp_path: Path,
) -> None:
    backend = ScriptedBackend(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=backend, dispatching=False) as harness:
        job = await harness.submit()
        turns: list[Job] = []

        async def turn_comes(job: Job) -> None:
            turns.append(await harness.lifecycle.apply_event(job, Scheduled()))

        harness.queue.jobs = OvertakenRepository(harness.database, turn_comes)
        answered = await harness.queue.cancel(job.id, a_member())
        assert answered.state is JobState.SUBMITTING
        ended = await harness.worker.run(turns[0])
        assert ended.state is JobState.CANCELLED
        assert backend.submitted == []
        assert await harness.faults() == ()


async def test_a_cancellation_that_comes_with_the_submission_is_carried_on_to_the_backend(
    tmp_path: Path,
) -> None:
    class Overtaking(ScriptedBackend):
        async def submit(self, submission: Submission) -> BackendJobRef:
            handle = await super().submit(submission)
            await harness.queue.cancel(submission.job_id, a_member())
            return handle

    backend = Overtaking(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.reaches(job.id, JobState.CANCELLED)
        assert (await harness.stored(job.id)).cancelled_by == 7
        assert (tmp_path / "scripted" / job.id / "cancelled").exists()
        assert await harness.faults() == ()


async def test_cancelling_twice_asks_for_it_once(tmp_path: Path) -> None:
    async with open_harness(tmp_path, backend=GatedBackend(tmp_path / "s")) as harness:
        job = await harness.submit()
        await harness.reaches(job.id, JobState.PENDING)
        await harness.queue.cancel(job.id, a_member())
        await harness.queue.cancel(job.id, a_member(9, moderator=True))
        assert harness.events.of(CancelRequested) == [job.id]
        assert (await harness.stored(job.id)).cancelled_by == 7


@pytest.mark.parametrize("state", [JobState.COLLECTING, JobState.DELIVERING])
async def test_a_finished_picture_is_not_cancelled_any_more(
    tmp_path: Path, state: JobState
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        sql = "UPDATE jobs SET state = ? WHERE id = ?"
        await harness.database.write(lambda link: link.execute(sql, (state, job.id)).rowcount)
        with pytest.raises(RequestError, match="finished already"):
            await harness.queue.cancel(job.id, a_member())


async def test_cancelling_a_job_that_is_over_changes_nothing(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert await harness.queue.cancel(job.id, a_member()) == ended
