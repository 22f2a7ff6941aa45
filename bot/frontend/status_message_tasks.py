"""The cards that are being given or looked for at this moment, one task for each job.

So a replayed command, a restart and the delivery never look for the same card at the same time.
Knows jobs by id only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from bot.concurrency import cancel_and_wait
from bot.domain.job import Job
from bot.services.delivery import StatusMessage


class Settling:
    """Tasks by job id. ``on_card`` is told of each job whose card was found or posted late."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[StatusMessage | None]] = {}
        self._closed = False
        self.on_card: Callable[[Job], None] = lambda job: None

    def under_way(self, job_id: str) -> bool:
        """Whether the job's card is just being given or looked for."""
        return job_id in self._tasks

    async def settle(
        self, job_id: str, how: Callable[[], Coroutine[Any, Any, StatusMessage | None]]
    ) -> StatusMessage | None:
        """Settle a job's card, or wait for whoever is at it; the card, None if there is none.

        Goes on when the caller is cancelled.
        """
        task = self.begin(job_id, how)
        if task is None:
            return None
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    def begin(
        self, job_id: str, how: Callable[[], Coroutine[Any, Any, StatusMessage | None]]
    ) -> asyncio.Task[StatusMessage | None] | None:
        """Begin to settle a job's card, unless somebody is at it; None once closed."""
        if job_id in self._tasks:
            return self._tasks[job_id]
        if self._closed:
            return None
        # A context of its own: the caller waits for the store only so long, this for ever.
        task = asyncio.get_running_loop().create_task(
            how(), name=f"card of {job_id}", context=Context()
        )
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job_id))
        return task

    async def aclose(self) -> None:
        """Begin nothing more and stop; the next bot takes up what is not settled."""
        self._closed = True
        await cancel_and_wait(*self._tasks.values())
