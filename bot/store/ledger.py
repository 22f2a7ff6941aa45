"""Store the quota ledger: images reserved, settled, refunded and granted. Entries never change.

Images are reserved once when a job is accepted, then settled once (as many as were really made) or
refunded once. The database refuses anything else, so repeating a call after a crash is safe. After
a reset, a member's earlier entries, including grants, no longer count.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from bot.domain.job import TERMINAL, Job
from bot.domain.quota import QuotaCharge, QuotaGrant, QuotaUsage
from bot.store.database import Database, Query, placeholders
from bot.store.serialization import parse_timestamp, to_timestamp

EntryKind: TypeAlias = Literal["reserve", "settle", "refund", "grant", "reset"]

_NEVER: Final = 2**63 - 1  # above every row id


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One ledger entry; ``actor_id`` is 0 for the bot itself."""

    id: int
    at: datetime
    guild_id: int
    user_id: int
    job_id: str | None
    kind: EntryKind
    images: int
    expires_at: datetime | None
    actor_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class MemberTotals:
    """A member's images in total: reserved by active jobs, settled, refunded, granted."""

    guild_id: int
    user_id: int
    held: int
    settled: int
    refunded: int
    granted: int


def usage(guild_id: int, user_id: int, since: datetime) -> Query[QuotaUsage]:
    """Select a member's charges since ``since`` and the grants that had not expired by then.

    A charge counts from its reservation, whenever it was settled.
    """
    moment = to_timestamp(since)
    return Query(_USAGE, (guild_id, user_id, moment, moment), _shape_usage)


def history(
    guild_id: int, user_id: int, limit: int, before: int | None
) -> Query[tuple[LedgerEntry, ...]]:
    """Select a member's entries older than the entry ``before``, newest first."""
    sql = """
        SELECT * FROM ledger WHERE guild_id = ? AND user_id = ? AND id < ?
        ORDER BY id DESC LIMIT ?
    """
    return Query(sql, (guild_id, user_id, _NEVER if before is None else before, limit), _entries)


def balances(guild_id: int) -> Query[tuple[MemberTotals, ...]]:
    """Select the totals of a server's members, most images settled first."""
    return Query(_BALANCES, (guild_id,), _balances)


def inconsistencies() -> Query[tuple[str, ...]]:
    """Select the contradictions between jobs and ledger, as sentences."""
    return Query(_FAULTS, tuple(TERMINAL), _sentences)


_USAGE = """
WITH mine AS NOT MATERIALIZED (
    SELECT * FROM ledger WHERE guild_id = ?1 AND user_id = ?2 AND id > (
        SELECT coalesce(max(id), 0) FROM ledger
        WHERE guild_id = ?1 AND user_id = ?2 AND kind = 'reset'
    )
)
SELECT opening.kind, opening.at AS moment, coalesce(closing.images, opening.images) AS images
FROM mine AS opening
LEFT JOIN ledger AS closing
    ON closing.job_id = opening.job_id AND closing.kind IN ('settle', 'refund')
WHERE opening.kind = 'reserve' AND opening.at >= ?3 AND closing.kind IS NOT 'refund'
UNION ALL
SELECT kind, expires_at, images FROM mine
WHERE kind = 'grant' AND (expires_at IS NULL OR expires_at > ?4)
ORDER BY moment
"""

_BALANCES = """
SELECT opening.guild_id, opening.user_id,
    sum(iif(opening.kind = 'reserve' AND closing.kind IS NULL, opening.images, 0)) AS held,
    sum(iif(closing.kind = 'settle', closing.images, 0)) AS settled,
    sum(iif(closing.kind = 'refund', closing.images, 0)) AS refunded,
    sum(iif(opening.kind = 'grant', opening.images, 0)) AS granted
FROM ledger AS opening
LEFT JOIN ledger AS closing
    ON closing.job_id = opening.job_id AND closing.kind IN ('settle', 'refund')
WHERE opening.guild_id = ? AND opening.kind IN ('reserve', 'grant')
GROUP BY opening.guild_id, opening.user_id ORDER BY settled DESC, opening.user_id
"""

