"""Small tools: shared calls, locks by key, delays between attempts, signals, stopping tasks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final, Generic, ParamSpec, TypeVar

Result = TypeVar("Result")
P = ParamSpec("P")

EXPONENTIAL_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
MAX_REQUESTED_DELAY_S: Final = 3600.0
"""The longest delay that another program may ask for: Discord's longest bans last an hour."""


class Signal(Generic[P]):
    """Call every connected function, in the order in which they were connected."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, None]] = []

    def connect(self, listener: Callable[P, None]) -> None:
        """Call ``listener``, too, from now on."""
        self._listeners.append(listener)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the connected functions with these arguments."""
        for listener in self._listeners:
            listener(*args, **kwargs)


class SingleFlight(Generic[Result]):
    """Run ``call`` once at a time and share its result among all who wait for it.

    For queries that many ask at once and that get slower the more ask.
    """

    def __init__(self, call: Callable[[], Awaitable[Result]]) -> None:
        self._call = call
        self._current: asyncio.Task[Result] | None = None
        self._next: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """Return the result of a call that began after this one. Raises what the call raises."""
        if self._next is None:
            # In a context of its own: the time limit of the first caller is not everybody's.
            self._next = asyncio.get_running_loop().create_task(
                self._call_after(self._current), context=Context()
            )
            # All callers may have been cancelled: then nobody reads the task's exception.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: a caller that is cancelled must not cancel the call for the others.
        return await asyncio.shield(self._next)

    async def _call_after(self, earlier: asyncio.Task[Result] | None) -> Result:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._current, self._next = self._next, None
        return await self._call()


class KeyedLock:
    """Locks by key that exist only while somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def acquire(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of ``key`` until the block ends."""
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


def delay_after(delays: Sequence[float], attempt: int) -> float:
    """Return the delay after the failed ``attempt``, counted from 0; the last delay repeats."""
    return delays[min(attempt, len(delays) - 1)]


class Backoff:
    """The delays between attempts, in seconds; the last one repeats. The caller does the waiting.

    ``jitter`` is the share of each delay, from 0 to 1, that is left to chance, so that many callers
    do not try again at the same moment. ``chance`` returns a number from 0 up to 1.
    """

    def __init__(
        self,
        delays: Sequence[float] = EXPONENTIAL_DELAYS_S,
        *,
        jitter: float = 0.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._delays = delays
        self._jitter = jitter
        self._chance = chance
        self.attempts = 0
        """The failed attempts since the start or the last ``reset``."""

    def next(self, at_least: float = 0.0) -> float:
        """Return the seconds to wait now: the next delay, or ``at_least`` if that is longer.

        ``at_least`` is what the other side asks for, as with Retry-After. Who tries again earlier
        may be banned for longer, so it is cut only at an hour.
        """
        delay = delay_after(self._delays, self.attempts)
        self.attempts += 1
        delay *= 1 - self._jitter * (1 - self._chance()) if self._jitter else 1
        # In this order, a number that is none (NaN) asks for nothing.
        return max(delay, min(at_least, MAX_REQUESTED_DELAY_S))

    def reset(self) -> None:
        """Begin with the first delay again."""
        self.attempts = 0


async def wait_for_event(
    event: asyncio.Event, seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Wait until ``event`` is set, at most ``seconds``; ``sleep`` is what waits for those."""
    waits = [asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(event.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def cancel_and_wait(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until all have ended, however they end. None is skipped. Idempotent."""
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)
