"""Store what moderators forbid: words and blocked members.

Functions that take a connection belong inside ``Database.write``; ``ModerationRepository`` reads
the last commit. Words are matched by ``bot.domain.word_filter``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.domain.word_filter import WordRule
from bot.store.database import Database, Query
from bot.store.serialization import parse_timestamp, to_timestamp


@dataclass(frozen=True, slots=True)
class ScopedWordRule:
    """A word rule and its scope: one channel, or the whole server (None)."""

    rule: WordRule
    channel_id: int | None


@dataclass(frozen=True, slots=True)
class MemberBlock:
    """A member who may not request images; ``until`` None is until unblocked."""

    user_id: int
    until: datetime | None
    reason: str


def add_word_rule(
    connection: sqlite3.Connection,
    guild_id: int,
    pattern: str,
    *,
    whole_word: bool = True,
    channel_id: int | None = None,
    effect: Literal["refuse", "hold"] = "refuse",
    adult: bool = False,
) -> WordRule:
    """Forbid ``pattern`` and return the rule; its id is never reused."""
    cursor = connection.execute(
        "INSERT INTO word_rules (guild_id, channel_id, pattern, whole_word, effect, adult) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (guild_id, channel_id, pattern, int(whole_word), effect, int(adult)),
    )
    assert cursor.lastrowid is not None
    return WordRule(cursor.lastrowid, pattern, whole_word, effect, adult)


def remove_word_rule(connection: sqlite3.Connection, guild_id: int, rule_id: int) -> bool:
    """Remove a server's rule and return whether there was one with this id."""
    cursor = connection.execute(
        "DELETE FROM word_rules WHERE guild_id = ? AND id = ?", (guild_id, rule_id)
    )
    return cursor.rowcount == 1


def word_rules_in(
    connection: sqlite3.Connection, guild_id: int, channel_id: int
) -> tuple[WordRule, ...]:
    """Return a channel's rules, including the server's, as seen by the transaction."""
    return _rules_in(guild_id, channel_id).run(connection)


def block(connection: sqlite3.Connection, guild_id: int, member: MemberBlock) -> None:
    """Block a member, replacing an earlier block."""
    connection.execute(
        "INSERT INTO blocks (guild_id, user_id, until, reason) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (guild_id, user_id) DO UPDATE SET until = excluded.until, "
        "reason = excluded.reason",
        (guild_id, member.user_id, to_timestamp(member.until), member.reason),
    )


def unblock(connection: sqlite3.Connection, guild_id: int, user_id: int) -> bool:
    """Unblock a member and return whether they were blocked."""
    cursor = connection.execute(
        "DELETE FROM blocks WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
    )
    return cursor.rowcount == 1


def blocked(
    connection: sqlite3.Connection, guild_id: int, user_id: int, now: datetime
) -> MemberBlock | None:
    """Return a member's block that is valid at ``now``, as seen by the transaction."""
    return _block_of(guild_id, user_id, now).run(connection)


class ModerationRepository:
    """Read word rules and blocks as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def word_rules(self, guild_id: int) -> tuple[ScopedWordRule, ...]:
        """Return a server's word rules, oldest first."""
        sql = "SELECT * FROM word_rules WHERE guild_id = ? ORDER BY id"
        return await self._database.read(Query(sql, (guild_id,), _placed))

    async def word_rules_in(self, guild_id: int, channel_id: int) -> tuple[WordRule, ...]:
        """Return a channel's rules, including the server's."""
        return await self._database.read(_rules_in(guild_id, channel_id))

    async def blocked(self, guild_id: int, user_id: int, now: datetime) -> MemberBlock | None:
        """Return a member's block that is valid at ``now``."""
        return await self._database.read(_block_of(guild_id, user_id, now))

    async def blocks(self, guild_id: int, now: datetime) -> tuple[MemberBlock, ...]:
        """Return a server's blocks that are valid at ``now``."""
        sql = """
            SELECT * FROM blocks WHERE guild_id = ? AND (until IS NULL OR until > ?)
            ORDER BY user_id
        """
        return await self._database.read(Query(sql, (guild_id, to_timestamp(now)), _blocks))


def _rules_in(guild_id: int, channel_id: int) -> Query[tuple[WordRule, ...]]:
    sql = """
        SELECT * FROM word_rules WHERE guild_id = ? AND (channel_id IS NULL OR channel_id = ?)
        ORDER BY id
    """
    return Query(sql, (guild_id, channel_id), _rules)


def _block_of(guild_id: int, user_id: int, now: datetime) -> Query[MemberBlock | None]:
    sql = """
        SELECT * FROM blocks WHERE guild_id = ? AND user_id = ? AND (until IS NULL OR until > ?)
    """
    return Query(sql, (guild_id, user_id, to_timestamp(now)), _first_block)


def _placed(rows: Sequence[sqlite3.Row]) -> tuple[ScopedWordRule, ...]:
    return tuple(
        ScopedWordRule(rule, row["channel_id"])
        for rule, row in zip(_rules(rows), rows, strict=True)
    )


def _rules(rows: Sequence[sqlite3.Row]) -> tuple[WordRule, ...]:
    return tuple(
        WordRule(
            row["id"], row["pattern"], bool(row["whole_word"]), row["effect"], bool(row["adult"])
        )
        for row in rows
    )


def _blocks(rows: Sequence[sqlite3.Row]) -> tuple[MemberBlock, ...]:
    return tuple(
        MemberBlock(row["user_id"], parse_timestamp(row["until"]), row["reason"]) for row in rows
    )


def _first_block(rows: Sequence[sqlite3.Row]) -> MemberBlock | None:
    return next(iter(_blocks(rows)), None)
