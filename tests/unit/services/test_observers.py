"""Observers are notified of every event, and their errors stay theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.domain.events import JobEvent, Scheduled
from bot.domain.job import Job, JobState, new_job
from bot.services.lifecycle import CompositeObserver
from tests.unit.services.fakes import NOW, EventLog
from tests.unit.services.harness import a_request, open_harness


class FailingObserver:
    """Fails at everything."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def on_event(self, job: Job, event: JobEvent) -> None:
        raise self._error


async def test_a_reporter_that_fails_hurts_neither_job_nor_other_reporters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = EventLog()
    async with open_harness(
        tmp_path, observers=[FailingObserver(KeyError("card")), last]
    ) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.state is JobState.FINISHED
        assert last.of(Scheduled) == [ended.id]
        assert [event for _, event in last.entries] == [
            event for _, event in harness.events.entries
        ]
    assert "an observer failed on Scheduled" in caplog.text


async def test_being_cancelled_is_no_failure_of_a_reporter() -> None:
    job = new_job("a" * 16, a_request(), NOW)
    with pytest.raises(asyncio.CancelledError):
        await CompositeObserver([FailingObserver(asyncio.CancelledError())]).on_event(
            job, Scheduled()
        )


async def test_nobody_needs_to_listen() -> None:
    await CompositeObserver().on_event(new_job("a" * 16, a_request(), NOW), Scheduled())
