"""How long things will take, from how long they took: run times, and the wait for a slot.

Nothing is promised before something was measured. The module does not know whose turn it is
(``bot.domain.fairness``); it is told a place in the line.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from statistics import median
from typing import Final

from bot.domain.request import Request

NEWEST: Final = 40
"""How many of the last runs count: what was true of last month's machines is no forecast."""

_OVERDUE_SHARE = 0.1


def work_of(request: Request) -> int:
    """The size of a request in work units: images × steps × pixels."""
    return request.images * request.steps * request.width * request.height


@dataclass(frozen=True, slots=True)
class RunTimes:
    """What finished jobs took, the newest last: pairs of work units and seconds."""

    samples: tuple[tuple[int, float], ...] = ()

    def seconds(self, work: int) -> float | None:
        """What a job of ``work`` units will take; None while nothing was measured.

        A line through the samples: a median of slopes and a median of what they leave over (the
        start-up), so that a single run that hung or was cut short hardly moves it.
        """
        newest = self.samples[-NEWEST:]
        if not newest:
            return None
        slopes = [
            (one_took - other_took) / (one - other)
            for (one, one_took), (other, other_took) in combinations(newest, 2)
            if one != other
        ]
        if not slopes:
            # Only one size was ever run: nothing tells start-up from work, so time scales.
            return median(took / max(1, done) for done, took in newest) * work
        slope = max(0.0, median(slopes))
        overhead = max(0.0, median(took - slope * done for done, took in newest))
        return overhead + slope * work


def estimate(
    position: int,
    running_started: Iterable[datetime],
    typical_seconds: float | None,
    slots: int,
    now: datetime,
) -> timedelta | None:
    """How long from ``now`` until the job at ``position`` (1: next in line) gets a slot.

    Every job is taken to need ``typical_seconds``; one that has run longer is taken to need a tenth
    of that more, because "at any moment" would be said again and again. None while nothing was
    measured, and where there are no slots. Limits per member can make it longer.
    """
    if typical_seconds is None or slots < 1:
        return None
    least = typical_seconds * _OVERDUE_SHARE
    ends = [
        max(least, typical_seconds - (now - started).total_seconds()) for started in running_started
    ]
    heapq.heapify(ends)
    start = 0.0
    for _ in range(position):
        while len(ends) >= slots:
            start = heapq.heappop(ends)
        heapq.heappush(ends, start + typical_seconds)
    return timedelta(seconds=start)
