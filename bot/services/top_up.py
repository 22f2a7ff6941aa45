"""Pay more for running jobs before their prepaid compute time is used up.

The backend is asked regularly what a job should be allowed in all. That is reserved, within the
day's budget, before it is paid. A job without progress since its last payment gets nothing more: it
may hang.
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

CHECK_INTERVAL_S = 15.0
RETRY_AFTER_REFUSAL_S = 120.0
"""The delay after a payment that was refused."""


class Extender:
    """Extend the paid time of jobs while they run, if the backend is ``Extendable``."""

    def __init__(
        self, backend: Backend, budget: BudgetService, *, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._backend = backend
        self._budget = budget
        self._sleep = sleep
        self._latest: dict[str, Job] = {}

    def note(self, job: Job) -> None:
        """Save the latest progress of a watched job."""
        if job.id in self._latest:
            self._latest[job.id] = job

    @contextlib.asynccontextmanager
    async def watching(self, job: Job) -> AsyncIterator[None]:
        """Extend the job in the background until the block ends, if the backend supports it."""
        if not isinstance(self._backend, Extendable):
            yield
            return
        self._latest[job.id] = job
        task = asyncio.get_running_loop().create_task(
            self._extend_while_progressing(self._backend, job.id), name=f"extend {job.id}"
        )
        try:
            yield
        finally:
            del self._latest[job.id]
            await cancel_and_wait(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the job is no longer extended", exc_info=error, extra={"job": job.id})

    async def _extend_while_progressing(self, backend: Extendable, job_id: str) -> None:
        paid_progress = (0, 0)
        while True:
            await self._sleep(CHECK_INTERVAL_S)
            job = self._latest[job_id]
            if not _is_generating(job) or _progress_of(job) <= paid_progress or job.handle is None:
                continue
            try:
                total = await backend.extension(job.handle)
                if total is None:
                    continue
                if await self._budget.extend(job, total):
                    await backend.extend(job.handle, total)
                    paid_progress = _progress_of(job)
                    continue
            except BackendError as error:
                log.warning("the job could not be extended: %s", error, extra={"job": job_id})
            await self._sleep(RETRY_AFTER_REFUSAL_S)


def _is_generating(job: Job) -> bool:
    rows = (row for row in job.rows if row.started and not row.is_done)
    return job.state is JobState.RUNNING and job.cancelled_by is None and any(rows)


def _progress_of(job: Job) -> tuple[int, int]:
    """Return the finished rows and the sum of percentages; a row that has just begun counts."""
    return sum(row.is_done for row in job.rows), 1 + sum(row.percent for row in job.rows)
