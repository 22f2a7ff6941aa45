"""Background tasks that find or post status messages, one per job.

A repeated interaction, a restart and the delivery share the task of a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from bot.concurrency import cancel_and_wait
from bot.services.delivery import StatusMessage


class StatusMessageTasks:
    """Tasks by job id."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[StatusMessage | None]] = {}
        self._closed = False

    def is_active(self, job_id: str) -> bool:
        """Return whether the job's status message is being found or posted."""
        return job_id in self._tasks

    async def run(
        self, job_id: str, find: Callable[[], Coroutine[Any, Any, StatusMessage | None]]
    ) -> StatusMessage | None:
        """Run ``find``, or wait for the running task; return the message or None.

        The task continues if the caller is cancelled.
        """
        task = self.start(job_id, find)
        if task is None:
            return None
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    def start(
        self, job_id: str, find: Callable[[], Coroutine[Any, Any, StatusMessage | None]]
    ) -> asyncio.Task[StatusMessage | None] | None:
        """Start ``find`` unless a task is running; None once closed."""
        if job_id in self._tasks:
            return self._tasks[job_id]
        if self._closed:
            return None
        # A context of its own: the caller waits for the store only so long, this for ever.
        task = asyncio.get_running_loop().create_task(
            find(), name=f"status message of {job_id}", context=Context()
        )
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job_id))
        return task

    async def aclose(self) -> None:
        """Cancel all tasks; the next process resumes them."""
        self._closed = True
        await cancel_and_wait(*self._tasks.values())
