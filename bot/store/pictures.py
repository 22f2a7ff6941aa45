"""Store what the picture server and the retention of pictures need.

The key and the generations of links, and which results' pictures were removed: a removal is saved
before files are deleted, its end afterwards. Functions that take a connection belong inside
``Database.write``; ``PictureRepository`` reads the last commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.domain.events import KEPT
from bot.domain.job import TERMINAL
from bot.domain.picture_links import ServingFacts
from bot.domain.retention import RemovalCause
from bot.store.database import Database, Query, placeholders
from bot.store.serialization import COLUMNS, load_job, parse_timestamp, to_timestamp

_TERMINAL: Final = tuple(sorted(TERMINAL))


@dataclass(frozen=True, slots=True)
class PictureRemoval:
    """When and why the pictures of a job were removed."""

    removed_at: datetime
    cause: RemovalCause


@dataclass(frozen=True, slots=True)
class PictureOwner:
    """Whose the pictures of a job are, and whether they can be removed.

    ``ended_at`` is None for a job that has not ended. ``starred`` and ``needed`` are those of
    ``bot.domain.retention.StoredPictures``.
    """

    job_id: str
    author_id: int
    guild_id: int
    ended_at: datetime | None
    starred: bool
    needed: bool


def owners(job_ids: Sequence[str]) -> Query[tuple[PictureOwner, ...]]:
    """Select whose the pictures of these jobs are; unknown ids are left out."""
    ended = placeholders(len(_TERMINAL))
    sql = f"""
        SELECT id, author_id, guild_id, ended_at,
            EXISTS (SELECT 1 FROM stars WHERE job_id = jobs.id)
                OR EXISTS (
                    SELECT 1 FROM gallery_posts WHERE job_id = jobs.id AND withdrawn_at IS NULL
                ) AS starred,
            state NOT IN ({ended})
                OR json_extract(snapshot, '$.rung') = ?
                OR EXISTS (
                    SELECT 1 FROM deliveries
                    WHERE job_id = jobs.id AND rung = 'rows' AND done_at IS NULL
                )
                OR id IN (
                    SELECT json_extract(request, '$.origin.job_id') FROM jobs
                    WHERE state NOT IN ({ended})
                ) AS needed
        FROM jobs WHERE id IN ({placeholders(len(job_ids))})
    """
    return Query(sql, (*_TERMINAL, KEPT, *_TERMINAL, *job_ids), _owners)


def link_key(connection: sqlite3.Connection, fresh: bytes) -> bytes:
    """Return the key that signs links; ``fresh`` becomes it if there is none yet."""
    connection.execute("INSERT OR IGNORE INTO picture_key (id, key) VALUES (1, ?)", (fresh,))
    row = connection.execute("SELECT key FROM picture_key").fetchone()
    return bytes(row["key"])


def end_links(connection: sqlite3.Connection, job_id: str) -> None:
    """End all links to a job's pictures; links made later work."""
    connection.execute(
        """
        INSERT INTO picture_links (job_id, generation) VALUES (?, 1)
        ON CONFLICT (job_id) DO UPDATE SET generation = generation + 1
        """,
        (job_id,),
    )


def record_removal(
    connection: sqlite3.Connection, job_id: str, cause: RemovalCause, *, at: datetime
) -> bool:
    """Save that a job's pictures are to be removed; return False if that was saved before."""
    cursor = connection.execute(
        "INSERT OR IGNORE INTO picture_removals (job_id, removed_at, cause) VALUES (?, ?, ?)",
        (job_id, to_timestamp(at), cause),
    )
    return cursor.rowcount == 1


def finish_removal(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> None:
    """Save that the files of a removal are gone. Idempotent."""
    connection.execute(
        "UPDATE picture_removals SET done_at = ? WHERE job_id = ? AND done_at IS NULL",
        (to_timestamp(at), job_id),
    )


class PictureRepository:
    """Read removals, and what decides about serving and removing, as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def serving_facts(self, job_id: str) -> ServingFacts | None:
        """Return what decides whether a job's pictures may be served, None without the job."""
        sql = f"""
        SELECT {COLUMNS}, erased_at,
            coalesce((SELECT generation FROM picture_links WHERE job_id = jobs.id), 0)
                AS generation,
            EXISTS (SELECT 1 FROM picture_removals WHERE job_id = jobs.id)
                OR EXISTS (SELECT 1 FROM deliveries WHERE job_id = jobs.id AND rung = 'removal')
                AS removed,
            EXISTS (
                SELECT 1 FROM holds WHERE job_id = jobs.id AND approved IS NOT 1
            ) AS held
        FROM jobs WHERE id = ?
        """
        return await self._database.read(Query(sql, (job_id,), _serving_facts))

    async def generation(self, job_id: str) -> int:
        """Return the generation of links that are made now."""
        sql = "SELECT generation FROM picture_links WHERE job_id = ?"
        return await self._database.read(
            Query(sql, (job_id,), lambda rows: int(rows[0][0]) if rows else 0)
        )

    async def removal(self, job_id: str) -> PictureRemoval | None:
        """Return the removal of a job's pictures, begun or done."""
        sql = "SELECT removed_at, cause FROM picture_removals WHERE job_id = ?"
        return await self._database.read(Query(sql, (job_id,), _removal))

    async def open_removals(self) -> tuple[str, ...]:
        """Return the jobs that have ended and whose pictures are still to be deleted."""
        sql = f"""
        SELECT job_id FROM picture_removals JOIN jobs ON jobs.id = job_id
        WHERE done_at IS NULL AND state IN ({placeholders(len(_TERMINAL))})
        ORDER BY job_id
        """
        return await self._database.read(
            Query(sql, _TERMINAL, lambda rows: tuple(row["job_id"] for row in rows))
        )

    async def posted_since(self, since: datetime) -> tuple[str, ...]:
        """Return the jobs that ended since ``since``, and were posted in Discord, oldest first."""
        sql = """
        SELECT id FROM jobs WHERE state = 'finished' AND ended_at >= ? AND channel_id <> 0
            AND json_extract(snapshot, '$.rung') <> ? ORDER BY ended_at
        """
        return await self._database.read(
            Query(sql, (to_timestamp(since), KEPT), lambda rows: tuple(row["id"] for row in rows))
        )


def _serving_facts(rows: Sequence[sqlite3.Row]) -> ServingFacts | None:
    for row in rows:
        return ServingFacts(
            load_job(row),
            generation=row["generation"],
            held=bool(row["held"]),
            removed=bool(row["removed"]),
            erased=row["erased_at"] is not None,
        )
    return None


def _removal(rows: Sequence[sqlite3.Row]) -> PictureRemoval | None:
    for row in rows:
        return PictureRemoval(parse_timestamp(row["removed_at"]), RemovalCause(row["cause"]))
    return None


def _owners(rows: Sequence[sqlite3.Row]) -> tuple[PictureOwner, ...]:
    return tuple(
        PictureOwner(
            row["id"],
            row["author_id"],
            row["guild_id"],
            parse_timestamp(row["ended_at"]),
            bool(row["starred"]),
            bool(row["needed"]),
        )
        for row in rows
    )
