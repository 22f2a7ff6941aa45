"""Store a job's delivery attempts and messages.

An attempt is saved before each post, its outcome afterwards. An attempt without an outcome after a
crash may have been posted: search for its nonce before posting again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from bot.domain.events import MessageRef
from bot.domain.retention import RemovalCause
from bot.store import gallery, pictures
from bot.store.database import Database, Query
from bot.store.serialization import parse_timestamp, to_timestamp

MessageKind: TypeAlias = Literal["card", "result", "thread", "notice"]

STATUS: Final = "card"
THREAD: Final = "thread"
"""The attempt to open a thread for the rows, which is saved once it is open."""
REMOVAL: Final = "removal"
"""Attempts of this method take a message away; its nonce is ``<channel id>:<message id>``."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt to post by one delivery method.

    ``delivered`` is None while the outcome is unknown; ``detail`` says what went wrong.
    """

    method: str
    nonce: str
    attempted_at: datetime
    done_at: datetime | None
    delivered: bool | None
    detail: str


def record_attempt(
    connection: sqlite3.Connection, job_id: str, method: str, nonce: str, *, at: datetime
) -> bool:
    """Save that ``nonce`` is about to be posted and return True.

    Return False if it was saved before and either has no outcome (it may have been posted: search
    for it) or was delivered (do not post). A failed attempt is opened again.
    """
    cursor = connection.execute(
        """
        INSERT INTO deliveries (job_id, rung, nonce, attempted_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (job_id, rung, nonce) DO UPDATE
            SET attempted_at = excluded.attempted_at, done_at = NULL, delivered = NULL, detail = ''
            WHERE delivered = 0
        """,
        (job_id, method, nonce, to_timestamp(at)),
    )
    return cursor.rowcount == 1


def finish_attempt(
    connection: sqlite3.Connection,
    job_id: str,
    method: str,
    nonce: str,
    *,
    delivered: bool,
    at: datetime,
    detail: str = "",
) -> bool:
    """Save the outcome of an open attempt; return False if there is none."""
    cursor = connection.execute(
        "UPDATE deliveries SET done_at = ?, delivered = ?, detail = ? "
        "WHERE job_id = ? AND rung = ? AND nonce = ? AND done_at IS NULL",
        (to_timestamp(at), int(delivered), detail, job_id, method, nonce),
    )
    return cursor.rowcount == 1


def set_message(
    connection: sqlite3.Connection,
    job_id: str,
    kind: MessageKind,
    message: MessageRef,
    *,
    at: datetime,
) -> None:
    """Save a job's message, replacing an earlier one of the same kind."""
    connection.execute(
        """
        INSERT INTO messages (job_id, kind, channel_id, message_id, posted_at)
        VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (job_id, kind) DO UPDATE SET channel_id = excluded.channel_id,
            message_id = excluded.message_id, posted_at = excluded.posted_at
        """,
        (job_id, kind, message.channel_id, message.message_id, to_timestamp(at)),
    )


def owe_status_message(connection: sqlite3.Connection, job_id: str, *, at: datetime) -> None:
    """Save that an accepted job still needs its status message."""
    record_attempt(connection, job_id, STATUS, STATUS, at=at)


def close_status_message(
    connection: sqlite3.Connection, job_id: str, *, at: datetime, why_not: str = ""
) -> None:
    """Save that the job's status message is posted or, with ``why_not``, never will be. Idempotent.

    Works also for jobs that were accepted before ``owe_card`` existed.
    """
    connection.execute(
        """
        INSERT INTO deliveries (job_id, rung, nonce, attempted_at, done_at, delivered, detail)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (job_id, rung, nonce) DO UPDATE SET done_at = excluded.done_at,
            delivered = excluded.delivered, detail = excluded.detail
            WHERE done_at IS NULL
        """,
        (job_id, STATUS, STATUS, to_timestamp(at), to_timestamp(at), int(not why_not), why_not),
    )


def forget_message(connection: sqlite3.Connection, message_id: int) -> bool:
    """Delete the record of a message deleted in Discord; return False if no job had it."""
    cursor = connection.execute("DELETE FROM messages WHERE message_id = ?", (message_id,))
    return cursor.rowcount > 0


def is_removed(connection: sqlite3.Connection, job_id: str) -> bool:
    """Return whether moderators have removed the job's result, as seen by the transaction."""
    return _has_attempt(connection, job_id, REMOVAL)


def _has_attempt(connection: sqlite3.Connection, job_id: str, method: str) -> bool:
    sql = "SELECT 1 FROM deliveries WHERE job_id = ? AND rung = ?"
    return connection.execute(sql, (job_id, method)).fetchone() is not None


def want_removal(
    connection: sqlite3.Connection, job_id: str, extra: Sequence[MessageRef], *, at: datetime
) -> int:
    """Save that a job's messages, and ``extra`` ones, are to be deleted in Discord.

    Its stars are deleted, its post in the gallery is withdrawn, and its pictures and links to them
    go, too. Return how many of the messages were not wanted before. Idempotent.
    """
    gallery.withdraw_result(connection, job_id, at=at)
    pictures.record_removal(connection, job_id, RemovalCause.REMOVED, at=at)
    wanted = _removal_names(connection, job_id, extra) or ["0:0"]  # a kept result has no message
    return sum(record_attempt(connection, job_id, REMOVAL, name, at=at) for name in wanted)


def extend_removal(
    connection: sqlite3.Connection, job_id: str, extra: Sequence[MessageRef], *, at: datetime
) -> None:
    """Save that what was posted since ``want_removal`` is to be deleted, too. Idempotent."""
    connection.executemany(
        "INSERT INTO deliveries (job_id, rung, nonce, attempted_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (job_id, rung, nonce) DO NOTHING",
        [
            (job_id, REMOVAL, name, to_timestamp(at))
            for name in _removal_names(connection, job_id, extra)
        ],
    )


def _removal_names(
    connection: sqlite3.Connection, job_id: str, extra: Sequence[MessageRef]
) -> list[str]:
    rows = connection.execute(
        "SELECT kind, channel_id, message_id FROM messages WHERE job_id = ?", (job_id,)
    ).fetchall()
    # Of a thread the channel goes; it has the id of the message that it began at.
    names = [
        f"{row['channel_id']}:{'thread' if row['kind'] == 'thread' else row['message_id']}"
        for row in rows
    ]
    names += [f"{message.channel_id}:{message.message_id}" for message in extra]
    if _has_attempt(connection, job_id, THREAD):
        # Perhaps before its first row was posted: then it is not among the messages yet.
        names += [f"{message.message_id}:thread" for message in extra]
    return list(dict.fromkeys(names))


# A job without a token came from the command line, was erased, or has its message elsewhere; but
# those of a set never had one.
_OWED: Final = """
    (token IS NOT NULL OR set_id IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM messages WHERE job_id = jobs.id AND kind = 'card')
    AND NOT EXISTS (
        SELECT 1 FROM deliveries
        WHERE job_id = jobs.id AND rung = 'card' AND done_at IS NOT NULL
    )
"""


class DeliveryRepository:
    """Read messages and delivery attempts as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def attempts(self, job_id: str) -> tuple[DeliveryAttempt, ...]:
        """Return every attempt to post something for this job, oldest first."""
        sql = "SELECT * FROM deliveries WHERE job_id = ? ORDER BY id"
        return await self._database.read(Query(sql, (job_id,), _attempts))

    async def pending_jobs(self, method: str) -> tuple[str, ...]:
        """Return the jobs with an attempt by ``method`` without an outcome, oldest first."""
        sql = "SELECT job_id FROM deliveries WHERE rung = ? AND done_at IS NULL ORDER BY id"
        return await self._database.read(Query(sql, (method,), _job_ids))

    async def perhaps_posted(self) -> tuple[str, ...]:
        """Return jobs whose result may be posted although they are not being delivered.

        A restore leaves jobs like this if they may have been posted after the backup was made.
        """
        sql = """
        SELECT DISTINCT jobs.id AS job_id FROM jobs JOIN deliveries ON deliveries.job_id = jobs.id
        WHERE jobs.state IN ('queued', 'submitting', 'pending', 'running', 'collecting')
            AND deliveries.done_at IS NULL AND deliveries.nonce = 'job-' || jobs.id
        ORDER BY jobs.id
        """
        return await self._database.read(Query(sql, (), _job_ids))

    async def stale_status_messages(self, since: datetime, *, without: str) -> tuple[str, ...]:
        """Return jobs created since ``since`` that ended after their status message was last saved.

        Jobs delivered by the method ``without`` are left out: there the status message is the
        result.
        """
        sql = """
        SELECT jobs.id AS job_id FROM jobs JOIN messages ON messages.job_id = jobs.id
        WHERE jobs.state IN ('finished', 'failed', 'cancelled') AND jobs.created_at >= ?
            AND messages.kind = 'card' AND messages.posted_at < jobs.ended_at
            AND json_extract(jobs.snapshot, '$.rung') <> ?
        ORDER BY jobs.id
        """
        return await self._database.read(Query(sql, (to_timestamp(since), without), _job_ids))

    async def status_messages_owed(self, since: datetime) -> tuple[str, ...]:
        """Return jobs without a status message and without a reason why there is none.

        Created since ``since`` or not ended yet, oldest first.
        """
        sql = f"""
        SELECT id AS job_id FROM jobs WHERE {_OWED} AND (
            created_at >= ? OR state NOT IN ('finished', 'failed', 'cancelled')
        ) ORDER BY id
        """
        return await self._database.read(Query(sql, (to_timestamp(since),), _job_ids))

    async def status_message_owed(self, job_id: str) -> bool:
        """Return whether the job has neither a status message nor a reason for having none."""
        sql = f"SELECT id AS job_id FROM jobs WHERE {_OWED} AND id = ?"
        return bool(await self._database.read(Query(sql, (job_id,), _job_ids)))

    async def message(self, job_id: str, kind: MessageKind) -> MessageRef | None:
        """Return the job's message of this kind."""
        return (await self.messages(job_id)).get(kind)

    async def messages(self, job_id: str) -> dict[MessageKind, MessageRef]:
        """Return the job's messages by kind."""
        sql = "SELECT kind, channel_id, message_id FROM messages WHERE job_id = ?"
        return await self._database.read(Query(sql, (job_id,), _messages))

    async def job_of(self, message_id: int) -> str | None:
        """Return the id of the job that a message belongs to."""
        sql = "SELECT job_id FROM messages WHERE message_id = ?"
        return await self._database.read(Query(sql, (message_id,), _job_id))


def _attempts(rows: Sequence[sqlite3.Row]) -> tuple[DeliveryAttempt, ...]:
    return tuple(
        DeliveryAttempt(
            row["rung"],
            row["nonce"],
            parse_timestamp(row["attempted_at"]),
            parse_timestamp(row["done_at"]) if row["done_at"] else None,
            None if row["delivered"] is None else bool(row["delivered"]),
            row["detail"],
        )
        for row in rows
    )


def _job_ids(rows: Sequence[sqlite3.Row]) -> tuple[str, ...]:
    return tuple(str(row["job_id"]) for row in rows)


def _messages(rows: Sequence[sqlite3.Row]) -> dict[MessageKind, MessageRef]:
    return {row["kind"]: MessageRef(row["channel_id"], row["message_id"]) for row in rows}


def _job_id(rows: Sequence[sqlite3.Row]) -> str | None:
    return str(rows[0]["job_id"]) if rows else None
