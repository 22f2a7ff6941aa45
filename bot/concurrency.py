"""Share one computation between concurrent callers, and lock by key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Run ``find`` once at a time; all callers that wait share the next run."""

    def __init__(self, find: Callable[[], Awaitable[Result]]) -> None:
        self._find = find
        self._current: asyncio.Task[Result] | None = None
        self._next: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """Return the result of a run that starts now or later. Raises what ``find`` raises."""
        if self._next is None:
            # In its own context: the first caller's time limit does not apply to the others.
            self._next = asyncio.get_running_loop().create_task(
                self._after(self._current), context=Context()
            )
            # If every caller was cancelled, nobody retrieves the error.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: a cancelled caller must not cancel it for the others.
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[Result] | None) -> Result:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._current, self._next = self._next, None
        return await self._find()


class KeyedLock:
    """One lock per key, created on demand and dropped when unused."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def acquire(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of ``key`` inside an ``async with`` block."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] = self._users.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]

    def __len__(self) -> int:
        return len(self._locks)
