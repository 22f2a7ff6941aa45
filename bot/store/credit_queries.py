"""Questions about credits: what jobs may cost, did cost, and what a day has cost so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bot.domain.job import TERMINAL, Job
from bot.store.moments import to_timestamp
from bot.store.query import Query, placeholders
from bot.store.snapshots import COLUMNS, load_job


@dataclass(frozen=True, slots=True)
class JobCost:
    """The most a job may cost, what it did cost, and what came back; None while not known."""

    price: Decimal | None = None
    cost: Decimal | None = None
    refund: Decimal | None = None


def job_cost(job_id: str) -> Query[JobCost]:
    """A job's price, cost and refund."""
    sql = "SELECT price_credits, cost_credits, refund_credits FROM jobs WHERE id = ?"
    return Query(sql, (job_id,), _credits)


def jobs_without_cost() -> Query[tuple[Job, ...]]:
    """The ended jobs that were priced and whose cost is not known yet, the oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs
        WHERE price_credits IS NOT NULL AND cost_credits IS NULL
            AND state IN ({placeholders(len(TERMINAL))})
        ORDER BY created_at, id
    """
    return Query(sql, tuple(TERMINAL), _job_ids)


def credits_spent(guild_id: int | None, since: datetime) -> Query[Decimal]:
    """Credits of the jobs accepted from ``since`` on: what they cost or, until known, their price.

    Of one server, or of all. A job that never reached a backend costs nothing.
    """
    sql = """
        SELECT coalesce(cost_credits, price_credits) AS credits FROM jobs
        WHERE created_at >= ? AND coalesce(cost_credits, price_credits) IS NOT NULL
    """
    if guild_id is None:
        return Query(sql, (to_timestamp(since),), _sum)
    return Query(sql + " AND guild_id = ?", (to_timestamp(since), guild_id), _sum)


def _credits(rows: Sequence[sqlite3.Row]) -> JobCost:
    if not rows:
        return JobCost()
    return JobCost(*(None if text is None else Decimal(text) for text in rows[0]))


def _job_ids(rows: Sequence[sqlite3.Row]) -> tuple[Job, ...]:
    return tuple(load_job(row) for row in rows)


def _sum(rows: Sequence[sqlite3.Row]) -> Decimal:
    return sum((Decimal(row["credits"]) for row in rows), Decimal())
