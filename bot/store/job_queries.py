"""Define the queries on the table ``jobs``.

Run each inside a transaction (``counts(7).run(connection)``) or on the last commit
(``await database.read(counts(7))``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from bot.domain.job import TERMINAL, Job, JobState
from bot.domain.scheduling import QueuedJob, RuntimeHistory
from bot.store.database import Query, Value, placeholders
from bot.store.serialization import COLUMNS, load_job, parse_timestamp, to_timestamp

UNFINISHED: Final = tuple(state for state in JobState if state not in TERMINAL)
IN_FLIGHT: Final = tuple(state for state in UNFINISHED if state is not JobState.QUEUED)
_NO_ID: Final = "~"  # sorts after every letter of a job id


@dataclass(frozen=True, slots=True)
class InteractionRef:
    """The interaction that made a job; its token edits the first response until it expires."""

    id: int
    application_id: int
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """A job that was scheduled and has not ended; ``work`` is its size in work units.

    ``channel_ids`` are its channel, the thread's parent and the category.
    """

    job_id: str
    user_id: int
    state: JobState
    dispatched_at: datetime
    work: int = 0
    channel_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Numbers of queued and active jobs, of one member and in total."""

    waiting: int
    in_flight: int
    waiting_of_all: int
    in_flight_of_all: int


@dataclass(frozen=True, slots=True)
class StoredJobCounts:
    """Numbers of a member's stored jobs: not erased, not ended, erased."""

    jobs: int
    unfinished: int
    erased: int


def job_by_id(job_id: str) -> Query[Job | None]:
    """Select the job with this id."""
    return Query(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,), _one_job)


def job_by_interaction(interaction_id: int) -> Query[Job | None]:
    """Select the job that this interaction made."""
    sql = f"SELECT {COLUMNS} FROM jobs WHERE interaction_id = ?"
    return Query(sql, (interaction_id,), _one_job)


def interaction(job_id: str) -> Query[InteractionRef | None]:
    """Select the interaction of a job; None for the command line and after erasure."""
    sql = """
        SELECT interaction_id, application_id, token, token_expires_at FROM jobs
        WHERE id = ? AND token IS NOT NULL
    """
    return Query(sql, (job_id,), _one_interaction)


def mac_key(job_id: str) -> Query[bytes | None]:
    """Select the key that authenticates the markers in the job's log."""
    return Query("SELECT mac_key FROM jobs WHERE id = ?", (job_id,), _one_key)


def is_age_restricted(job_id: str) -> Query[bool]:
    """Select whether the job's channel was age-restricted when it was requested."""
    sql = "SELECT age_restricted FROM jobs WHERE id = ?"
    return Query(sql, (job_id,), lambda rows: any(row["age_restricted"] for row in rows))


def waiting() -> Query[tuple[QueuedJob, ...]]:
    """Select the queued jobs, oldest first."""
    sql = """
        SELECT id, author_id, created_at, images, images * steps * pixels AS work,
            guild_id, channel_id, parent_id, category_id,
            EXISTS (
                SELECT 1 FROM holds WHERE job_id = jobs.id AND kind = 'words' AND approved IS NULL
            ) AS held
        FROM jobs WHERE state = 'queued' ORDER BY created_at, id
    """
    return Query(sql, (), _queued_jobs)


def in_flight() -> Query[tuple[ActiveJob, ...]]:
    """Select every job that was scheduled and has not ended, oldest first."""
    sql = f"""
        SELECT id, author_id, state, coalesce(dispatched_at, created_at) AS dispatched_at,
            images * steps * pixels AS work, channel_id, parent_id, category_id
        FROM jobs WHERE state IN ({placeholders(len(IN_FLIGHT))}) ORDER BY created_at, id
    """
    return Query(sql, IN_FLIGHT, _active_jobs)


def counts(author_id: int) -> Query[QueueCounts]:
    """Count the queued and active jobs, of one member and in total."""
    # A job whose result is fetched or delivered no longer computes, but is still active.
    flying = placeholders(len(IN_FLIGHT))
    sql = f"""
        SELECT
            (SELECT count(*) FROM jobs WHERE author_id = ? AND state = 'queued'),
            (SELECT count(*) FROM jobs WHERE author_id = ? AND state IN ({flying})),
            (SELECT count(*) FROM jobs WHERE state = 'queued'),
            (SELECT count(*) FROM jobs WHERE state IN ({flying}))
    """
    parameters = (author_id, author_id, *IN_FLIGHT, *IN_FLIGHT)
    return Query(sql, parameters, lambda rows: QueueCounts(*rows[0]))


