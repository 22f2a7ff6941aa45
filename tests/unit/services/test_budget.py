"""Credits: prices are reserved before a job is submitted, costs saved afterwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from bot.backends.base import FinalCost, PriceQuote
from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import Unavailable
from bot.domain.events import BackendJobRef, FailureReason
from bot.domain.job import JobState
from bot.domain.request import ChannelRef
from bot.domain.workflow.document import Workflow
from bot.services.budget import BudgetLimits
from bot.store.job_queries import JobCost
from tests.unit.services.fakes import CHANNEL, Clock
from tests.unit.services.harness import open_harness


class PaidBackend(ScriptedBackend):
    """Ten credits at the most, four in the end; the books can be closed for a while."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, speed=0)
        self.closed = 0
        self.settled: list[str] = []
        self.paid = asyncio.Event()

    async def price(self, workflow: Workflow) -> PriceQuote:
        return PriceQuote(Decimal(10))

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        if self.closed:
            self.closed -= 1
            raise Unavailable("the books are closed")
        self.settled.append(handle.id)
        self.paid.set()
        return FinalCost(Decimal(4), Decimal(6))


async def test_a_job_is_priced_before_and_its_cost_written_down_after(tmp_path: Path) -> None:
    backend = PaidBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.ended(job.id)
        await backend.paid.wait()
        await harness.budget.idle()
        assert await harness.queue.jobs.credits(job.id) == JobCost(
            Decimal(10), Decimal(4), Decimal(6)
        )
        assert await harness.queue.jobs.credits("no such job") == JobCost()
        await harness.budget.recover()
        await harness.budget.idle()
        assert backend.settled == [job.id]


async def test_a_settlement_that_cannot_be_had_is_asked_for_again(tmp_path: Path) -> None:
    backend = PaidBackend(tmp_path / "scripted")
    backend.closed = 3
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.ended(job.id)
        await backend.paid.wait()
        await harness.budget.idle()
        assert (await harness.queue.jobs.credits(job.id)).cost == 4
        assert await harness.queue.jobs.unsettled() == ()


async def test_a_settlement_interrupted_by_a_restart_is_taken_up(tmp_path: Path) -> None:
    backend = PaidBackend(tmp_path / "scripted")
    backend.closed = 10**6
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.ended(job.id)
    backend.closed = 0
    async with open_harness(tmp_path, backend=backend) as harness:
        await harness.budget.recover()
        await harness.budget.idle()
        assert (await harness.queue.jobs.credits(job.id)).cost == 4


async def test_a_ceiling_stops_before_it_is_passed_and_starts_afresh_at_midnight(
    tmp_path: Path,
) -> None:
    backend, clock = PaidBackend(tmp_path / "scripted"), Clock()
    backend.closed = 10**6
    budget_limits = BudgetLimits(total=Decimal(25))
    async with open_harness(
        tmp_path, backend=backend, budget_limits=budget_limits, clock=clock
    ) as harness:
        ids = [(await harness.submit(user=user)).id for user in (1, 2, 3)]
        ended = await harness.ended(*ids)
        states = sorted(job.state for job in ended)
        assert states == [JobState.FAILED, JobState.FINISHED, JobState.FINISHED]
        refused = next(job for job in ended if job.state is JobState.FAILED)
        assert refused.cause is FailureReason.OUT_OF_FUNDS
        assert "midnight" in refused.failure_message
        assert refused.id not in backend.submitted
        clock.at += timedelta(days=1)
        tomorrow = await harness.submit(user=4)
        assert (await harness.ended(tomorrow.id))[0].state is JobState.FINISHED
        assert await harness.faults() == ()


async def test_one_server_cannot_spend_what_is_anothers(tmp_path: Path) -> None:
    backend = PaidBackend(tmp_path / "scripted")
    backend.closed = 10**6
    budget_limits = BudgetLimits(per_server=Decimal(10))
    async with open_harness(tmp_path, backend=backend, budget_limits=budget_limits) as harness:
        ids = []
        for user, guild in ((1, 1), (2, 1), (3, 2)):
            ids.append((await harness.submit(user=user, place=ChannelRef(guild, CHANNEL))).id)
            await harness.ended(ids[-1])
        states = [(await harness.stored(job_id)).state for job_id in ids]
        assert states == [JobState.FINISHED, JobState.FAILED, JobState.FINISHED]
