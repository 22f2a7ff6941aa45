"""Store sets of requests: those that wait for their author's yes, and the jobs of accepted ones.

Functions that take a connection belong inside ``Database.write``; ``RequestSetRepository`` reads
the last commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.domain.job import Job
from bot.domain.request import Request
from bot.store.database import Database, Query, placeholders
from bot.store.job_queries import UNFINISHED
from bot.store.serialization import (
    COLUMNS,
    dump_requests,
    load_job,
    load_requests,
    parse_timestamp,
    to_timestamp,
)


@dataclass(frozen=True, slots=True)
class PendingSet:
    """Requests that wait for their author to run all of them; ``id`` is an interaction's."""

    id: int
    author_id: int
    expires_at: datetime
    requests: tuple[Request, ...] = field(repr=False)


def insert(connection: sqlite3.Connection, pending: PendingSet) -> None:
    """Store a set, unless the same interaction has stored it before."""
    connection.execute(
        "INSERT INTO request_sets (id, author_id, expires_at, requests) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        (
            pending.id,
            pending.author_id,
            to_timestamp(pending.expires_at),
            dump_requests(pending.requests),
        ),
    )


def delete(connection: sqlite3.Connection, set_id: int) -> None:
    """Delete a set and its prompts."""
    connection.execute("DELETE FROM request_sets WHERE id = ?", (set_id,))


def delete_expired(connection: sqlite3.Connection, at: datetime) -> int:
    """Delete the sets whose time is over; return how many."""
    cursor = connection.execute(
        "DELETE FROM request_sets WHERE expires_at <= ?", (to_timestamp(at),)
    )
    return cursor.rowcount


def delete_of(connection: sqlite3.Connection, author_id: int) -> int:
    """Delete a member's sets; return how many."""
    cursor = connection.execute("DELETE FROM request_sets WHERE author_id = ?", (author_id,))
    return cursor.rowcount


def pending(set_id: int) -> Query[PendingSet | None]:
    """Select a set that waits for its author."""
    return Query("SELECT * FROM request_sets WHERE id = ?", (set_id,), _one_pending)


def jobs_of_set(set_id: int) -> Query[tuple[Job, ...]]:
    """Select the jobs of an accepted set, in its order."""
    sql = f"SELECT {COLUMNS} FROM jobs WHERE set_id = ? ORDER BY id"
    return Query(sql, (set_id,), lambda rows: tuple(load_job(row) for row in rows))


def count_held(connection: sqlite3.Connection, set_id: int) -> int:
    """Return how many jobs of an accepted set wait for a moderator before they run."""
    row = connection.execute(
        "SELECT count(*) FROM holds JOIN jobs ON jobs.id = holds.job_id "
        "WHERE jobs.set_id = ? AND holds.kind = 'words' AND holds.approved IS NULL",
        (set_id,),
    ).fetchone()
    return int(row[0])


class RequestSetRepository:
    """Read sets as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, set_id: int) -> PendingSet | None:
        """Return a set that waits for its author."""
        return await self._database.read(pending(set_id))

    async def pending_count(self, author_id: int) -> int:
        """Return how many requests of a member wait in sets."""
        sql = "SELECT sum(json_array_length(requests)) FROM request_sets WHERE author_id = ?"
        return await self._database.read(
            Query(sql, (author_id,), lambda rows: int(rows[0][0] or 0))
        )

    async def has_expired(self, at: datetime) -> bool:
        """Return whether the time of any set is over."""
        sql = "SELECT EXISTS (SELECT 1 FROM request_sets WHERE expires_at <= ?)"
        query = Query(sql, (to_timestamp(at),), lambda rows: bool(rows[0][0]))
        return await self._database.read(query)

    async def jobs(self, set_id: int) -> tuple[Job, ...]:
        """Return the jobs of an accepted set, in its order."""
        return await self._database.read(jobs_of_set(set_id))

    async def unfinished_of(self, author_id: int) -> dict[int, tuple[str, ...]]:
        """Return the ids of a member's unfinished jobs by set, the oldest set first."""
        sql = f"""
            SELECT set_id, id FROM jobs
            WHERE author_id = ? AND set_id IS NOT NULL
                AND state IN ({placeholders(len(UNFINISHED))})
            ORDER BY id
        """
        return await self._database.read(Query(sql, (author_id, *UNFINISHED), _ids_by_set))

    async def number_in_set(self, job_id: str) -> tuple[int, int] | None:
        """Return a job's number in its set, from 1, and the size of the set; None without one."""
        sql = """
            SELECT count(*) FILTER (WHERE other.id <= job.id), count(*)
            FROM jobs AS job JOIN jobs AS other ON other.set_id = job.set_id WHERE job.id = ?
        """
        return await self._database.read(Query(sql, (job_id,), _number_and_size))


def _one_pending(rows: Sequence[sqlite3.Row]) -> PendingSet | None:
    for row in rows:
        requests = load_requests(row["requests"])
        return PendingSet(row["id"], row["author_id"], parse_timestamp(row["expires_at"]), requests)
    return None


def _ids_by_set(rows: Sequence[sqlite3.Row]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for row in rows:
        found[row["set_id"]] = (*found.get(row["set_id"], ()), row["id"])
    return found


def _number_and_size(rows: Sequence[sqlite3.Row]) -> tuple[int, int] | None:
    number, size = rows[0]
    return (number, size) if size else None