def last_started() -> Query[dict[int, datetime]]:
    """Select when a job of each member with queued jobs was last scheduled, if ever."""
    sql = """
        SELECT member.author_id, (
            SELECT max(dispatched_at) FROM jobs
            WHERE author_id = member.author_id AND dispatched_at IS NOT NULL
        ) AS last_started
        FROM (SELECT DISTINCT author_id FROM jobs WHERE state = 'queued') AS member
    """
    return Query(sql, (), _last_started)


def unfinished_rows() -> Query[Sequence[sqlite3.Row]]:
    """Select every job that has not ended, as rows for ``load_job``, oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs WHERE state IN ({placeholders(len(UNFINISHED))})
        ORDER BY created_at, id
    """
    return Query(sql, UNFINISHED, lambda rows: rows)


def unfinished_of(author_id: int) -> Query[tuple[Job, ...]]:
    """Select a member's jobs that have not ended, oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs
        WHERE author_id = ? AND state IN ({placeholders(len(UNFINISHED))})
        ORDER BY created_at, id
    """
    return Query(sql, (author_id, *UNFINISHED), _jobs)


def history(
    author_id: int, guild_id: int | None, limit: int, before_id: str | None
) -> Query[tuple[Job, ...]]:
    """Select a member's jobs older than ``before_id``, newest first; None is every server."""
    sql = f"SELECT {COLUMNS} FROM jobs WHERE author_id = ? AND id < ?"
    parameters: tuple[Value, ...] = (author_id, before_id or _NO_ID)
    if guild_id is not None:
        sql += " AND guild_id = ?"
        parameters += (guild_id,)
    return Query(sql + " ORDER BY id DESC LIMIT ?", (*parameters, limit), _jobs)


def stored_counts(author_id: int) -> Query[StoredJobCounts]:
    """Count a member's stored jobs, in all servers together."""
    sql = f"""
        SELECT count(*) FILTER (WHERE erased_at IS NULL),
            count(*) FILTER (WHERE state IN ({placeholders(len(UNFINISHED))})),
            count(*) FILTER (WHERE erased_at IS NOT NULL)
        FROM jobs WHERE author_id = ?
    """
    return Query(sql, (*UNFINISHED, author_id), lambda rows: StoredJobCounts(*rows[0]))


def undelivered(method: str, since: datetime) -> Query[tuple[Job, ...]]:
    """Select the jobs finished since ``since`` and delivered by ``method``, oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs WHERE state = 'finished' AND ended_at >= ?
            AND json_extract(snapshot, '$.rung') = ? AND erased_at IS NULL
        ORDER BY ended_at, id
    """
    return Query(sql, (to_timestamp(since), method), _jobs)


def ended_ids(author_id: int) -> Query[tuple[str, ...]]:
    """Select the ids of a member's ended jobs, including erased ones, oldest first."""
    sql = f"""
        SELECT id FROM jobs
        WHERE author_id = ? AND state IN ({placeholders(len(TERMINAL))}) ORDER BY id
    """
    return Query(sql, (author_id, *TERMINAL), lambda rows: tuple(row["id"] for row in rows))


_DIGEST = "json_extract(request, '$.init_image.sha256')"
# Cheaper than reading the JSON of every job: most start from no picture.
_HAS_INIT_IMAGE = """instr(request, '"init_image":{')"""


def init_images(author_id: int | None = None) -> Query[frozenset[str]]:
    """Select the digests of the pictures that requests of a member, or of all, start from."""
    sql = f"SELECT DISTINCT {_DIGEST} AS digest FROM jobs WHERE {_HAS_INIT_IMAGE}"
    if author_id is not None:
        sql += " AND author_id = ?"
    given = () if author_id is None else (author_id,)
    return Query(sql, given, lambda rows: frozenset(row["digest"] for row in rows))


def names_init_image(digest: str) -> Query[bool]:
    """Select whether a request starts from the picture with this digest."""
    sql = f"SELECT 1 FROM jobs WHERE instr(request, ?) AND {_HAS_INIT_IMAGE} LIMIT 1"
    return Query(sql, (digest,), bool)


def jobs_in_channel(channel_id: int, states: Collection[JobState]) -> Query[tuple[Job, ...]]:
    """Select a channel's jobs that are in one of ``states``, oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs WHERE channel_id = ? AND state IN ({placeholders(len(states))})
        ORDER BY created_at, id
    """
    return Query(sql, (channel_id, *states), _jobs)


