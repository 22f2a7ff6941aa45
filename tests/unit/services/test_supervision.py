"""Unforeseen errors: logged with their traceback, and begun again; nothing ends, or hangs, by them.

The errors are raised by a backend, a reporter or a collector that has a defect for a while.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from bot.backends.base import FinalCost, Health, LifecycleEvent, LogLine, PriceQuote, Submission
from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import StoreDamaged
from bot.domain.events import Artifact, BackendJobRef, Delivered, FailureReason
from bot.domain.job import Job, JobState
from bot.domain.workflow.document import Workflow
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.results import ResultFetcher
from bot.services.supervision import RESTART_DELAYS_S, STABLE_AFTER_S, keep_running
from bot.services.worker import MAX_FAILURES
from tests.unit.services.fakes import GUILD, FakeTransport, RecordedSleeps
from tests.unit.services.harness import a_member, open_harness


class FailingLoop:
    """Fails so many times, then works."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.left = times
        self.error = error or ValueError("a defect")

    def step(self) -> None:
        if self.left:
            self.left -= 1
            raise self.error


async def test_what_breaks_off_is_begun_again_with_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, sleeps = FailingLoop(7), RecordedSleeps()

    async def run() -> str:
        failing.step()
        return "done"

    assert await keep_running("the loop", run, sleep=sleeps, clock=lambda: 0.0) == "done"
    assert sleeps.taken == [*RESTART_DELAYS_S, RESTART_DELAYS_S[-1], RESTART_DELAYS_S[-1]]
    assert caplog.text.count("the loop failed; next attempt") == 7
    assert "ValueError: a defect" in caplog.text
    assert "Traceback" in caplog.text


async def test_what_ran_for_long_is_begun_again_soon() -> None:
    failing, sleeps, moments = (
        FailingLoop(3),
        RecordedSleeps(),
        iter(range(0, 10**6, int(STABLE_AFTER_S))),
    )

    async def run() -> None:
        failing.step()

    await keep_running("the loop", run, sleep=sleeps, clock=lambda: float(next(moments)))
    assert sleeps.taken == [RESTART_DELAYS_S[0]] * 3


async def test_a_damaged_database_ends_it() -> None:
    async def run() -> None:
        raise StoreDamaged("file", "the database is damaged", "Restore it.")

    with pytest.raises(StoreDamaged):
        await keep_running("the loop", run, sleep=RecordedSleeps())


class FailingObserver(ScriptedBackend):
    """One of its doors fails for a while."""

    def __init__(self, root: Path, door: str, failing: FailingLoop) -> None:
        super().__init__(root, speed=0)
        self._door = door
        self._stumbles = failing
        self.cancelled: list[str] = []

    def _pass(self, door: str) -> None:
        if door == self._door:
            self._stumbles.step()

    async def find(self, job_id: str) -> BackendJobRef | None:
        self._pass("find")
        return await super().find(job_id)

    async def price(self, workflow: Workflow) -> PriceQuote:
        self._pass("price")
        return await super().price(workflow)

    async def submit(self, submission: Submission) -> BackendJobRef:
        self._pass("submit")
        handle = await super().submit(submission)
        self._pass("submitted")
        return handle

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        self._pass("follow")
        async for item in super().follow(handle, cursor):
            yield item
            self._pass("following")

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        self._pass("fetch")
        await super().fetch(artifact, target)

    async def cancel(self, handle: BackendJobRef) -> None:
        self.cancelled.append(handle.id)
        await super().cancel(handle)


DOORS = ["find", "price", "submit", "submitted", "follow", "following", "fetch"]


@pytest.mark.parametrize("times", [1, MAX_FAILURES - 1])
@pytest.mark.parametrize("door", DOORS)
async def test_a_step_that_breaks_off_is_done_again(tmp_path: Path, door: str, times: int) -> None:
    backend = FailingObserver(tmp_path / "scripted", door, FailingLoop(times))
    async with open_harness(tmp_path, backend=backend) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.state is JobState.FINISHED
        assert ended.fetched_rows == (1, 2)
        assert backend.submitted == [ended.id]
        assert backend.cancelled == []
        assert harness.events.of(Delivered) == [ended.id]
        assert await harness.faults() == ()


# What was submitted is found, however often the answer is lost.
@pytest.mark.parametrize("door", [door for door in DOORS if door != "submitted"])
async def test_a_step_that_never_works_fails_the_job_and_gives_back_its_images(
    tmp_path: Path, door: str
) -> None:
    backend = FailingObserver(tmp_path / "scripted", door, FailingLoop(10_000))
    async with open_harness(tmp_path, backend=backend, images=4) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.cause) == (JobState.FAILED, FailureReason.INTERNAL)
        assert "again and again" in ended.failure_message
        assert (await harness.queue.allowance(GUILD, a_member())).left == 4
        assert await harness.faults() == ()


DISK = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EFBIG]


@pytest.mark.parametrize("number", DISK, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("door", ["find", "submit", "submitted", "follow", "following", "fetch"])
async def test_a_disk_that_refuses_is_waited_out_for_as_long_as_it_takes(
    tmp_path: Path, door: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FailingObserver(
        tmp_path / "scripted", door, FailingLoop(40, OSError(number, "refused"))
    )
    async with open_harness(tmp_path, backend=backend) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.state is JobState.FINISHED
        assert ended.fetched_rows == (1, 2)
        assert backend.submitted == [ended.id]
        assert backend.cancelled == []
        # Said when it begins and when it is over: of the job, or of each of its two rows.
        assert 1 <= caplog.text.count("has to wait") <= 2
        assert caplog.text.count("has to wait") == caplog.text.count("continues")


async def test_a_job_whose_task_died_is_picked_up_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = FailingLoop(3)

    class Forgetful(ResultFetcher):
        def discard(self, job_id: str) -> None:
            super().discard(job_id)
            failing.step()

    class Late(FakeTransport):
        async def methods(self, job: Job) -> tuple[str, ...]:
            harness.fetcher.__class__ = Forgetful  # its defect ends the task itself
            return await super().methods(job)

    async with open_harness(tmp_path, transport=Late()) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        await harness.scheduler.idle()
        assert ended.state is JobState.FINISHED
        assert failing.left == 0
        assert caplog.text.count("running the job failed; next attempt") == 3
        assert harness.scheduler.running == 0
        assert harness.events.of(Delivered) == [ended.id]


async def test_probing_goes_on_after_a_defect_of_the_backend() -> None:
    failing, sleeps = FailingLoop(3), RecordedSleeps()

    async def health() -> Health:
        failing.step()
        return Health(True, "there")

    def told(away: bool, _detail: str) -> None:
        if away:
            raise ValueError("whoever is told has a defect, too")

    breaker = CircuitBreaker(health, sleep=sleeps, threshold=1, on_change=told)
    with pytest.raises(ValueError, match="too"):
        breaker.record_failure("reset")
    async with asyncio.timeout(20):
        await breaker.wait_closed()
    await breaker.aclose()


async def test_settling_goes_on_after_a_defect_of_the_backend(tmp_path: Path) -> None:
    failing = FailingLoop(3)

    class Paid(ScriptedBackend):
        async def price(self, workflow: Workflow) -> PriceQuote:
            return PriceQuote(Decimal(100))

        async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
            failing.step()
            return FinalCost(Decimal(40), Decimal(60))

    async with open_harness(tmp_path, backend=Paid(tmp_path / "scripted", speed=0)) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        await harness.budget.idle()
        credits = await harness.queue.jobs.credits(ended.id)
        assert (credits.cost, credits.refund) == (Decimal(40), Decimal(60))
