"""Timing two ways of doing the same, in turn, so that a drift of the machine hits both alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds of both, and the median of the ratios first / second taken pair by pair."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Below 1: the first is faster."""
        pairs = zip(self.first, self.second, strict=True)
        return statistics.median(one / other for one, other in pairs)


def seconds(act: Callable[[], object]) -> float:
    """How long one call takes, by the wall clock."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def compare(
    first: Callable[[], object], second: Callable[[], object], *, runs: int = 9
) -> Comparison:
    """Run both ``runs`` times in turn after one warm-up each."""
    first()
    second()
    pairs = [(seconds(first), seconds(second)) for _ in range(runs)]
    return Comparison(tuple(one for one, _ in pairs), tuple(other for _, other in pairs))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that at least so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def show(name: str, figure: str, goal: str = "") -> None:
    """One line of the report."""
    print(f"{name:<44} {figure:<40} {goal}", flush=True)
