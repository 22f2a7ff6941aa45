"""How long members wait for the first answer: from the event's arrival to Discord's receipt.

Measured at the HTTP client, so that every kind of answer counts, whoever gives it. Discord's limit
is three seconds.
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
_MOST: Final = 1000


class AckLatency:
    """``clock`` counts seconds; ``observe`` is told how many each first answer took.

    ``limited`` is told of every answer that said: too fast.
    """

    def __init__(
        self,
        observe: Callable[[float], None],
        limited: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._observe = observe
        self._limited = limited
        self._clock = clock
        self._begun: OrderedDict[int, float] = OrderedDict()

    @property
    def awaited(self) -> int:
        """Interactions that are kept in mind."""
        return len(self._begun)

    def start(self, interaction_id: int) -> None:
        """An interaction has come in; one that came before keeps its first moment."""
        self._begun.setdefault(interaction_id, self._clock())
        if len(self._begun) > _MOST:
            self._begun.popitem(last=False)

    def trace_config(self) -> aiohttp.TraceConfig:
        """What the HTTP client is to tell."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._answered)
        return config

    async def _answered(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        end: aiohttp.TraceRequestEndParams,
    ) -> None:
        if end.response.status == 429:
            self._limited()
        match = _CALLBACK.search(end.url.path)
        if match is None or end.response.status >= 400:
            return
        begun = self._begun.pop(int(match[1]), None)
        if begun is None:
            return
        seconds = self._clock() - begun
        self._observe(seconds)
        if seconds > SLOW_SECONDS:
            log.warning("interaction %s was answered after %.2f s", match[1], seconds)
