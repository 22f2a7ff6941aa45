"""Decide which status message to edit next, within the rate limits. Pure; no I/O."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

MIN_EDIT_INTERVAL_S: Final = 2.5
MAX_EDITS_PER_S: Final = 4.0


class Priority(Enum):
    """How long an edit may wait; the value is a delay in seconds."""

    FINAL = -1_000.0
    RUNNING = 0.0
    WAITING = 10.0


@dataclass(frozen=True, slots=True)
class _Edit:
    since: float
    priority: Priority
    not_before: float = -math.inf

    @property
    def rank(self) -> float:
        return self.since + self.priority.value


class EditSchedule:
    """Rate-limited queue of pending edits: per message and overall.

    Times are monotonic seconds. The content is built when the edit is due.
    """

    def __init__(
        self,
        *,
        min_interval_s: float = MIN_EDIT_INTERVAL_S,
        max_edits_per_s: float = MAX_EDITS_PER_S,
    ) -> None:
        self._min_interval_s = min_interval_s
        self._max_edits_per_s = max_edits_per_s
        self._edits: dict[str, _Edit] = {}
        self._edited_at: dict[str, float] = {}
        self._budget = max_edits_per_s
        self._budget_at = 0.0

    def schedule(self, job_id: str, priority: Priority, at: float) -> bool:
        """Schedule an edit; a pending one keeps its place or moves up.

        Returns False if nothing changed.
        """
        known = self._edits.get(job_id)
        if known is not None and priority.value >= known.priority.value:
            return False
        if known is None:
            self._edits[job_id] = _Edit(at, priority)
        else:
            since = max(min(at, known.since), known.not_before)
            self._edits[job_id] = _Edit(since, priority, known.not_before)
        return True

    def cancel(self, job_id: str) -> None:
        """Remove a pending edit."""
        self._edits.pop(job_id, None)
        self._edited_at.pop(job_id, None)

    def reschedule(
        self, job_id: str, priority: Priority, at: float, *, not_before: float = -math.inf
    ) -> None:
        """Schedule a failed edit from ``at`` on, without the minimum interval.

        ``not_before`` is what Discord asked for: no later state moves the edit up beyond it.
        """
        self._edited_at.pop(job_id, None)
        self.schedule(job_id, priority, at)
        edit = self._edits[job_id]
        self._edits[job_id] = _Edit(max(edit.since, not_before), edit.priority, not_before)

    def pop_due(self, at: float, busy: Container[str] = ()) -> str | None:
        """Return the job id to edit now, or None. ``busy`` ones are being edited."""
        self._refill(at)
        due = [
            (edit.rank, job_id)
            for job_id, edit in self._edits.items()
            if job_id not in busy and self._due_at(job_id, edit) <= at
        ]
        if not due:
            return None
        _, job_id = min(due)
        edit = self._edits.pop(job_id)
        if edit.priority is not Priority.FINAL:
            self._budget -= 1
        self._edited_at[job_id] = at
        return job_id

    def next_delay(self, at: float, busy: Container[str] = ()) -> float | None:
        """Return the seconds until an edit may be due, or None if there is none."""
        self._refill(at)
        moments = [
            self._due_at(job_id, edit) for job_id, edit in self._edits.items() if job_id not in busy
        ]
        return max(0.0, min(moments) - at) if moments else None

    def _due_at(self, job_id: str, edit: _Edit) -> float:
        if edit.priority is Priority.FINAL:
            return edit.since
        lacking = max(0.0, 1.0 - self._budget) / self._max_edits_per_s
        return max(
            edit.since,
            self._edited_at.get(job_id, edit.since - self._min_interval_s) + self._min_interval_s,
            self._budget_at + lacking,
        )

    def _refill(self, at: float) -> None:
        passed = max(0.0, at - self._budget_at)
        self._budget = min(self._max_edits_per_s, self._budget + passed * self._max_edits_per_s)
        self._budget_at = at
        for job_id in [
            one for one, then in self._edited_at.items() if then + self._min_interval_s <= at
        ]:
            del self._edited_at[job_id]
