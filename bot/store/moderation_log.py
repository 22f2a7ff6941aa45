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
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from bot.domain.events import MessageRef
from bot.store.database import Database, Query
from bot.store.serialization import parse_timestamp, to_timestamp

LogKind: TypeAlias = Literal["action", "report", "hold"]

SUMMARY: Final = "summary"
_PENDING: Final = "posted_at IS NULL OR changed_at > posted_at"


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message of a log channel. ``subject`` names what it is about, such as ``report:7``.

    ``body`` is what it shows. ``message`` is None until it is posted; until then ``attempted_in``
    is the channel of the attempt that may have posted it.
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
    attempted_in: int | None = None

    @property
    def nonce(self) -> str:
        """Return the nonce that finds it in the channel."""
        return f"log-{self.id}"

    @property
    def is_closed(self) -> bool:
        """Return whether moderators have decided the report or hold."""
        return self.body.get("decision") not in (None, "blocked")


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
    row = connection.execute(
        "SELECT id, changed_at FROM log_messages WHERE guild_id = ? AND subject = ? "
        "ORDER BY id DESC LIMIT 1",
        (guild_id, subject),
    ).fetchone()
    if row is None:
        return False
    # Later than what may be posted already, whatever the clock does.
    changed = max(at, parse_timestamp(row["changed_at"]) + timedelta(microseconds=1))
    connection.execute(
        "UPDATE log_messages SET body = ?, changed_at = ? WHERE id = ?",
        (json.dumps(body, allow_nan=False), to_timestamp(changed), row["id"]),
    )
    return True


def amend_message(
    connection: sqlite3.Connection,
    guild_id: int,
    subject: str,
    changes: Mapping[str, Any],
    *,
    at: datetime,
) -> bool:
    """Add ``changes`` to what the message about ``subject`` shows; return False for none."""
    row = connection.execute(
        "SELECT body FROM log_messages WHERE guild_id = ? AND subject = ? ORDER BY id DESC LIMIT 1",
        (guild_id, subject),
    ).fetchone()
    if row is None:
        return False
    body = {**json.loads(row["body"]), **changes}
    return change_message(connection, guild_id, subject, body, at=at)


def record_attempt(
    connection: sqlite3.Connection, message_id: int, channel_id: int, *, at: datetime
) -> None:
    """Save that a message is about to be posted in a channel."""
    connection.execute(
        "UPDATE log_messages SET attempted_at = ?, channel_id = ? WHERE id = ?",
        (to_timestamp(at), channel_id, message_id),
    )


def withdraw_attempt(connection: sqlite3.Connection, message_id: int) -> None:
    """Save that a message is not posted, so that it is posted as if for the first time."""
    connection.execute(
        "UPDATE log_messages SET attempted_at = NULL, posted_at = NULL, channel_id = NULL, "
        "message_id = NULL WHERE id = ?",
        (message_id,),
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


def summarize(connection: sqlite3.Connection, guild_id: int, keep: int, *, at: datetime) -> int:
    """Replace all but the latest ``keep`` actions that were never attempted by one message.

    Reports and holds stay: moderators have to decide them. Return how many were replaced.
    """
    rows = connection.execute(
        "SELECT id, at FROM log_messages WHERE guild_id = ? AND kind = 'action' "
        "AND posted_at IS NULL AND attempted_at IS NULL AND subject <> ? ORDER BY id DESC "
        "LIMIT -1 OFFSET ?",
        (guild_id, SUMMARY, keep),
    ).fetchall()
    if not rows:
        return 0
    connection.executemany(
        "UPDATE log_messages SET posted_at = changed_at WHERE id = ?",
        [(row["id"],) for row in rows],
    )
    body = {"action": "summary", "count": len(rows), "from": rows[-1]["at"], "to": rows[0]["at"]}
    want_message(connection, guild_id=guild_id, at=at, kind="action", subject=SUMMARY, body=body)
    return len(rows)


def delete_messages(connection: sqlite3.Connection, before: datetime) -> int:
    """Delete messages from before ``before``, posted or not; they stay in Discord."""
    return connection.execute(
        "DELETE FROM log_messages WHERE at < ?", (to_timestamp(before),)
    ).rowcount


class ModerationLogRepository:
    """Read the messages as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def servers_pending(self) -> tuple[int, ...]:
        """Return the servers with messages that are not posted as they are now."""
        sql = f"SELECT DISTINCT guild_id FROM log_messages WHERE {_PENDING} ORDER BY guild_id"
        return await self._database.read(
            Query(sql, (), lambda rows: tuple(row["guild_id"] for row in rows))
        )

    async def pending(self, guild_id: int, limit: int = 100) -> tuple[LogMessage, ...]:
        """Return a server's messages that are not posted as they are now, oldest first."""
        sql = f"SELECT * FROM log_messages WHERE guild_id = ? AND ({_PENDING}) ORDER BY id LIMIT ?"
        return await self._database.read(Query(sql, (guild_id, limit), _messages))

    async def pending_count(self, guild_id: int) -> int:
        """Return how many messages of a server are not posted as they are now."""
        sql = f"SELECT count(*) FROM log_messages WHERE guild_id = ? AND ({_PENDING})"
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
            None if row["attempted_at"] is None else row["channel_id"],
        )
        for row in rows
    )
