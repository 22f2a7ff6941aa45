"""Ids the way Discord makes them: milliseconds since 2015 in the high bits, a counter below.

It knows the clock it is given and nothing of what the ids name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

EPOCH_MS = 1_420_070_400_000


class SnowflakeGenerator:
    """Makes ids that grow even when the clock stands still, as a test's clock does."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0

    def next_id(self) -> int:
        """Return an id larger than every one before it."""
        born = (int(self._now().timestamp() * 1000) - EPOCH_MS) << 22
        self._last = max(born, self._last + 1)
        return self._last
