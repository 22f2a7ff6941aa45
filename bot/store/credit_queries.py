"""Questions about credits: what jobs may cost, did cost, and what a day has cost so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bot.domain.job import TERMINAL, Job
from bot.store.moments import to_text
from bot.store.query import Query, marks
from bot.store.snapshots import COLUMNS, load_job


@dataclass(frozen=True, slots=True)
class Credits:
    """The most a job may cost, what it did cost, and what came back; None while not known."""

    price: Decimal | None = None
    cost: Decimal | None = None
    refund: Decimal | None = None


def credits_of(job_id: str) -> Query[Credits]:
    """A job's price, cost and refund."""
    sql = "SELECT price_credits, cost_credits, refund_credits FROM jobs WHERE id = ?"
    return Query(sql, (job_id,), _credits)


def unsettled() -> Query[tuple[Job, ...]]:
    """The ended jobs that were priced and whose cost is not known yet, the oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs
        WHERE price_credits IS NOT NULL AND cost_credits IS NULL
            AND state IN ({marks(len(TERMINAL))})
        ORDER BY created_at, id
    """
    return Query(sql, tuple(TERMINAL), _jobs)


def spent(guild_id: int | None, since: datetime) -> Query[Decimal]:
    """Credits of the jobs accepted from ``since`` on: what they cost or, until known, their price.

    Of one server, or of all. A job that never reached a backend costs nothing.
    """
    sql = """
        SELECT coalesce(cost_credits, price_credits) AS credits FROM jobs
        WHERE created_at >= ? AND coalesce(cost_credits, price_credits) IS NOT NULL
    """
    if guild_id is None:
        return Query(sql, (to_text(since),), _sum)
    return Query(sql + " AND guild_id = ?", (to_text(since), guild_id), _sum)


def _credits(rows: Sequence[sqlite3.Row]) -> Credits:
    if not rows:
        return Credits()
    return Credits(*(None if text is None else Decimal(text) for text in rows[0]))


def _jobs(rows: Sequence[sqlite3.Row]) -> tuple[Job, ...]:
    return tuple(load_job(row) for row in rows)


def _sum(rows: Sequence[sqlite3.Row]) -> Decimal:
    return sum((Decimal(row["credits"]) for row in rows), Decimal())
