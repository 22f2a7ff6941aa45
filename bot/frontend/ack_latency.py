"""Measure the time from an interaction's arrival to its first response.

Measured in the HTTP client, so every kind of response counts. Discord's limit is three seconds.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import aiohttp

log = logging.getLogger(__name__)

SLOW_SECONDS: Final = 1.0
_CALLBACK: Final = re.compile(r"/interactions/(\d+)/[^/]+/callback$")
_MAX_PENDING: Final = 1000


class AckLatency:
    """Measures first responses. ``clock`` returns monotonic seconds.

    ``observe`` gets the seconds of each first response; ``on_rate_limit`` is called for every 429.
    """

    def __init__(
        self,
        observe: Callable[[float], None],
        on_rate_limit: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._observe = observe
        self._on_rate_limit = on_rate_limit
        self._clock = clock
        self._started_at: OrderedDict[int, float] = OrderedDict()

    @property
    def pending_count(self) -> int:
        """Return the number of interactions without a response."""
        return len(self._started_at)

    def start(self, interaction_id: int) -> None:
        """Start timing an interaction; a second call for the same id changes nothing."""
        self._started_at.setdefault(interaction_id, self._clock())
        if len(self._started_at) > _MAX_PENDING:
            self._started_at.popitem(last=False)

    def trace_config(self) -> aiohttp.TraceConfig:
        """Return the aiohttp trace configuration that observes the responses."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_request_end)
        return config

    async def _on_request_end(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        end: aiohttp.TraceRequestEndParams,
    ) -> None:
        if end.response.status == 429:
            self._on_rate_limit()
        match = _CALLBACK.search(end.url.path)
        if match is None or end.response.status >= 400:
            return
        started_at = self._started_at.pop(int(match[1]), None)
        if started_at is None:
            return
        seconds = self._clock() - started_at
        self._observe(seconds)
        if seconds > SLOW_SECONDS:
            log.warning("interaction %s was answered after %.2f s", match[1], seconds)
