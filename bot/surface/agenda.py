"""Which card is written when: the humane pace of edits, as a plain data structure.

Each card at most once in ``every`` seconds, all cards together so many times a second, whoever
waits longest first, and ends before everything. Knows job ids and seconds on some clock; it does
not know what is written, nor the time.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

EVERY: Final = 2.5
PER_SECOND: Final = 4.0


class Priority(Enum):
    """How long a wish may wait for others; the value is the seconds that it is put back."""

    FINAL = -1_000.0
    RUNNING = 0.0
    WAITING = 10.0


@dataclass(frozen=True, slots=True)
class _Wish:
    since: float
    urgency: Priority

    @property
    def rank(self) -> float:
        return self.since + self.urgency.value


class EditSchedule:
    """The wishes that are open. What a card will say is decided when its turn comes."""

    def __init__(self, *, every: float = EVERY, per_second: float = PER_SECOND) -> None:
        self._every = every
        self._per_second = per_second
        self._wishes: dict[str, _Wish] = {}
        self._written: dict[str, float] = {}
        self._budget = per_second
        self._counted_at = 0.0

    def schedule(self, job_id: str, urgency: Priority, at: float) -> bool:
        """The card should be written; asked for again, it keeps its place or moves up.

        False if nothing has changed by that.
        """
        known = self._wishes.get(job_id)
        if known is not None and urgency.value >= known.urgency.value:
            return False
        since = at if known is None else min(at, known.since)
        self._wishes[job_id] = _Wish(since, urgency)
        return True

    def cancel(self, job_id: str) -> None:
        """The card need not be written any more."""
        self._wishes.pop(job_id, None)
        self._written.pop(job_id, None)

    def reschedule(self, job_id: str, urgency: Priority, at: float) -> None:
        """The card was not written after all: try from ``at`` on, whatever the interval."""
        self._written.pop(job_id, None)
        self.schedule(job_id, urgency, at)

    def pop_due(self, at: float, busy: Container[str] = ()) -> str | None:
        """The card to write now; None if none is due. ``busy`` ones are still being written."""
        self._refill(at)
        due = [
            (wish.rank, job_id)
            for job_id, wish in self._wishes.items()
            if job_id not in busy and self._due_at(job_id, wish) <= at
        ]
        if not due:
            return None
        _, job_id = min(due)
        wish = self._wishes.pop(job_id)
        if wish.urgency is not Priority.FINAL:
            self._budget -= 1
        self._written[job_id] = at
        return job_id

    def next_delay(self, at: float, busy: Container[str] = ()) -> float | None:
        """Seconds until a card may be due; None while nothing is wanted that is not busy."""
        self._refill(at)
        moments = [
            self._due_at(job_id, wish)
            for job_id, wish in self._wishes.items()
            if job_id not in busy
        ]
        return max(0.0, min(moments) - at) if moments else None

    def _due_at(self, job_id: str, wish: _Wish) -> float:
        if wish.urgency is Priority.FINAL:
            return wish.since
        lacking = max(0.0, 1.0 - self._budget) / self._per_second
        return max(
            wish.since,
            self._written.get(job_id, wish.since - self._every) + self._every,
            self._counted_at + lacking,
        )

    def _refill(self, at: float) -> None:
        passed = max(0.0, at - self._counted_at)
        self._budget = min(self._per_second, self._budget + passed * self._per_second)
        self._counted_at = at
        for job_id in [one for one, then in self._written.items() if then + self._every <= at]:
            del self._written[job_id]
