"""The circuit breaker in front of the backend: closed while it answers, open while it is away.

An outage is the service's, not a job's: jobs in the line keep their place, those at the backend
wait. While open, one probe at a time asks for the backend's health; the first good answer closes
the circuit and wakes everyone.
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
    """``fail()`` counts, ``succeed()`` forgets; ``closed()`` waits until the service is back."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[Health]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        trips_at: int = FAILURE_THRESHOLD,
        on_change: Callable[[bool, str], None] = lambda _open, _detail: None,
    ) -> None:
        self._probe = probe
        self._sleep = sleep
        self._trips_at = trips_at
        self._on_change = on_change
        self._failures = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self.detail = ""

    @property
    def open(self) -> bool:
        """Whether the service is taken to be away."""
        return not self._closed.is_set()

    def record_success(self) -> None:
        """The service answered."""
        self._failures = 0

    def record_failure(self, detail: str) -> None:
        """The service did not answer, or answered with an outage."""
        self._failures += 1
        if self._failures < self._trips_at or self.open:
            return
        log.error("the backend is away: %s; the line waits, probing goes on", detail)
        self.detail = detail
        self._closed.clear()
        # First of all: whatever else goes wrong, somebody has to find out when it is back.
        self._probing = asyncio.get_running_loop().create_task(
            keep_running("probing the backend", self._probe_until_back, sleep=self._sleep)
        )
        self._on_change(True, detail)

    async def wait_closed(self) -> None:
        """Wait until the service is back; at once if it is there."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Stop probing."""
        await cancel_and_wait(self._probing)

    async def _probe_until_back(self) -> None:
        backoff = Backoff(PROBE_DELAYS_S)
        while True:
            await self._sleep(backoff.next())
            health = await self._probe()
            if health.ok:
                break
            self.detail = health.detail
        log.warning("the backend is back: %s", health.detail)
        self._failures = 0
        self._closed.set()
        self._on_change(False, health.detail)