# The unique indexes ensure at most one opening and one closing per job. This finds those missing.
_FAULTS = f"""
SELECT jobs.id, jobs.state, opening.id IS NOT NULL AS opened, closing.kind AS closed,
    jobs.state IN ({placeholders(len(TERMINAL))}) AS ended
FROM jobs
LEFT JOIN ledger AS opening ON opening.job_id = jobs.id AND opening.kind = 'reserve'
LEFT JOIN ledger AS closing
    ON closing.job_id = jobs.id AND closing.kind IN ('settle', 'refund')
WHERE opening.id IS NULL OR (closing.id IS NOT NULL) <> ended
ORDER BY jobs.id
"""


def _shape_usage(rows: Sequence[sqlite3.Row]) -> QuotaUsage:
    return QuotaUsage(
        charges=tuple(
            QuotaCharge(parse_timestamp(row["moment"]), row["images"])
            for row in rows
            if row["kind"] == "reserve"
        ),
        grants=tuple(
            QuotaGrant(row["images"], parse_timestamp(row["moment"]))
            for row in rows
            if row["kind"] == "grant"
        ),
    )


def _entries(rows: Sequence[sqlite3.Row]) -> tuple[LedgerEntry, ...]:
    return tuple(
        LedgerEntry(
            **{
                **dict(row),
                "at": parse_timestamp(row["at"]),
                "expires_at": parse_timestamp(row["expires_at"]),
            }
        )
        for row in rows
    )


def _balances(rows: Sequence[sqlite3.Row]) -> tuple[MemberTotals, ...]:
    return tuple(MemberTotals(**dict(row)) for row in rows)


def _sentences(rows: Sequence[sqlite3.Row]) -> tuple[str, ...]:
    found = []
    for row in rows:
        if not row["opened"]:
            found.append(f"job {row['id']} ({row['state']}) has no reservation")
        if row["ended"] and row["closed"] is None:
            found.append(f"job {row['id']} ({row['state']}) still holds its reservation")
        if not row["ended"] and row["closed"] is not None:
            found.append(
                f"job {row['id']} ({row['state']}) is closed too early by a {row['closed']}"
            )
    return tuple(found)


def reserve(connection: sqlite3.Connection, job: Job) -> bool:
    """Reserve a new job's images as of its creation; return False if that was done before."""
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
            request.quota_images,
            request.author.id,
        ),
    )
    return cursor.rowcount == 1


def settle(connection: sqlite3.Connection, job_id: str, *, images: int, at: datetime) -> bool:
    """Turn a reservation into a charge of ``images``.

    Return False if the job is settled or refunded already, or was never reserved. Raises ValueError
    for more images than reserved.
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
    """Refund all reserved images.

    Return False if the job is settled or refunded already, or was never reserved.
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
    """Raise a member's quota by ``images`` until ``expires_at``, or until a reset."""
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
    """Reset a member's quota: earlier charges and grants no longer count."""
    connection.execute(
        """
        INSERT INTO ledger (at, guild_id, user_id, kind, images, actor_id, reason)
        VALUES (?, ?, ?, 'reset', 0, ?, ?)
        """,
        (to_timestamp(at), guild_id, user_id, actor_id, reason),
    )


class LedgerRepository:
    """Read the ledger as of the last commit; decisions run ``usage`` in their transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, guild_id: int, user_id: int, since: datetime) -> QuotaUsage:
        """Return a member's charges since ``since`` and the grants not expired by then."""
        return await self._database.read(usage(guild_id, user_id, since))

    async def history(
        self, guild_id: int, user_id: int, limit: int = 25, before: int | None = None
    ) -> tuple[LedgerEntry, ...]:
        """Return a member's entries, newest first; ``before`` is the id of the last one shown."""
        query = history(guild_id, user_id, limit, before)
        return await self._database.read(query)

    async def balances(self, guild_id: int) -> tuple[MemberTotals, ...]:
        """Select the totals of a server's members, most images settled first."""
        return await self._database.read(balances(guild_id))

    async def check(self) -> tuple[str, ...]:
        """Return the contradictions between jobs and ledger, as sentences; empty if none."""
        return await self._database.read(inconsistencies())
