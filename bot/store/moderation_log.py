"""Store the messages of the servers' log channels: one for each action, report and hold.

A message is wanted in the transaction of the action itself. It is posted afterwards, and again when
what it shows has changed. An attempt without an outcome may have been posted: search for the nonce
``log-<id>`` before posting again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from bot.domain.events import MessageRef
from bot.store.database import Database, Query
from bot.store.serialization import parse_timestamp, to_timestamp

LogKind: TypeAlias = Literal["action", "report", "hold"]


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message of a log channel. ``subject`` names what it is about, such as ``report:7``.

    ``body`` is what it shows. ``message`` is None until it is posted.
    """

    id: int
    guild_id: int
    at: datetime
    kind: LogKind
    subject: str
    body: Mapping[str, Any]
    changed_at: datetime
    attempted_at: datetime | None = None
    message: MessageRef | None = None

    @property
    def nonce(self) -> str:
        """Return the nonce that finds it in the channel."""
        return f"log-{self.id}"


def want_message(
    connection: sqlite3.Connection,
    *,
    guild_id: int,
    at: datetime,
    kind: LogKind,
    subject: str,
    body: Mapping[str, Any],
) -> int:
    """Save that a message is to be posted and return its id."""
    cursor = connection.execute(
        "INSERT INTO log_messages (guild_id, at, kind, subject, body, changed_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            guild_id,
            to_timestamp(at),
            kind,
            subject,
            json.dumps(body, allow_nan=False),
            to_timestamp(at),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def change_message(
    connection: sqlite3.Connection,
    guild_id: int,
    subject: str,
    body: Mapping[str, Any],
    *,
    at: datetime,
) -> bool:
    """Replace what the message about ``subject`` shows; return False if there is none."""
    cursor = connection.execute(
        "UPDATE log_messages SET body = ?, changed_at = ? WHERE guild_id = ? AND subject = ?",
        (json.dumps(body, allow_nan=False), to_timestamp(at), guild_id, subject),
    )
    return cursor.rowcount > 0


def record_attempt(connection: sqlite3.Connection, message_id: int, *, at: datetime) -> None:
    """Save that a message is about to be posted for the first time."""
    connection.execute(
        "UPDATE log_messages SET attempted_at = ? WHERE id = ? AND attempted_at IS NULL",
        (to_timestamp(at), message_id),
    )


def record_posted(
    connection: sqlite3.Connection, message_id: int, message: MessageRef, *, shows: datetime
) -> None:
    """Save where a message is, and that it shows the change of the time ``shows``."""
    connection.execute(
        "UPDATE log_messages SET posted_at = ?, channel_id = ?, message_id = ? WHERE id = ?",
        (to_timestamp(shows), message.channel_id, message.message_id, message_id),
    )


def forget_posted(connection: sqlite3.Connection, message_id: int) -> None:
    """Save that a message is no longer in the channel; it is not posted again."""
    connection.execute(
        "UPDATE log_messages SET posted_at = changed_at, message_id = NULL WHERE id = ?",
        (message_id,),
    )


class ModerationLogRepository:
    """Read the messages as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, limit: int = 100) -> tuple[LogMessage, ...]:
        """Return messages that are not posted as they are now, oldest first."""
        sql = """
            SELECT * FROM log_messages WHERE posted_at IS NULL OR changed_at > posted_at
            ORDER BY id LIMIT ?
        """
        return await self._database.read(Query(sql, (limit,), _messages))

    async def pending_count(self, guild_id: int) -> int:
        """Return how many messages of a server are not posted as they are now."""
        sql = """
            SELECT count(*) FROM log_messages
            WHERE guild_id = ? AND (posted_at IS NULL OR changed_at > posted_at)
        """
        return await self._database.read(Query(sql, (guild_id,), lambda rows: int(rows[0][0])))

    async def about(self, guild_id: int, subject: str) -> LogMessage | None:
        """Return the message about ``subject``."""
        sql = "SELECT * FROM log_messages WHERE guild_id = ? AND subject = ? ORDER BY id DESC"
        found = await self._database.read(Query(sql, (guild_id, subject), _messages))
        return next(iter(found), None)

    async def at(self, message_id: int) -> LogMessage | None:
        """Return the message with this id in Discord."""
        sql = "SELECT * FROM log_messages WHERE message_id = ?"
        found = await self._database.read(Query(sql, (message_id,), _messages))
        return next(iter(found), None)


def _messages(rows: Sequence[sqlite3.Row]) -> tuple[LogMessage, ...]:
    return tuple(
        LogMessage(
            row["id"],
            row["guild_id"],
            parse_timestamp(row["at"]),
            row["kind"],
            row["subject"],
            json.loads(row["body"]),
            parse_timestamp(row["changed_at"]),
            parse_timestamp(row["attempted_at"]),
            None if row["message_id"] is None else MessageRef(row["channel_id"], row["message_id"]),
        )
        for row in rows
    )
