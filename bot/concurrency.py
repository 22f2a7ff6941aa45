"""One answer for all who ask while the one before is being worked out.

For questions that everybody asks at once and that cost more the longer the line is. Knows neither
the question nor the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """``find`` is run once at a time; ``ask`` gives an answer that was begun after the asking."""

    def __init__(self, find: Callable[[], Awaitable[Answer]]) -> None:
        self._find = find
        self._current: asyncio.Task[Answer] | None = None
        self._next: asyncio.Task[Answer] | None = None

    async def get(self) -> Answer:
        """The answer as of now or a little later. Raises what ``find`` raises."""
        if self._next is None:
            # In a context of its own: the time of the one who asked first is not everybody's.
            self._next = asyncio.get_running_loop().create_task(
                self._after(self._current), context=Context()
            )
            # Everyone who asked may have been cancelled; then nobody has to know how it ended.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shared: one who is cancelled must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[Answer] | None) -> Answer:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._current, self._next = self._next, None
        return await self._find()


class KeyedLock:
    """Locks by job id that exist only while somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def acquire(self, job_id: str) -> AsyncIterator[None]:
        """The card of this job is the caller's until the block ends."""
        lock = self._locks.setdefault(job_id, asyncio.Lock())
        self._users[job_id] = self._users.get(job_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[job_id] -= 1
            if not self._users[job_id]:
                del self._users[job_id], self._locks[job_id]

    def __len__(self) -> int:
        return len(self._locks)
