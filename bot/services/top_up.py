"""Keeps a job that paints from being stopped because what was paid for it is used up.

Where computing is paid for in advance, the backend is asked now and then what the job should be
allowed in all. That is promised in the books, within the day's ceilings, before it is paid. A job
that has not moved since it was last paid for gets nothing more: it may hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from bot.backends.base import Backend, Extendable
from bot.concurrency import cancel_and_wait
from bot.domain.errors import BackendError
from bot.domain.job import Job, JobState
from bot.services.budget import BudgetService

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
REFUSED_SECONDS = 120.0
"""After a payment that was refused."""


class Extender:
    """``watching`` one job each, as long as it is at the backend."""

    def __init__(
        self, backend: Backend, budget: BudgetService, *, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._backend = backend
        self._budget = budget
        self._sleep = sleep
        self._seen: dict[str, Job] = {}

    def note(self, job: Job) -> None:
        """Remember the newest progress of a watched job."""
        if job.id in self._seen:
            self._seen[job.id] = job

    @contextlib.asynccontextmanager
    async def watching(self, job: Job) -> AsyncIterator[None]:
        """Pay for the job in the background while it paints, if its backend can be paid more."""
        if not isinstance(self._backend, Extendable):
            yield
            return
        self._seen[job.id] = job
        task = asyncio.get_running_loop().create_task(
            self._keep_paid(self._backend, job.id), name=f"extend {job.id}"
        )
        try:
            yield
        finally:
            del self._seen[job.id]
            await cancel_and_wait(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the job is paid no more", exc_info=error, extra={"job": job.id})

    async def _keep_paid(self, backend: Extendable, job_id: str) -> None:
        paid_at = (0, 0)
        while True:
            await self._sleep(LOOK_SECONDS)
            job = self._seen[job_id]
            if not _paints(job) or _progress(job) <= paid_at or job.handle is None:
                continue
            try:
                total = await backend.extension(job.handle)
                if total is None:
                    continue
                if await self._budget.extend(job, total):
                    await backend.extend(job.handle, total)
                    paid_at = _progress(job)
                    continue
            except BackendError as error:
                log.warning("it could not be paid for longer: %s", error, extra={"job": job_id})
            await self._sleep(REFUSED_SECONDS)


def _paints(job: Job) -> bool:
    rows = (row for row in job.rows if row.started and not row.is_done)
    return job.state is JobState.RUNNING and job.cancelled_by is None and any(rows)


def _progress(job: Job) -> tuple[int, int]:
    """How far it is; a row that has just begun counts."""
    return sum(row.is_done for row in job.rows), 1 + sum(row.percent for row in job.rows)
