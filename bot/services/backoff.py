"""How long to wait before the next attempt: exponential, with jitter and an upper bound.

Knows numbers only; whoever uses it does the waiting.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 0.5
MAX_SECONDS: Final = 60.0


class Backoff:
    """The pauses of one series of attempts. ``chance`` returns a number from 0 up to 1."""

    def __init__(
        self,
        *,
        first: float = FIRST_SECONDS,
        longest: float = MAX_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._next = first
        self._longest = longest
        self._chance = chance

    def pause(self, at_least: float = 0.0) -> float:
        """Return the seconds to wait now: never under ``at_least``, never over the longest.

        Half of the pause is left to chance, so that many who wait do not all come back at once.
        """
        bound, self._next = self._next, min(self._longest, self._next * 2)
        return min(self._longest, max(at_least, bound * (0.5 + self._chance() / 2)))
