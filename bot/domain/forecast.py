"""How long things will take, from how long they took: run times, and the wait for a slot.

Nothing is promised before something was measured. The size of a job is counted in work units:
images × steps × pixels. The module does not know whose turn it is
(``bot.domain.fairness``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import combinations
from statistics import median
from typing import Final

HISTORY_SIZE: Final = 40
"""How many of the last runs count: what was true of last month's machines is no forecast."""


@dataclass(frozen=True, slots=True)
class RuntimeHistory:
    """What finished jobs took, the newest last: pairs of work units and seconds."""

    samples: tuple[tuple[int, float], ...] = ()

    def seconds(self, work: int) -> float | None:
        """What a job of ``work`` units will take; None while nothing was measured.

        A line through the samples: a median of slopes and a median of what they leave over (the
        start-up), so that a single run that hung or was cut short hardly moves it.
        """
        line = _line(self.samples[-HISTORY_SIZE:])
        return None if line is None else line[0] + line[1] * work


@lru_cache(maxsize=8)  # it is asked for every job that waits
def _line(newest: tuple[tuple[int, float], ...]) -> tuple[float, float] | None:
    """The start-up in seconds, and seconds for each work unit; None while nothing was measured."""
    if not newest:
        return None
    slopes = [
        (one_took - other_took) / (one - other)
        for (one, one_took), (other, other_took) in combinations(newest, 2)
        if one != other
    ]
    if not slopes:
        # Only one size was ever run: nothing tells start-up from work, so time scales.
        return 0.0, median(took / max(1, done) for done, took in newest)
    slope = max(0.0, median(slopes))
    return max(0.0, median(took - slope * done for done, took in newest)), slope


def seconds_left(expected: float, started: datetime, now: datetime) -> float:
    """Return how long a running job will still take; 0 if it took longer than expected."""
    return max(0.0, expected - (now - started).total_seconds())
