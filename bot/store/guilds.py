"""Store what moderators set for their server: settings and quota rules.

A setting is a key and a JSON value. Functions that take a connection belong inside
``Database.write``; ``GuildRepository`` reads the last commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta

from bot.domain.quota import QuotaRule
from bot.store.database import Database, Query


def settings(connection: sqlite3.Connection, guild_id: int) -> dict[str, object]:
    """Return a server's settings by key, as seen by the transaction."""
    return _settings_query(guild_id).run(connection)


def set_setting(connection: sqlite3.Connection, guild_id: int, key: str, value: object) -> None:
    """Set ``key`` to a JSON value; None removes it."""
    if value is None:
        sql = "DELETE FROM guild_settings WHERE guild_id = ? AND key = ?"
        connection.execute(sql, (guild_id, key))
        return
    connection.execute(
        "INSERT INTO guild_settings (guild_id, key, value) VALUES (?, ?, ?) "
        "ON CONFLICT (guild_id, key) DO UPDATE SET value = excluded.value",
        (guild_id, key, json.dumps(value, allow_nan=False)),
    )


def rules(connection: sqlite3.Connection, guild_id: int) -> tuple[QuotaRule, ...]:
    """Return a server's quota rules, as seen by the transaction."""
    return _rules_query(guild_id).run(connection)


def set_rule(connection: sqlite3.Connection, guild_id: int, rule: QuotaRule) -> None:
    """Set the rule for its subject, replacing an earlier one."""
    window = None if rule.window is None else rule.window.total_seconds()
    connection.execute(
        """
        INSERT INTO quota_rules (
            guild_id, scope, subject_id, images, window_seconds, running, waiting
        ) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (guild_id, scope, subject_id) DO UPDATE SET images = excluded.images,
            window_seconds = excluded.window_seconds, running = excluded.running,
            waiting = excluded.waiting
        """,
        (guild_id, rule.scope, rule.subject_id, rule.images, window, rule.running, rule.waiting),
    )


def remove_rule(connection: sqlite3.Connection, guild_id: int, scope: str, subject_id: int) -> bool:
    """Remove a subject's rule and return whether there was one."""
    cursor = connection.execute(
        "DELETE FROM quota_rules WHERE guild_id = ? AND scope = ? AND subject_id = ?",
        (guild_id, scope, subject_id),
    )
    return cursor.rowcount == 1


def running_limits(connection: sqlite3.Connection) -> dict[int, int]:
    """Return how many jobs at once a rule allows each member with queued jobs.

    Members without such a rule are left out. The member's own rule wins, then the most generous of
    their roles (as of their latest request), then the server's. If a member has queued jobs in
    several servers, the most generous server counts: a slot belongs to no server.
    """
    return _running_query().run(connection)


class GuildRepository:
    """Read servers' settings and quota rules as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self, guild_id: int) -> Mapping[str, object]:
        """Return a server's settings by key."""
        return await self._database.read(_settings_query(guild_id))

    async def all_settings(self, key: str) -> Mapping[int, object]:
        """Return the value of ``key`` by server, for every server that has it set."""
        sql = "SELECT guild_id, value FROM guild_settings WHERE key = ?"
        return await self._database.read(Query(sql, (key,), _by_guild))

    async def rules(self, guild_id: int) -> tuple[QuotaRule, ...]:
        """Return a server's quota rules."""
        return await self._database.read(_rules_query(guild_id))

    async def running_limits(self) -> dict[int, int]:
        """Return what ``running_limits`` returns, as of the last commit."""
        return await self._database.read(_running_query())


def _settings_query(guild_id: int) -> Query[dict[str, object]]:
    sql = "SELECT key, value FROM guild_settings WHERE guild_id = ?"
    return Query(sql, (guild_id,), _by_key)


def _rules_query(guild_id: int) -> Query[tuple[QuotaRule, ...]]:
    sql = "SELECT * FROM quota_rules WHERE guild_id = ? ORDER BY scope, subject_id"
    return Query(sql, (guild_id,), _shape_rules)


def _running_query() -> Query[dict[int, int]]:
    # With max(id) SQLite takes the other columns from the same row: the latest roles known.
    sql = """
        SELECT queued.author_id, max(coalesce(
            (
                SELECT running FROM quota_rules AS rule
                WHERE rule.guild_id = queued.guild_id AND rule.scope = 'member'
                    AND rule.subject_id = queued.author_id
            ),
            (
                SELECT max(running) FROM quota_rules AS rule
                WHERE rule.guild_id = queued.guild_id AND rule.scope = 'role'
                    AND rule.subject_id IN (SELECT value FROM json_each(queued.author_roles))
            ),
            (
                SELECT running FROM quota_rules AS rule
                WHERE rule.guild_id = queued.guild_id AND rule.scope = 'server'
            )
        )) AS running
        FROM (
            SELECT author_id, guild_id, author_roles, max(id) FROM jobs
            WHERE state = 'queued'
                AND EXISTS (SELECT 1 FROM quota_rules WHERE running IS NOT NULL)
            GROUP BY author_id, guild_id
        ) AS queued
        GROUP BY queued.author_id
    """
    return Query(sql, (), _by_author)


def _by_key(rows: Sequence[sqlite3.Row]) -> dict[str, object]:
    return {row["key"]: json.loads(row["value"]) for row in rows}


def _by_guild(rows: Sequence[sqlite3.Row]) -> dict[int, object]:
    return {row["guild_id"]: json.loads(row["value"]) for row in rows}


def _by_author(rows: Sequence[sqlite3.Row]) -> dict[int, int]:
    return {row["author_id"]: row["running"] for row in rows if row["running"] is not None}


def _shape_rules(rows: Sequence[sqlite3.Row]) -> tuple[QuotaRule, ...]:
    return tuple(
        QuotaRule(
            row["scope"],
            row["subject_id"],
            row["images"],
            None if row["window_seconds"] is None else timedelta(seconds=row["window_seconds"]),
            row["running"],
            row["waiting"],
        )
        for row in rows
    )
