"""How far a running job is, in monospaced bars and a guess at its end. Knows jobs and the clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from bot.domain.job import Job, Row

BAR: Final = 16
MOST_LINES: Final = 12

_GUESS_FROM = 8
_SHORTEST = 1.0


def progress_bar(percent: int, width: int = BAR) -> str:
    """``██████░░░░``, ``width`` signs long."""
    full = width * min(100, max(0, percent)) // 100
    return "█" * full + "░" * (width - full)


def row_bars(job: Job) -> str:
    """One line for each row; where there are many, for those that still have something to say."""
    rows = job.rows
    if len(rows) > MOST_LINES:
        busy = [row for row in rows if row.started and not row.is_done]
        idle = [row for row in rows if not row.started]
        rows = tuple((busy + idle)[:MOST_LINES])
    width = len(str(len(job.rows)))
    lines = [f"row {row.number:>{width}}  {_state(row)}" for row in rows]
    hidden = [row for row in job.rows if row not in rows]
    if hidden:
        ready = sum(row.is_ready for row in hidden)
        failed = sum(row.failed_code is not None and not row.is_ready for row in hidden)
        said = [(ready, "ready"), (failed, "failed"), (len(hidden) - ready - failed, "to come")]
        lines.append(", ".join(f"{number} more {word}" for number, word in said if number))
    return "\n".join(lines)


def elapsed(job: Job, at: datetime) -> timedelta:
    """How long the job has run; nothing before it started."""
    return max(timedelta(), at - job.started_at) if job.started_at else timedelta()


def estimate_end(job: Job, at: datetime) -> datetime | None:
    """When it will be done if it goes on like this; None while that would be a wild guess."""
    spent = elapsed(job, at).total_seconds()
    if not _GUESS_FROM <= job.percent < 100 or spent < _SHORTEST:
        return None
    return at + timedelta(seconds=spent * (100 - job.percent) / job.percent)


def _state(row: Row) -> str:
    if row.is_ready:
        return f"{progress_bar(100)}  ready"
    if row.failed_code is not None:
        return f"{'·' * BAR}  failed"
    if not row.started:
        return f"{progress_bar(0)}  waiting"
    return f"{progress_bar(row.percent)}  {row.percent:3d} %"
