"""The circuit breaker of the backend: closed while it answers, open while it is unavailable.

An outage fails no job: queued jobs keep their position, submitted ones wait. While the breaker is
open, one probe at a time asks for the backend's health; the first healthy answer closes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.backends.base import Health
from bot.concurrency import Backoff, cancel_and_wait
from bot.services.supervision import keep_running

log = logging.getLogger(__name__)

FAILURE_THRESHOLD = 2
PROBE_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class CircuitBreaker:
    """Open after ``threshold`` failures in a row, and close again when a probe succeeds.

    ``on_change`` is called with whether the breaker is open, and with the reason.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[Health]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        threshold: int = FAILURE_THRESHOLD,
        on_change: Callable[[bool, str], None] = lambda _open, _detail: None,
    ) -> None:
        self._probe = probe
        self._sleep = sleep
        self._threshold = threshold
        self._on_change = on_change
        self._failures = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self.detail = ""

    @property
    def open(self) -> bool:
        """Whether the backend is considered unavailable."""
        return not self._closed.is_set()

    def record_success(self) -> None:
        """Reset the count of failures: the backend answered."""
        self._failures = 0

    def record_failure(self, detail: str) -> None:
        """Count a failure of the backend; open the breaker at the threshold and start to probe."""
        self._failures += 1
        if self._failures < self._threshold or self.open:
            return
        log.error("the backend is unavailable: %s; the queue waits until a probe succeeds", detail)
        self.detail = detail
        self._closed.clear()
        # Before anything else: if the callback fails, a probe must still close the breaker.
        self._probing = asyncio.get_running_loop().create_task(
            keep_running("probing the backend", self._probe_until_healthy, sleep=self._sleep)
        )
        self._on_change(True, detail)

    async def wait_closed(self) -> None:
        """Wait until the backend is available; return at once if it is."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Stop probing. Idempotent."""
        await cancel_and_wait(self._probing)

    async def _probe_until_healthy(self) -> None:
        backoff = Backoff(PROBE_DELAYS_S)
        while True:
            await self._sleep(backoff.next())
            health = await self._probe()
            if health.ok:
                break
            self.detail = health.detail
        log.warning("the backend is available again: %s", health.detail)
        self._failures = 0
        self._closed.set()
        self._on_change(False, health.detail)
