"""Credits: what jobs may cost before they start, and what they did cost after they ended.

A price is written down, and held against the ceilings of the day, in the transaction before the
backend is asked for anything; the cost follows when the backend has settled. A day begins at
midnight UTC. Where computing is free there is nothing to do here.
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
from bot.domain.errors import BackendError
from bot.domain.events import FailureReason
from bot.domain.job import Job
from bot.domain.text import format_credits
from bot.domain.workflow.document import Workflow
from bot.services.supervision import keep_running
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.job_queries import JobCost
from bot.store.jobs import JobRepository

__all__ = ["BudgetLimits", "BudgetService", "JobCost", "format_cost"]

log = logging.getLogger(__name__)

_BUDGET = "{whose} compute budget for today is used up; it is free again at midnight UTC."
# Without a handle, and ended like this, a job was never given to the backend: None is a cancel.
_NEVER_SENT = frozenset(
    {None, FailureReason.OUT_OF_FUNDS, FailureReason.REJECTED, FailureReason.FILES_MISSING}
)
PAUSES = (1.0, 5.0, 30.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The most credits in a day, in all and per server; None for no ceiling."""

    total: Decimal | None = None
    per_server: Decimal | None = None


def format_cost(credits: JobCost) -> str:
    """What a job cost and what came back, or the most it may cost; "" where computing is free."""
    if credits.price is None:
        return ""
    if credits.cost is None:
        return f"at most {format_credits(credits.price)} credits"
    back = f", {format_credits(credits.refund)} came back" if credits.refund else ""
    return f"{format_credits(credits.cost)} credits{back}"


class BudgetService:
    """``promise`` before a job is submitted, ``settle`` after it has ended."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        ceilings: BudgetLimits,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_settled: Callable[[Decimal, Decimal], None] = lambda _cost, _refund: None,
    ) -> None:
        self._database = database
        self._jobs = JobRepository(database)
        self._backend = backend
        self._ceilings = ceilings
        self._now = now
        self._sleep = sleep
        self._on_settled = on_settled
        self._settling: dict[str, asyncio.Task[None]] = {}

    async def reserve(self, job: Job, workflow: Workflow) -> str:
        """Write down the most that the job may cost; why not, in words for the member, or "".

        Nothing is promised that would pass a ceiling. Raises BackendError if there is no price.
        """
        credits = (await self._backend.price(workflow)).credits
        if credits is None:
            return ""

        def promise(link: sqlite3.Connection) -> str:
            if job_table.credits_of(link, job.id).price is not None:
                return ""  # promised before a crash
            return self._raise_promise(link, job, credits)

        return await self._database.write(promise)

    async def extend(self, job: Job, total: Decimal) -> bool:
        """Write down that a running job may cost ``total`` in all, before it is paid.

        False if that would pass a ceiling of the day; nothing is promised then. Repeating it
        promises nothing more.
        """

        def extend(link: sqlite3.Connection) -> bool:
            price = job_table.credits_of(link, job.id).price
            if price is not None and total <= price:
                return True
            return not self._raise_promise(link, job, total)

        return await self._database.write(extend)

    def _raise_promise(self, link: sqlite3.Connection, job: Job, credits: Decimal) -> str:
        """Promise the job ``credits`` in all; why not, in words for the member, or ""."""
        day = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        guild = job.request.place.guild_id
        more = credits - (job_table.credits_of(link, job.id).price or Decimal())
        for ceiling, server, whose in (
            (self._ceilings.total, None, "the bot's"),
            (self._ceilings.per_server, guild, "this server's"),
        ):
            spent = job_table.spent(link, server, day)
            if ceiling is not None and spent + more > ceiling:
                log.error(
                    "%s ceiling of %s credits a day is reached: %s are spent or promised, "
                    "this job may cost %s more",
                    whose,
                    ceiling,
                    spent,
                    more,
                    extra={"job": job.id},
                )
                return _BUDGET.format(whose=f"{whose[:1].upper()}{whose[1:]}")
        job_table.set_credits(link, job.id, price=credits)
        return ""

    def schedule_settlement(self, job: Job) -> None:
        """See to it, in the background, that the cost of an ended job is written down."""
        if job.id in self._settling or (job.handle is None and job.cause not in _NEVER_SENT):
            return
        task = asyncio.get_running_loop().create_task(
            keep_running("settling", lambda: self._settle(job), sleep=self._sleep, job=job.id),
            name=f"settle {job.id}",
        )
        self._settling[job.id] = task
        task.add_done_callback(lambda _: self._settling.pop(job.id, None))

    async def recover(self) -> None:
        """Take up the settlements that a restart interrupted."""
        for job in await self._jobs.unsettled():
            self.schedule_settlement(job)

    async def idle(self) -> None:
        """Wait until everything is settled."""
        while self._settling:
            await asyncio.wait(tuple(self._settling.values()))

    async def aclose(self) -> None:
        """Let go; the next start takes it up."""
        tasks = tuple(self._settling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, job: Job) -> None:
        if job.handle is None:
            await self._write(job, Decimal(0), Decimal(0))
            return
        attempt = 0
        while True:
            try:
                settlement = await self._backend.final_cost(job.handle)
                break
            except BackendError as error:
                log.warning("the cost is not known yet: %s", error, extra={"job": job.id})
            await self._sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1
        if settlement is None:
            return
        await self._write(job, settlement.cost, settlement.refund)
        self._on_settled(settlement.cost, settlement.refund)
        log.info(
            "settled: %s credits, %s came back %s",
            settlement.cost,
            settlement.refund,
            settlement.detail,
            extra={"job": job.id},
        )

    async def _write(self, job: Job, cost: Decimal, refund: Decimal) -> None:
        """Write the cost of a priced job down; one without a price has none."""

        def write(link: sqlite3.Connection) -> None:
            if job_table.credits_of(link, job.id).price is not None:
                job_table.set_credits(link, job.id, cost=cost, refund=refund)

        await self._database.write(write)
