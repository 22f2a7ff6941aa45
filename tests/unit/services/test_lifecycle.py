"""Every change of a job is one transaction on the stored job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import BotError, IllegalTransition
from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Cancelled,
    CancelRequested,
    Delivered,
    Exited,
    Failed,
    FailureReason,
    ResultsFetched,
    RowProgress,
    RowReady,
    RowStarted,
    Scheduled,
    Started,
)
from bot.domain.job import Job, JobState, charged_images, new_job
from tests.unit.services.fakes import GUILD, NOW
from tests.unit.services.harness import Harness, a_member, a_request, open_harness

FILE = Artifact("file:///row-01.png", 1, "0" * 64)


async def _running(harness: Harness) -> Job:
    job = await harness.submit()
    for event in (Scheduled(), Accepted(BackendJobRef("scripted", job.id)), Started()):
        job = await harness.lifecycle.apply_event(job, event)
    return job


async def test_an_event_changes_what_is_stored_and_not_what_the_caller_remembers(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        submitting = await harness.lifecycle.apply_event(job, Scheduled())
        await harness.lifecycle.apply_event(submitting, CancelRequested(9))
        pending = await harness.lifecycle.apply_event(
            submitting, Accepted(BackendJobRef("scripted", job.id))
        )
        assert pending.state is JobState.PENDING
        assert pending.cancelled_by == 9
        assert await harness.stored(job.id) == pending


async def test_what_cannot_happen_changes_nothing(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        with pytest.raises(IllegalTransition):
            await harness.lifecycle.apply_event(job, ResultsFetched((1,)))
        assert await harness.stored(job.id) == job
        assert harness.events.entries == []


async def test_what_happens_to_an_ended_job_is_not_reported(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        cancelled = await harness.lifecycle.apply_event(await harness.submit(), Cancelled(7))
        assert await harness.lifecycle.apply_event(cancelled, Started()) == cancelled
        assert len(harness.events.entries) == 1


async def test_a_job_that_is_not_stored_cannot_change(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        with pytest.raises(BotError, match="there is no job"):
            await harness.lifecycle.apply_event(new_job("a" * 16, a_request(), NOW), Scheduled())


async def test_progress_is_shown_but_not_stored_and_outlives_other_events(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await _running(harness)
        for event in (RowStarted(1, 7), RowProgress(1, 40), RowStarted(2, 8), RowProgress(2, 60)):
            job = await harness.lifecycle.apply_event(job, event)
        assert [row.percent for row in job.rows] == [40, 60]
        assert [row.percent for row in (await harness.stored(job.id)).rows] == [0, 0]
        job = await harness.lifecycle.apply_event(job, RowReady(1, 7, FILE))
        assert job.rows[0].is_ready
        assert (job.rows[1].percent, job.rows[1].started) == (60, True)


async def test_an_ended_job_shows_what_is_stored(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.lifecycle.apply_event(await _running(harness), RowProgress(1, 40))
        ended = await harness.lifecycle.apply_event(
            job, Failed(FailureReason.INTERNAL, "It broke.")
        )
        assert ended == await harness.stored(job.id)


async def test_a_cancelled_job_is_charged_for_the_rows_that_were_shown(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=4) as harness:
        job = await harness.lifecycle.apply_event(await _running(harness), RowReady(1, 7, FILE))
        job = await harness.lifecycle.apply_event(job, CancelRequested(7))
        job = await harness.lifecycle.apply_event(job, Exited(143))
        assert job.state is JobState.CANCELLED
        assert charged_images(job) == 2
        assert (await harness.queue.allowance(GUILD, a_member())).left == 2
        assert await harness.faults() == ()


def test_a_failed_job_costs_nothing_and_a_finished_one_what_was_delivered() -> None:
    job = new_job("a" * 16, a_request(rows=3), NOW)
    rows = tuple(replace(row, artifact=FILE) for row in job.rows)
    made = replace(job, rows=rows, fetched_rows=(1, 3))
    assert charged_images(replace(made, state=JobState.FAILED)) == 0
    assert charged_images(replace(made, state=JobState.FINISHED)) == 4
    assert charged_images(replace(made, state=JobState.CANCELLED)) == 6


async def test_a_finished_job_is_settled_with_what_was_made(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=4) as harness:
        job = await harness.lifecycle.apply_event(await _running(harness), RowReady(1, 7, FILE))
        for event in (Exited(0), ResultsFetched((1,)), Delivered("channel")):
            job = await harness.lifecycle.apply_event(job, event)
        assert job.state is JobState.FINISHED
        assert (await harness.queue.allowance(GUILD, a_member())).left == 2
        assert await harness.faults() == ()


async def test_what_a_runner_reports_after_a_request_to_stop_does_not_take_it_back(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.queue.submit_immediate(a_request())
        running = job
        for event in (Accepted(BackendJobRef("scripted", job.id)), Started(), RowProgress(1, 18)):
            running = await harness.lifecycle.apply_event(running, event)
        await harness.lifecycle.apply_event(job, CancelRequested(7))
        # The runner goes on with what it last saw.
        for percent in (19, 40, 90):
            seen = await harness.lifecycle.apply_event(running, RowProgress(1, percent))
            assert seen.cancelled_by == 7
            assert seen.rows[0].percent == percent
        assert all(
            known.cancelled_by == 7
            for known, event in harness.events.entries
            if isinstance(event, RowProgress) and known.rows[0].percent > 18
        )
        ended = await harness.lifecycle.apply_event(running, Cancelled(0))
        assert (ended.state, ended.cancelled_by) == (JobState.CANCELLED, 7)
