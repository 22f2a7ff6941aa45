"""Limit how long a task waits for a store that is unavailable.

Background work waits for as long as it takes, so a full disk ends nothing. Tasks that answer a
member limit their waits: Discord requires the first response within 3 seconds.
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

RESPONSE_TIMEOUT_S: Final = 2.0
"""How long one wait of a task that answers a member may take."""
RESPONSE_BUDGET_S: Final = 2.5
"""How long all waits before the first response may take together."""
MIN_WAIT_S: Final = 0.1
NO_ANSWER: Final = "the database does not answer"
RETRY_DELAYS_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts. The last one repeats."""

_max_wait_s: ContextVar[float | None] = ContextVar("max_wait_s", default=None)
_respond_by: ContextVar[float | None] = ContextVar("respond_by", default=None)


def pause_after(attempt: int) -> float:
    """Return the seconds to wait after the failed ``attempt``, counted from 0."""
    return delay_after(RETRY_DELAYS_S, attempt)


def max_wait_s() -> float | None:
    """Return the seconds that the current task may wait for the store; None for no limit."""
    return _max_wait_s.get()


def limit_waits(seconds: float = RESPONSE_TIMEOUT_S) -> None:
    """Limit every wait for the store in the rest of the current task, which answers a member."""
    _max_wait_s.set(seconds)
    _respond_by.set(asyncio.get_running_loop().time() + RESPONSE_BUDGET_S)


def response_time_left() -> float:
    """Return the seconds that the current task may still wait before its first response.

    Never less than a moment: a store that works is asked even if the time is over.
    """
    until = _respond_by.get()
    if until is None:
        return RESPONSE_TIMEOUT_S
    return max(MIN_WAIT_S, until - asyncio.get_running_loop().time())


@contextmanager
def waits_limited(seconds: float | None) -> Iterator[None]:
    """Limit the waits inside the block to ``seconds``; None removes the limit."""
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
    """Call ``act`` until it does not raise StoreUnavailable, and return its result.

    ``what`` names it in the log, once when it has to wait and once when it continues. ``act`` must
    be idempotent. Raises StoreUnavailable at once in a task whose waits are limited.
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
                log.warning("%s continues", what, extra={"job": job} if job else None)
            return result
