"""Store members' stars on results, and the results that are to be in a server's gallery channel.

A post is wanted in the transaction of the star that reaches the threshold. It is posted afterwards;
an attempt without an outcome may have been posted: look for it before posting again. A post that is
withdrawn is deleted in Discord, and its row stays, so that its result is never posted again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.store.database import Database, Query
from bot.store.serialization import COLUMNS, load_job, parse_timestamp, to_timestamp

_OPEN: Final = "removed_at IS NULL AND (message_id IS NULL OR withdrawn_at IS NOT NULL)"
_POSTS: Final = """
    SELECT gallery_posts.*, jobs.parent_id FROM gallery_posts JOIN jobs ON jobs.id = job_id
"""


@dataclass(frozen=True, slots=True)
class GalleryPost:
    """A job's result in the gallery channel of its server.

    ``message`` is None until it is posted; until then ``attempted_in`` is the channel of the
    attempt that may have posted it. ``withdrawn``: it is to be deleted. ``parent_id`` is the
    channel of the thread that the job was requested in, 0 for none.
    """

    job_id: str
    guild_id: int
    wanted_at: datetime
    attempted_at: datetime | None = None
    attempted_in: int | None = None
    message: MessageRef | None = None
    withdrawn: bool = False
    parent_id: int = 0

    @property
    def nonce(self) -> str:
        """Return the nonce with which it is posted."""
        return f"gallery-{self.job_id}"


@dataclass(frozen=True, slots=True)
class StarCount:
    """The stars of a result; ``others`` are those that count for the gallery, not the author's."""

    stars: int
    others: int


def toggle_star(connection: sqlite3.Connection, job_id: str, user_id: int, *, at: datetime) -> bool:
    """Give a member's star to a result, or take it back; return whether there is one now."""
    mine = (job_id, user_id)
    taken = connection.execute("DELETE FROM stars WHERE job_id = ? AND user_id = ?", mine)
    if taken.rowcount:
        return False
    connection.execute(
        "INSERT INTO stars (job_id, user_id, at) VALUES (?, ?, ?)", (*mine, to_timestamp(at))
    )
    return True


def count_stars(connection: sqlite3.Connection, job_id: str) -> StarCount:
    """Count a result's stars."""
    sql = """
        SELECT count(*), count(*) FILTER (WHERE user_id <> author_id)
        FROM stars JOIN jobs ON jobs.id = job_id WHERE job_id = ?
    """
    return StarCount(*connection.execute(sql, (job_id,)).fetchone())


def erase_stars(connection: sqlite3.Connection, user_id: int) -> None:
    """Delete a member's stars in all servers."""
    connection.execute("DELETE FROM stars WHERE user_id = ?", (user_id,))


