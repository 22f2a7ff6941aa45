"""The day's budgets in credits: what jobs may cost at most, and what they did cost.

The price of a job is saved, and checked against the limits of the day, in one transaction before
the job is submitted. Its cost follows when the backend has settled it. A day begins at midnight
UTC. Backends without prices need none of this.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bot.backends.base import Backend
from bot.concurrency import Backoff, cancel_and_wait
from bot.domain.errors import BackendError
from bot.domain.events import FailureReason
from bot.domain.job import Job
from bot.domain.text import format_credits
from bot.domain.workflow.document import Workflow
from bot.services.supervision import keep_running
from bot.store import job_queries
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.job_queries import JobCost
from bot.store.jobs import JobRepository

__all__ = ["BudgetLimits", "BudgetService", "JobCost", "format_cost"]

log = logging.getLogger(__name__)

_BUDGET_USED_UP = "{owner} compute budget for today is used up. It starts again at midnight UTC."
# A job without a handle that ended like this was never submitted. None: it was cancelled.
_NEVER_SUBMITTED = frozenset(
    {None, FailureReason.OUT_OF_FUNDS, FailureReason.REJECTED, FailureReason.FILES_MISSING}
)
SETTLE_DELAYS_S = (1.0, 5.0, 30.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The most credits to spend in a day, in all and per server. None: no limit."""

    total: Decimal | None = None
    per_server: Decimal | None = None


def format_cost(credits: JobCost) -> str:
    """Return what a job cost and what was refunded, or the most it may cost; "" if it is free."""
    if credits.price is None:
        return ""
    if credits.cost is None:
        return f"at most {format_credits(credits.price)} credits"
    refund = f", {format_credits(credits.refund)} refunded" if credits.refund else ""
    return f"{format_credits(credits.cost)} credits{refund}"


class BudgetService:
    """Reserve the price of a job before it is submitted, and save its cost after it has ended."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        limits: BudgetLimits,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_settled: Callable[[Decimal, Decimal], None] = lambda _cost, _refund: None,
    ) -> None:
        self._database = database
        self._jobs = JobRepository(database)
        self._backend = backend
        self._limits = limits
        self._now = now
        self._sleep = sleep
        self._on_settled = on_settled
        self._settling: dict[str, asyncio.Task[None]] = {}

    async def reserve(self, job: Job, workflow: Workflow) -> str:
        """Save the most that the job may cost. Return "", or why the budget does not allow it.

        The reason is for the member; then nothing is reserved. Idempotent. Raises BackendError if
        the backend gives no price.
        """
        credits = (await self._backend.price(workflow)).credits
        if credits is None:
            return ""

        def reserve(link: sqlite3.Connection) -> str:
            if job_queries.job_cost(job.id).run(link).price is not None:
                return ""  # reserved before a crash
            return self._reserve_up_to(link, job, credits)

        return await self._database.write(reserve)

    async def extend(self, job: Job, total: Decimal) -> bool:
        """Save that a running job may cost ``total`` credits in all, before that is paid.

        Return False if that would pass a limit of the day; then nothing is reserved. Idempotent.
        """

        def extend(link: sqlite3.Connection) -> bool:
            price = job_queries.job_cost(job.id).run(link).price
            if price is not None and total <= price:
                return True
            return not self._reserve_up_to(link, job, total)

        return await self._database.write(extend)

    def _reserve_up_to(self, link: sqlite3.Connection, job: Job, credits: Decimal) -> str:
        """Reserve ``credits`` in all for the job. Return "", or why not, for the member."""
        day = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        more = credits - (job_queries.job_cost(job.id).run(link).price or Decimal())
        for limit, guild_id, owner in (
            (self._limits.total, None, "the bot's"),
            (self._limits.per_server, job.request.place.guild_id, "this server's"),
        ):
            spent = job_queries.credits_spent(guild_id, day).run(link)
            if limit is not None and spent + more > limit:
                log.error(
                    "%s limit of %s credits a day is reached: %s are spent or reserved, "
                    "this job may cost %s more",
                    owner,
                    limit,
                    spent,
                    more,
                    extra={"job": job.id},
                )
                return _BUDGET_USED_UP.format(owner=f"{owner[:1].upper()}{owner[1:]}")
        job_table.set_credits(link, job.id, price=credits)
        return ""

    def schedule_settlement(self, job: Job) -> None:
        """Start saving the cost of an ended job in the background. Idempotent."""
        if job.id in self._settling or (job.handle is None and job.cause not in _NEVER_SUBMITTED):
            return
        task = asyncio.get_running_loop().create_task(
            keep_running(
                "settling the cost", lambda: self._settle(job), sleep=self._sleep, job=job.id
            ),
            name=f"settle {job.id}",
        )
        self._settling[job.id] = task
        task.add_done_callback(lambda _: self._settling.pop(job.id, None))

    async def recover(self) -> None:
        """Resume the settlements that a restart interrupted."""
        for job in await self._jobs.unsettled():
            self.schedule_settlement(job)

    async def idle(self) -> None:
        """Wait until no settlement is running."""
        while self._settling:
            await asyncio.wait(tuple(self._settling.values()))

    async def aclose(self) -> None:
        """Cancel the running settlements; the next start resumes them."""
        await cancel_and_wait(*self._settling.values())

    async def _settle(self, job: Job) -> None:
        if job.handle is None:
            await self._write(job, Decimal(0), Decimal(0))
            return
        backoff = Backoff(SETTLE_DELAYS_S)
        while True:
            try:
                settlement = await self._backend.final_cost(job.handle)
                break
            except BackendError as error:
                log.warning("the cost is not known yet: %s", error, extra={"job": job.id})
            await self._sleep(backoff.next())
        if settlement is None:
            return
        await self._write(job, settlement.cost, settlement.refund)
        self._on_settled(settlement.cost, settlement.refund)
        log.info(
            "settled: %s credits, %s refunded %s",
            settlement.cost,
            settlement.refund,
            settlement.detail,
            extra={"job": job.id},
        )

    async def _write(self, job: Job, cost: Decimal, refund: Decimal) -> None:
        """Save the cost of a job that has a price."""

        def write(link: sqlite3.Connection) -> None:
            if job_queries.job_cost(job.id).run(link).price is not None:
                job_table.set_credits(link, job.id, cost=cost, refund=refund)

        await self._database.write(write)
