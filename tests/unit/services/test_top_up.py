"""Jobs whose paid time is extended while they run: reserved first, within the budget, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from bot.backends.base import LifecycleEvent, LogLine, PriceQuote
from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import InsufficientFunds, SubmissionRejected, Unavailable
from bot.domain.events import BackendJobRef
from bot.domain.job import JobState
from bot.domain.workflow.document import Workflow
from bot.services.budget import BudgetLimits
from bot.services.top_up import CHECK_INTERVAL_S, RETRY_AFTER_REFUSAL_S
from tests.unit.services.harness import Harness, open_harness

PRICE, MORE = Decimal(10), Decimal(25)


class Metered(ScriptedBackend):
    """Its jobs stop after the line ``stops_at``, a word in it, until they are paid for longer."""

    stops_at = b" row-start "
    wanted: Decimal | None = MORE
    error: Exception | None = None
    opens = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, speed=0)
        self.asked = asyncio.Semaphore(0)
        self.extended: list[Decimal] = []
        self.reserved: list[Decimal | None] = []
        self.gate, self.paid = asyncio.Event(), asyncio.Event()
        self.harness: Harness | None = None

    async def price(self, workflow: Workflow) -> PriceQuote:
        return PriceQuote(PRICE)

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        stopped = False
        async for item in super().follow(handle, cursor):
            yield item
            if isinstance(item, LogLine) and self.stops_at in item.data and not stopped:
                stopped = True
                await self.gate.wait()

    async def extension(self, handle: BackendJobRef) -> Decimal | None:
        self.asked.release()
        return self.wanted

    async def extend(self, handle: BackendJobRef, total: Decimal) -> None:
        assert self.harness is not None
        self.reserved.append((await self.harness.queue.jobs.credits(handle.id)).price)
        if self.error is not None:
            raise self.error
        self.extended.append(total)
        self.paid.set()
        if self.opens:
            self.wanted = None
            self.gate.set()


async def test_a_job_that_paints_is_promised_more_and_then_paid_for_once(tmp_path: Path) -> None:
    backend = Metered(tmp_path / "scripted")
    async with open_harness(
        tmp_path, backend=backend, budget_limits=BudgetLimits(total=MORE)
    ) as harness:
        backend.harness = harness
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert backend.extended == [MORE]
        assert backend.reserved == [MORE]
        assert CHECK_INTERVAL_S in harness.sleeps.taken


@pytest.mark.parametrize(
    "budget_limits",
    [BudgetLimits(total=MORE - 1), BudgetLimits(per_server=MORE - 1)],
    ids=["all", "server"],
)
async def test_a_ceiling_of_the_day_is_not_passed_to_go_on(
    tmp_path: Path, budget_limits: BudgetLimits
) -> None:
    backend = Metered(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, budget_limits=budget_limits) as harness:
        backend.harness = harness
        job = await harness.submit()
        for _ in range(3):
            await backend.asked.acquire()
        assert (backend.extended, backend.reserved) == ([], [])
        assert (await harness.queue.jobs.credits(job.id)).price == PRICE
        assert RETRY_AFTER_REFUSAL_S in harness.sleeps.taken
        backend.gate.set()
        await harness.ended(job.id)


@pytest.mark.parametrize(
    "error", [Unavailable("away"), InsufficientFunds("poor"), SubmissionRejected("it is over")]
)
async def test_a_payment_that_fails_is_tried_again_without_a_second_promise(
    tmp_path: Path, error: Exception
) -> None:
    backend = Metered(tmp_path / "scripted")
    backend.error = error
    async with open_harness(
        tmp_path, backend=backend, budget_limits=BudgetLimits(total=MORE)
    ) as harness:
        backend.harness = harness
        job = await harness.submit()
        for _ in range(3):
            await backend.asked.acquire()
        assert set(backend.reserved) == {MORE}
        assert len(backend.reserved) >= 2
        backend.error = None
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert backend.extended == [MORE]
        assert (await harness.queue.jobs.credits(job.id)).price == MORE


async def test_a_job_that_paints_nothing_yet_is_not_paid_for_longer(tmp_path: Path) -> None:
    backend = Metered(tmp_path / "scripted")
    backend.stops_at = b""
    async with open_harness(tmp_path, backend=backend) as harness:
        backend.harness = harness
        job = await harness.submit()
        await harness.reaches(job.id, JobState.PENDING)
        for _ in range(200):
            await asyncio.sleep(0)
        assert backend.asked.locked()
        assert backend.extended == []
        backend.gate.set()
        await harness.ended(job.id)


async def test_a_job_that_has_not_moved_since_is_not_paid_for_again(tmp_path: Path) -> None:
    backend = Metered(tmp_path / "scripted")
    backend.opens = False
    async with open_harness(tmp_path, backend=backend) as harness:
        backend.harness = harness
        job = await harness.submit()
        await backend.paid.wait()
        looked = len(harness.sleeps.taken)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(harness.sleeps.taken) > looked
        assert backend.extended == [MORE]
        backend.gate.set()
        await harness.ended(job.id)
