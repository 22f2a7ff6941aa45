"""The bot stops with a job in each state, and another process takes the database up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.backends.base import Submission
from bot.backends.scripted import ScriptedBackend, synthetic_recording
from bot.domain.events import (
    Accepted,
    Cancelled,
    CancelRequested,
    JobEvent,
    ResultsFetched,
    RowReady,
    Scheduled,
)
from bot.domain.job import Job, JobState
from bot.domain.request import ChannelRef
from tests.unit.services.fakes import FakeTransport
from tests.unit.services.harness import Harness, a_request, open_harness


async def _left_behind(harness: Harness, *events: JobEvent) -> Job:
    """A job to which so much has happened when the bot stops."""
    job = await harness.submit()
    for event in events:
        job = await harness.lifecycle.apply_event(job, event)
    return job


async def _submitted(harness: Harness, job: Job) -> Accepted:
    """Hand the job to the backend behind the engine's back."""
    handle = await harness.backend.submit(Submission(job.id, await harness.renderer.render(job)))
    return Accepted(handle)


async def _over_at_backend(harness: Harness, job: Job) -> Job:
    """What the runner knows when the last line of the log has been read."""
    job = await harness.lifecycle.apply_event(job, await _submitted(harness, job))
    assert job.handle is not None
    return await harness.worker._follow(job)


async def _recovered(folder: Path, job_id: str) -> tuple[Job, Harness, FakeTransport]:
    transport = FakeTransport()
    async with open_harness(folder, transport=transport) as harness:
        assert await harness.scheduler.resume_jobs() in (0, 1)
        (ended,) = await harness.ended(job_id)
        assert await harness.faults() == ()
        return ended, harness, transport


async def test_after_a_stop_a_waiting_job_has_its_turn(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
    ended, harness, transport = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert harness.backend.submitted == [job.id]
    assert len(transport.posted) == 1


async def test_after_a_stop_before_handing_over_the_job_is_handed_over(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _left_behind(harness, Scheduled())
    ended, harness, _ = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert harness.backend.submitted == [job.id]


async def test_after_a_stop_just_after_handing_over_the_job_is_not_handed_over_again(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _left_behind(harness, Scheduled())
        await _submitted(harness, job)
    ended, harness, _ = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert harness.backend.submitted == []


async def test_after_a_stop_before_handing_over_a_cancelled_job_is_never_handed_over(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _left_behind(harness, Scheduled(), CancelRequested(7))
    ended, harness, _ = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.CANCELLED
    assert harness.backend.submitted == []


async def test_after_a_stop_just_after_handing_over_a_cancelled_job_is_stopped_at_the_backend(
    tmp_path: Path,
) -> None:
    slow = ScriptedBackend(
        tmp_path / "scripted", recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )
    async with open_harness(tmp_path, backend=slow, dispatching=False) as harness:
        job = await _left_behind(harness, Scheduled(), CancelRequested(7))
        await _submitted(harness, job)
    async with open_harness(tmp_path, backend=slow) as harness:
        assert await harness.scheduler.resume_jobs() == 1
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.CANCELLED
        assert (tmp_path / "scripted" / job.id / "cancelled").exists()
        assert await harness.faults() == ()


async def test_after_a_stop_a_running_job_is_followed_from_the_start_of_its_log(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _left_behind(harness, Scheduled())
        job = await harness.lifecycle.apply_event(job, await _submitted(harness, job))
        assert job.state is JobState.PENDING
    ended, harness, transport = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert harness.events.of(RowReady) == [job.id, job.id]
    assert transport.posted == [("interaction", job.id)]


async def test_after_a_stop_with_pictures_to_fetch_they_are_fetched(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _over_at_backend(harness, await _left_behind(harness, Scheduled()))
        assert job.state is JobState.COLLECTING
    ended, _, transport = await _recovered(tmp_path, job.id)
    assert ended.fetched_rows == (1, 2)
    assert len(transport.posted) == 1


async def test_after_a_stop_before_posting_the_result_is_posted_once(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _over_at_backend(harness, await _left_behind(harness, Scheduled()))
        job = await harness.lifecycle.apply_event(
            job, ResultsFetched(await harness.fetcher.fetch_all(job))
        )
        assert job.state is JobState.DELIVERING
    ended, _, transport = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert len(transport.posted) == 1


async def test_after_a_stop_between_posting_and_writing_it_down_nothing_is_posted_again(
    tmp_path: Path,
) -> None:
    before = FakeTransport()
    async with open_harness(tmp_path, transport=before, dispatching=False) as harness:
        job = await _over_at_backend(harness, await _left_behind(harness, Scheduled()))
        job = await harness.lifecycle.apply_event(
            job, ResultsFetched(await harness.fetcher.fetch_all(job))
        )
        # The attempt's success is saved; that the job is thereby finished is not.
        await harness.worker._delivery.deliver(job, harness.fetcher.result(job))
        assert len(before.posted) == 1
    ended, _, after = await _recovered(tmp_path, job.id)
    assert ended.state is JobState.FINISHED
    assert ended.delivery_method == "interaction"
    assert after.posted == []


async def test_after_a_stop_what_has_ended_stays_ended(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _left_behind(harness, Cancelled(7))
    async with open_harness(tmp_path) as harness:
        assert await harness.scheduler.resume_jobs() == 0
        assert (await harness.stored(job.id)).state is JobState.CANCELLED
        assert harness.backend.submitted == []


async def test_the_command_lines_own_jobs_are_left_to_it(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        own = await harness.queue.submit_immediate(replace(a_request(0), place=ChannelRef()))
        assert await harness.scheduler.resume_jobs() == 0
        assert (await harness.stored(own.id)).state is JobState.SUBMITTING


async def test_all_states_at_once_end_with_every_image_accounted_for(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, waiting=50) as harness:
        left: list[Job] = []
        for stop_after in range(5):
            job = await harness.submit(user=stop_after + 1)
            left.append(job)
            if stop_after >= 1:
                job = await harness.lifecycle.apply_event(job, Scheduled())
            if stop_after >= 2:
                job = await harness.lifecycle.apply_event(job, await _submitted(harness, job))
            if stop_after >= 3:
                job = await harness.worker._follow(job)
            if stop_after >= 4:
                await harness.lifecycle.apply_event(
                    job, ResultsFetched(await harness.fetcher.fetch_all(job))
                )
    async with open_harness(tmp_path, backend=ScriptedBackend(tmp_path / "scripted")) as harness:
        assert await harness.scheduler.resume_jobs() == 4
        ended = await harness.ended(*(job.id for job in left))
        assert {job.state for job in ended} == {JobState.FINISHED}
        assert len(harness.backend.submitted) == 2
        assert await harness.faults() == ()
