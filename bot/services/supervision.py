"""Keeps going what must not end: after an unforeseen error it is begun again, after a pause.

Knows neither jobs nor the store. What it runs must be safe to begin again at any time.
"""

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
"""Seconds before each next start. The last one repeats."""

STEADY_SECONDS: Final = 600.0
"""What ran for so long is begun again after the shortest pause."""


async def keep_running(
    name: str,
    run: Callable[[], Awaitable[Result]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    job: str = "",
) -> Result:
    """Return what ``run`` returns, once it does; run it again after every unforeseen error.

    Each is logged with its traceback; ``name`` says there what ended. Raises StoreDamaged, which
    beginning again cannot help.
    """
    backoff = Backoff(RESTART_DELAYS_S)
    while True:
        began = clock()
        try:
            return await run()
        except StoreDamaged:
            raise
        except Exception:
            # The root of a task: a defect in one must not stop the bot, or leave it half dead.
            if clock() - began >= STEADY_SECONDS:
                backoff.reset()
            pause = backoff.next()
            extra = {"job": job} if job else None
            log.exception("%s broke off; again in %g s", name, pause, extra=extra)
        await sleep(pause)