def withdraw_result(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> None:
    """Delete the stars of a result that is gone, and withdraw its post. Idempotent."""
    connection.execute("DELETE FROM stars WHERE job_id = ?", (job_id,))
    withdraw_post(connection, job_id, at=at)


def want_post(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> bool:
    """Save that a result is to be posted in the gallery; return False if it ever was."""
    cursor = connection.execute(
        "INSERT INTO gallery_posts (job_id, guild_id, wanted_at) "
        "SELECT id, guild_id, ? FROM jobs WHERE id = ? ON CONFLICT (job_id) DO NOTHING",
        (to_timestamp(at), job_id),
    )
    return cursor.rowcount == 1


def withdraw_post(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> None:
    """Save that a result is to leave the gallery, or is never to be posted there. Idempotent."""
    want_post(connection, job_id, at=at)
    connection.execute(
        "UPDATE gallery_posts SET withdrawn_at = ?1, "
        "removed_at = CASE WHEN attempted_at IS NULL AND message_id IS NULL THEN ?1 END "
        "WHERE job_id = ?2 AND withdrawn_at IS NULL",
        (to_timestamp(at), job_id),
    )


def record_attempt(
    connection: sqlite3.Connection, job_id: str, channel_id: int, *, at: datetime
) -> bool:
    """Save that a result is about to be posted; return False if it was withdrawn."""
    cursor = connection.execute(
        "UPDATE gallery_posts SET attempted_at = ?, channel_id = ? "
        "WHERE job_id = ? AND withdrawn_at IS NULL",
        (to_timestamp(at), channel_id, job_id),
    )
    return cursor.rowcount == 1


def cancel_attempt(connection: sqlite3.Connection, job_id: str) -> None:
    """Save that the attempt has posted nothing."""
    connection.execute(
        "UPDATE gallery_posts SET attempted_at = NULL, channel_id = NULL, "
        "removed_at = withdrawn_at WHERE job_id = ?",
        (job_id,),
    )


def record_posted(
    connection: sqlite3.Connection, job_id: str, message: MessageRef, *, at: datetime
) -> None:
    """Save where a result is posted."""
    connection.execute(
        "UPDATE gallery_posts SET posted_at = ?, channel_id = ?, message_id = ? WHERE job_id = ?",
        (to_timestamp(at), message.channel_id, message.message_id, job_id),
    )


def record_removed(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> None:
    """Save that a withdrawn post is gone."""
    connection.execute(
        "UPDATE gallery_posts SET removed_at = ? WHERE job_id = ?", (to_timestamp(at), job_id)
    )


class GalleryRepository:
    """Read stars and gallery posts as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def servers_pending(self) -> tuple[int, ...]:
        """Return the servers with results that are to be posted, or to be deleted."""
        sql = f"SELECT DISTINCT guild_id FROM gallery_posts WHERE {_OPEN} ORDER BY guild_id"
        return await self._database.read(
            Query(sql, (), lambda rows: tuple(row["guild_id"] for row in rows))
        )

    async def unposted(self, guild_id: int) -> tuple[GalleryPost, ...]:
        """Return what is to be posted on a server, the longest wanted first."""
        sql = f"{_POSTS} WHERE gallery_posts.guild_id = ? AND {_OPEN} AND withdrawn_at IS NULL "
        return await self._database.read(Query(f"{sql} ORDER BY wanted_at", (guild_id,), _posts))

    async def withdrawn(self, guild_id: int) -> tuple[GalleryPost, ...]:
        """Return what is to be deleted on a server."""
        sql = f"{_POSTS} WHERE gallery_posts.guild_id = ? AND {_OPEN} AND withdrawn_at IS NOT NULL"
        return await self._database.read(Query(sql, (guild_id,), _posts))

    async def latest_posted(self, limit: int) -> tuple[GalleryPost, ...]:
        """Return the latest posts of all servers."""
        sql = f"""
            {_POSTS} WHERE withdrawn_at IS NULL AND message_id IS NOT NULL
            ORDER BY posted_at DESC LIMIT ?
        """
        return await self._database.read(Query(sql, (limit,), _posts))

    async def unposted_count(self, guild_id: int) -> int:
        """Return how many results are to be posted on a server."""
        return len(await self.unposted(guild_id))

    async def has_star(self, job_id: str, user_id: int) -> bool:
        """Return whether a member has starred a result."""
        sql = "SELECT 1 FROM stars WHERE job_id = ? AND user_id = ?"
        return await self._database.read(Query(sql, (job_id, user_id), bool))

    async def stars_by(self, user_id: int) -> int:
        """Return how many results a member has starred, in all servers."""
        sql = "SELECT count(*) FROM stars WHERE user_id = ?"
        return await self._database.read(Query(sql, (user_id,), lambda rows: int(rows[0][0])))

    async def favourites(
        self, user_id: int, guild_id: int | None, limit: int, skip: int = 0
    ) -> tuple[Job, ...]:
        """Return the results that a member has starred, the latest star first.

        ``guild_id`` None is every server; ``skip`` of them are left out.
        """
        columns = ", ".join(f"jobs.{column.strip()}" for column in COLUMNS.split(","))
        sql = f"""
            SELECT {columns} FROM stars JOIN jobs ON jobs.id = job_id
            WHERE user_id = ?1 AND (?2 IS NULL OR guild_id = ?2)
            ORDER BY at DESC, job_id DESC LIMIT ?3 OFFSET ?4
        """
        return await self._database.read(
            Query(sql, (user_id, guild_id, limit, skip), lambda rows: tuple(map(load_job, rows)))
        )


def _posts(rows: Sequence[sqlite3.Row]) -> tuple[GalleryPost, ...]:
    return tuple(
        GalleryPost(
            row["job_id"],
            row["guild_id"],
            parse_timestamp(row["wanted_at"]),
            parse_timestamp(row["attempted_at"]),
            row["channel_id"] if row["message_id"] is None else None,
            None if row["message_id"] is None else MessageRef(row["channel_id"], row["message_id"]),
            row["withdrawn_at"] is not None,
            row["parent_id"],
        )
        for row in rows
    )