def jobs_by_id_prefix(id_prefix: str, limit: int) -> Query[tuple[Job, ...]]:
    """Select the jobs whose id starts with ``id_prefix``, ordered by id."""
    sql = f"SELECT {COLUMNS} FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    return Query(sql, (id_prefix, id_prefix + _NO_ID, limit), _jobs)


def newest_id(first: str, last: str) -> Query[str]:
    """Select the last id from ``first`` to ``last``, both short ids; "" for none."""
    sql = "SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1"
    return Query(sql, (first, last + _NO_ID), lambda rows: rows[0]["id"] if rows else "")


def run_times(limit: int) -> Query[RuntimeHistory]:
    """Select how long the latest finished jobs ran, from scheduled to last row, newest last."""
    sql = """
        SELECT images * steps * pixels AS work, dispatched_at, run_over_at
        FROM jobs INDEXED BY jobs_finished
        WHERE state = 'finished' AND dispatched_at IS NOT NULL AND run_over_at IS NOT NULL
        ORDER BY ended_at DESC LIMIT ?
    """
    return Query(sql, (limit,), _run_times)


def _one_job(rows: Sequence[sqlite3.Row]) -> Job | None:
    return load_job(rows[0]) if rows else None


def _jobs(rows: Sequence[sqlite3.Row]) -> tuple[Job, ...]:
    return tuple(load_job(row) for row in rows)


def _one_interaction(rows: Sequence[sqlite3.Row]) -> InteractionRef | None:
    for row in rows:
        reference, application, token, expires = row
        return InteractionRef(reference, application, token, parse_timestamp(expires))
    return None


def _one_key(rows: Sequence[sqlite3.Row]) -> bytes | None:
    return bytes(rows[0]["mac_key"]) if rows else None


def _queued_jobs(rows: Sequence[sqlite3.Row]) -> tuple[QueuedJob, ...]:
    return tuple(
        QueuedJob(
            row["id"],
            row["author_id"],
            parse_timestamp(row["created_at"]),
            row["images"],
            work=row["work"],
            guild_id=row["guild_id"],
            channel_ids=_channel_ids(row),
            held=bool(row["held"]),
        )
        for row in rows
    )


def _active_jobs(rows: Sequence[sqlite3.Row]) -> tuple[ActiveJob, ...]:
    return tuple(
        ActiveJob(
            row["id"],
            row["author_id"],
            JobState(row["state"]),
            parse_timestamp(row["dispatched_at"]),
            row["work"],
            _channel_ids(row),
        )
        for row in rows
    )


def _channel_ids(row: sqlite3.Row) -> tuple[int, ...]:
    ids = (row["channel_id"], row["parent_id"], row["category_id"])
    return tuple(id for id in ids if id)


def _last_started(rows: Sequence[sqlite3.Row]) -> dict[int, datetime]:
    return {
        row["author_id"]: parse_timestamp(row["last_started"])
        for row in rows
        if row["last_started"]
    }


def _run_times(rows: Sequence[sqlite3.Row]) -> RuntimeHistory:
    return RuntimeHistory(
        tuple(
            (
                row["work"],
                (
                    parse_timestamp(row["run_over_at"]) - parse_timestamp(row["dispatched_at"])
                ).total_seconds(),
            )
            for row in reversed(rows)
        )
    )


@dataclass(frozen=True, slots=True)
class JobCost:
    """A job's maximum price, cost and refund in credits; None while not known."""

    price: Decimal | None = None
    cost: Decimal | None = None
    refund: Decimal | None = None


def job_cost(job_id: str) -> Query[JobCost]:
    """Select a job's maximum price, cost and refund."""
    sql = "SELECT price_credits, cost_credits, refund_credits FROM jobs WHERE id = ?"
    return Query(sql, (job_id,), _credits)


def jobs_without_cost() -> Query[tuple[Job, ...]]:
    """Select the ended jobs that have a price and no cost yet, oldest first."""
    sql = f"""
        SELECT {COLUMNS} FROM jobs
        WHERE price_credits IS NOT NULL AND cost_credits IS NULL
            AND state IN ({placeholders(len(TERMINAL))})
        ORDER BY created_at, id
    """
    return Query(sql, tuple(TERMINAL), _jobs)


def credits_spent(guild_id: int | None, since: datetime) -> Query[Decimal]:
    """Sum the credits of jobs accepted since ``since``: the cost or, until known, the price.

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


def _sum(rows: Sequence[sqlite3.Row]) -> Decimal:
    return sum((Decimal(row["credits"]) for row in rows), Decimal())
