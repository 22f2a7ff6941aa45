"""Store the audit log: an append-only record of who did what, for moderators.

An action is written in the same transaction as the change, so neither exists without the other.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bot.store.database import Database, Query
from bot.store.serialization import parse_timestamp, to_timestamp

_NEVER: Final = 2**63 - 1  # above every row id
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action; ``subject`` names its object (``user:7``, ``job:abc``), ``detail`` the rest."""

    id: int
    at: datetime
    guild_id: int
    actor_id: int
    action: str
    subject: str
    detail: Mapping[str, Any]


def record_action(
    connection: sqlite3.Connection,
    *,
    at: datetime,
    guild_id: int,
    actor_id: int,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write down an action; ``detail`` must be JSON. The entry, for the log channel."""
    said = dict(detail or {})
    cursor = connection.execute(
        "INSERT INTO audit (at, guild_id, actor_id, action, subject, detail) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (to_timestamp(at), guild_id, actor_id, action, subject, json.dumps(said, allow_nan=False)),
    )
    assert cursor.lastrowid is not None
    return AuditEntry(cursor.lastrowid, at, guild_id, actor_id, action, subject, said)


class AuditRepository:
    """Reads the record as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(
        self,
        guild_id: int,
        limit: int = 25,
        before: int | None = None,
        *,
        actions: str = "",
        subject: str | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Return a server's actions, newest first; ``before`` is the id of the last one shown.

        ``actions`` keeps those whose name begins so, ``subject`` those done to exactly this one.
        """
        sql = """
            SELECT * FROM audit WHERE guild_id = ? AND id < ?
                AND substr(action, 1, ?) = ? AND subject = coalesce(?, subject)
            ORDER BY id DESC LIMIT ?
        """
        most = _NEVER if before is None else before
        parameters = (guild_id, most, len(actions), actions, subject, limit)
        return await self._database.read(Query(sql, parameters, _entries))

    async def latest(self, guild_id: int, limit: int) -> list[AuditEntry]:
        """Return a server's latest ``limit`` actions, newest first, read in small batches."""
        found: list[AuditEntry] = []
        while len(found) < limit:
            before = found[-1].id if found else None
            batch = await self.entries(guild_id, min(_BATCH, limit - len(found)), before)
            if not batch:
                break
            found += batch
        return found


def _entries(rows: Sequence[sqlite3.Row]) -> tuple[AuditEntry, ...]:
    return tuple(
        AuditEntry(
            row["id"],
            parse_timestamp(row["at"]),
            row["guild_id"],
            row["actor_id"],
            row["action"],
            row["subject"],
            json.loads(row["detail"]),
        )
        for row in rows
    )
