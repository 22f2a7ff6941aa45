"""Compare the times of two calls, run in turn so that load of the machine affects both."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """The seconds of both calls, pair by pair."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Return the median of first / second over all pairs. Below 1 the first is faster."""
        pairs = zip(self.first, self.second, strict=True)
        return statistics.median(first_s / second_s for first_s, second_s in pairs)


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes, by the wall clock."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def compare(
    first: Callable[[], object], second: Callable[[], object], *, runs: int = 9
) -> Comparison:
    """Run both ``runs`` times in turn after one warm-up each."""
    first()
    second()
    pairs = [(seconds(first), seconds(second)) for _ in range(runs)]
    return Comparison(
        tuple(first_s for first_s, _ in pairs), tuple(second_s for _, second_s in pairs)
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def show(name: str, figure: str, goal: str = "") -> None:
    """Print one line of the report."""
    print(f"{name:<44} {figure:<40} {goal}", flush=True)
