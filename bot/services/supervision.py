"""Restart background tasks after unforeseen errors. What they do must be idempotent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bot.concurrency import Backoff
from bot.domain.errors import StoreDamaged

log = logging.getLogger(__name__)

Result = TypeVar("Result")

RESTART_DELAYS_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""The delays before each restart. The last one repeats."""

STABLE_AFTER_S: Final = 600.0
"""After running for so long, a task is restarted with the first delay again."""


async def keep_running(
    name: str,
    run: Callable[[], Awaitable[Result]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    job: str = "",
) -> Result:
    """Return what ``run`` returns; call it again after every unforeseen error, after a delay.

    Each error is logged with its traceback and with ``name``. Raises StoreDamaged, which a restart
    cannot repair.
    """
    backoff = Backoff(RESTART_DELAYS_S)
    while True:
        began = clock()
        try:
            return await run()
        except StoreDamaged:
            raise
        except Exception:
            # The outermost call of a task: a defect in it must not stop the bot or a part of it.
            if clock() - began >= STABLE_AFTER_S:
                backoff.reset()
            pause = backoff.next()
            extra = {"job": job} if job else None
            log.exception("%s failed; next attempt in %g s", name, pause, extra=extra)
        await sleep(pause)
