"""The ledger of images: who reserved, used, got back or was given how many. Entries are never
changed. Knows one table; how many images a member may make is decided by ``bot.domain.quota``.

A job is reserved once when it is accepted, and then settled once (with what was really made) or
refunded once; the database itself refuses anything else, so repeating a call after a crash is safe.
A reset makes every earlier entry of that member, grants included, count no more.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from bot.domain.job import Job
from bot.domain.quota import QuotaUsage
from bot.store import ledger_queries
from bot.store.database import Database
from bot.store.ledger_queries import EntryKind, LedgerEntry, MemberTotals
from bot.store.moments import to_timestamp


def reserve(connection: sqlite3.Connection, job: Job) -> bool:
    """Charge a new job's images from the moment it was created; False if that was done before."""
    request = job.request
    cursor = connection.execute(
        """
        INSERT INTO ledger (at, guild_id, user_id, job_id, kind, images, actor_id, reason)
        VALUES (?, ?, ?, ?, 'reserve', ?, ?, '') ON CONFLICT DO NOTHING
        """,
        (
            to_timestamp(job.created_at),
            request.place.guild_id,
            request.author.id,
            job.id,
            request.images,
            request.author.id,
        ),
    )
    return cursor.rowcount == 1


def settle(connection: sqlite3.Connection, job_id: str, *, images: int, at: datetime) -> bool:
    """Turn a reservation into a charge of ``images``, at most what was reserved.

    False if the job is settled or refunded already, or was never reserved.
    """
    sql = "SELECT images FROM ledger WHERE job_id = ? AND kind = 'reserve'"
    reserved = connection.execute(sql, (job_id,)).fetchone()
    if reserved is not None and not 0 <= images <= reserved["images"]:
        raise ValueError(f"{images} images charged of {reserved['images']} reserved")
    return _close(connection, job_id, "settle", images, at, 0, "")


def refund(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    at: datetime,
    actor_id: int = 0,
    reason: str = "",
) -> bool:
    """Give all reserved images back.

    False if the job is settled or refunded already, or was never reserved.
    """
    return _close(connection, job_id, "refund", None, at, actor_id, reason)


def _close(
    connection: sqlite3.Connection,
    job_id: str,
    kind: EntryKind,
    images: int | None,
    at: datetime,
    actor_id: int,
    reason: str,
) -> bool:
    cursor = connection.execute(
        """
        INSERT INTO ledger (at, guild_id, user_id, job_id, kind, images, actor_id, reason)
        SELECT ?, guild_id, user_id, job_id, ?, coalesce(?, images), ?, ?
        FROM ledger WHERE job_id = ? AND kind = 'reserve'
        ON CONFLICT DO NOTHING
        """,
        (to_timestamp(at), kind, images, actor_id, reason, job_id),
    )
    return cursor.rowcount == 1


def grant(
    connection: sqlite3.Connection,
    guild_id: int,
    user_id: int,
    *,
    images: int,
    expires_at: datetime | None,
    actor_id: int,
    reason: str,
    at: datetime,
) -> None:
    """Raise a member's allowance by ``images`` until ``expires_at``, or until a reset."""
    connection.execute(
        """
        INSERT INTO ledger (at, guild_id, user_id, kind, images, expires_at, actor_id, reason)
        VALUES (?, ?, ?, 'grant', ?, ?, ?, ?)
        """,
        (to_timestamp(at), guild_id, user_id, images, to_timestamp(expires_at), actor_id, reason),
    )


def reset(
    connection: sqlite3.Connection,
    guild_id: int,
    user_id: int,
    *,
    actor_id: int,
    reason: str,
    at: datetime,
) -> None:
    """Let a member start afresh: what was charged and granted before counts no more."""
    connection.execute(
        """
        INSERT INTO ledger (at, guild_id, user_id, kind, images, actor_id, reason)
        VALUES (?, ?, ?, 'reset', 0, ?, ?)
        """,
        (to_timestamp(at), guild_id, user_id, actor_id, reason),
    )


def usage(
    connection: sqlite3.Connection, guild_id: int, user_id: int, since: datetime
) -> QuotaUsage:
    """What a member was charged from ``since`` on, and the grants that had not expired by then.

    A charge counts from its reservation, whenever it was settled.
    """
    return ledger_queries.usage_query(guild_id, user_id, since).run(connection)


def find_inconsistencies(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What is wrong between jobs and ledger, as sentences; empty if every image adds up."""
    return ledger_queries.inconsistencies().run(connection)


class LedgerRepository:
    """Reads the ledger as of the last commit; decisions use ``usage`` inside their transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, guild_id: int, user_id: int, since: datetime) -> QuotaUsage:
        """What a member was charged from ``since`` on, and the grants not expired by then."""
        return await self._database.read(ledger_queries.usage_query(guild_id, user_id, since))

    async def history(
        self, guild_id: int, user_id: int, limit: int = 25, before: int | None = None
    ) -> tuple[LedgerEntry, ...]:
        """A member's entries, the newest first; ``before`` is the id of the last one shown."""
        query = ledger_queries.history(guild_id, user_id, limit, before)
        return await self._database.read(query)

    async def balances(self, guild_id: int) -> tuple[MemberTotals, ...]:
        """All members of a server who are in the ledger, those who made most first."""
        return await self._database.read(ledger_queries.balances(guild_id))

    async def check(self) -> tuple[str, ...]:
        """What is wrong between jobs and ledger, as sentences; empty if every image adds up."""
        return await self._database.read(ledger_queries.inconsistencies())
