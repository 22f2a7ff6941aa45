"""How long a caller waits for a store that cannot be used: for ever, or until an answer is due.

Background work waits for as long as it takes, so that nothing ends because of a full disk. Whoever
answers a member limits the waits of the current task: Discord wants its answer within 3 seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from bot.concurrency import delay_after
from bot.domain.errors import StoreUnavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")

ANSWER_SECONDS: Final = 2.0
PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts. The last one repeats."""

_max_wait_s: ContextVar[float | None] = ContextVar("max_wait_s", default=None)


def pause_after(attempt: int) -> float:
    """Return the seconds to wait after the failed ``attempt``, counted from 0."""
    return delay_after(PAUSES, attempt)


def max_wait_s() -> float | None:
    """Return how long the current task may wait for the store; None for ever."""
    return _max_wait_s.get()


def limit_waits(seconds: float = ANSWER_SECONDS) -> None:
    """Limit every wait for the store in the rest of the current task."""
    _max_wait_s.set(seconds)


@contextmanager
def waits_limited(seconds: float | None) -> Iterator[None]:
    """Limit the waits inside the block; None lifts a limit."""
    token = _max_wait_s.set(seconds)
    try:
        yield
    finally:
        _max_wait_s.reset(token)


async def outlast(
    what: str,
    act: Callable[[], Awaitable[Result]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    job: str = "",
) -> Result:
    """Return what ``act`` returns, after as many attempts as the disk needs.

    ``what`` names it in the log, which says once that it waits and once that it goes on. Raises
    StoreUnavailable at once in a task whose waits are limited. ``act`` must be idempotent.
    """
    attempt = 0
    while True:
        try:
            result = await act()
        except StoreUnavailable as fault:
            if max_wait_s() is not None:
                raise
            if attempt == 0:
                log.error("%s has to wait: %s", what, fault, extra={"job": job} if job else None)
            await sleep(pause_after(attempt))
            attempt += 1
        else:
            if attempt:
                log.warning("%s goes on", what, extra={"job": job} if job else None)
            return result
