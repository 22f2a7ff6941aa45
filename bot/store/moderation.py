"""Store what moderators decide: words, blocked members, channels, and what waits for them.

Functions that take a connection belong inside ``Database.write``; ``ModerationRepository`` reads
the last commit. Words are matched by ``bot.domain.word_filter``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from bot.domain.moderation import ChannelRule
from bot.domain.word_filter import WordRule
from bot.store.database import Database, Query, placeholders
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


def jobs_in(
    connection: sqlite3.Connection,
    guild_id: int,
    states: Sequence[str],
    *,
    author_id: int | None = None,
    channel_id: int | None = None,
) -> tuple[str, ...]:
    """Return a server's jobs in these states, of one author or in one channel, oldest first.

    A channel includes its threads, a category its channels.
    """
    return _jobs_in(guild_id, states, author_id, channel_id).run(connection)


def _jobs_in(
    guild_id: int, states: Sequence[str], author_id: int | None, channel_id: int | None
) -> Query[tuple[str, ...]]:
    sql = f"""
        SELECT id FROM jobs WHERE guild_id = ? AND state IN ({placeholders(len(states))})
            AND author_id = coalesce(?, author_id)
            AND (? IS NULL OR ? IN (channel_id, parent_id, category_id))
        ORDER BY created_at, id
    """
    parameters = (guild_id, *states, author_id, channel_id, channel_id)
    return Query(sql, parameters, lambda rows: tuple(row["id"] for row in rows))


HoldKind: TypeAlias = Literal["words", "image"]


@dataclass(frozen=True, slots=True)
class JobHold:
    """A job that waits for a moderator: before it runs, or before its images are posted.

    ``approved`` is None until ``decided_by`` has decided.
    """

    job_id: str
    kind: HoldKind
    guild_id: int
    reason: str
    held_at: datetime
    approved: bool | None = None
    decided_by: int | None = None


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


def all_word_rules(connection: sqlite3.Connection, guild_id: int) -> tuple[ScopedWordRule, ...]:
    """Return a server's rules with their scope, oldest first, as seen by the transaction."""
    return _all_rules(guild_id).run(connection)


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


def set_channel_rule(connection: sqlite3.Connection, guild_id: int, rule: ChannelRule) -> None:
    """Set the rule of a channel, a thread or a category, replacing an earlier one."""
    connection.execute(
        """
        INSERT INTO channel_rules (
            guild_id, channel_id, allowed, running, seconds_between, max_rows, max_samples
        ) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (guild_id, channel_id) DO UPDATE SET allowed = excluded.allowed,
            running = excluded.running, seconds_between = excluded.seconds_between,
            max_rows = excluded.max_rows, max_samples = excluded.max_samples
        """,
        (
            guild_id,
            rule.channel_id,
            None if rule.allowed is None else int(rule.allowed),
            rule.running,
            rule.between and rule.between.total_seconds(),
            rule.max_rows,
            rule.max_samples,
        ),
    )


def remove_channel_rule(connection: sqlite3.Connection, guild_id: int, channel_id: int) -> bool:
    """Remove a channel's rule and return whether there was one."""
    cursor = connection.execute(
        "DELETE FROM channel_rules WHERE guild_id = ? AND channel_id = ?", (guild_id, channel_id)
    )
    return cursor.rowcount == 1


def channel_rules(connection: sqlite3.Connection, guild_id: int) -> tuple[ChannelRule, ...]:
    """Return a server's channel rules, as seen by the transaction."""
    return _channel_rules_query(guild_id).run(connection)


def last_request_at(
    connection: sqlite3.Connection, author_id: int, channel_id: int
) -> datetime | None:
    """Return when a member's last request was accepted in a channel, its threads or category."""
    row = connection.execute(
        "SELECT max(created_at) FROM jobs WHERE author_id = ? AND ? IN "
        "(channel_id, parent_id, category_id)",
        (author_id, channel_id),
    ).fetchone()
    latest: str | None = row[0]
    return parse_timestamp(latest)


def hold(
    connection: sqlite3.Connection,
    job_id: str,
    kind: HoldKind,
    *,
    guild_id: int,
    reason: str,
    at: datetime,
) -> bool:
    """Hold a job for the moderators; return False if it was held for this before."""
    cursor = connection.execute(
        "INSERT INTO holds (job_id, kind, guild_id, reason, held_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (job_id, kind) DO NOTHING",
        (job_id, kind, guild_id, reason, to_timestamp(at)),
    )
    return cursor.rowcount == 1


def decide_hold(
    connection: sqlite3.Connection,
    job_id: str,
    kind: HoldKind,
    *,
    approved: bool,
    by: int,
    at: datetime,
) -> bool:
    """Save a moderator's decision; return False if the job does not wait for one."""
    cursor = connection.execute(
        "UPDATE holds SET decided_at = ?, decided_by = ?, approved = ? "
        "WHERE job_id = ? AND kind = ? AND decided_at IS NULL",
        (to_timestamp(at), by, int(approved), job_id, kind),
    )
    return cursor.rowcount == 1


def end_holds(
    connection: sqlite3.Connection, job_id: str, *, by: int | None, at: datetime
) -> tuple[HoldKind, ...]:
    """Close, as not approved, the holds of a job that has ended, and return their kinds.

    ``by`` is who ended it. Holds that moderators have decided stay as they are.
    """
    rows = connection.execute(
        "UPDATE holds SET decided_at = ?, decided_by = ?, approved = 0 "
        "WHERE job_id = ? AND decided_at IS NULL RETURNING kind",
        (to_timestamp(at), by, job_id),
    )
    return tuple(row["kind"] for row in rows.fetchall())


def hold_of(connection: sqlite3.Connection, job_id: str, kind: HoldKind) -> JobHold | None:
    """Return a job's hold, decided or not, as seen by the transaction."""
    return _hold_query(job_id, kind).run(connection)


class WordRuleCache:
    """The word rules of each server, read once until they change.

    Use it in transactions only: those run one after another, so a change is never missed.
    """

    def __init__(self) -> None:
        self._rules: dict[int, tuple[ScopedWordRule, ...]] = {}

    def rules(
        self, connection: sqlite3.Connection, guild_id: int, channel_id: int
    ) -> tuple[WordRule, ...]:
        """Return a channel's rules, including the server's."""
        if guild_id not in self._rules:
            self._rules[guild_id] = all_word_rules(connection, guild_id)
        return tuple(
            scoped.rule
            for scoped in self._rules[guild_id]
            if scoped.channel_id in (None, channel_id)
        )

    def clear(self, guild_id: int) -> None:
        """Forget a server's rules, because the transaction changes them."""
        self._rules.pop(guild_id, None)


class ModerationRepository:
    """Read word rules and blocks as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def word_rules(self, guild_id: int) -> tuple[ScopedWordRule, ...]:
        """Return a server's word rules, oldest first."""
        return await self._database.read(_all_rules(guild_id))

    async def word_rules_in(self, guild_id: int, channel_id: int) -> tuple[WordRule, ...]:
        """Return a channel's rules, including the server's."""
        return await self._database.read(_rules_in(guild_id, channel_id))

    async def blocks(self, guild_id: int, now: datetime) -> tuple[MemberBlock, ...]:
        """Return a server's blocks that are valid at ``now``."""
        sql = """
            SELECT * FROM blocks WHERE guild_id = ? AND (until IS NULL OR until > ?)
            ORDER BY user_id
        """
        return await self._database.read(Query(sql, (guild_id, to_timestamp(now)), _blocks))

    async def channel_rules(self, guild_id: int) -> tuple[ChannelRule, ...]:
        """Return a server's channel rules."""
        return await self._database.read(_channel_rules_query(guild_id))

    async def channel_limits(self) -> dict[int, int]:
        """Return how many jobs may run at once, by channel or category, of all servers."""
        sql = "SELECT channel_id, running FROM channel_rules WHERE running IS NOT NULL"
        return await self._database.read(Query(sql, (), _by_channel))

    async def hold(self, job_id: str, kind: HoldKind) -> JobHold | None:
        """Return a job's hold, decided or not."""
        return await self._database.read(_hold_query(job_id, kind))

    async def jobs_in(
        self,
        guild_id: int,
        states: Sequence[str],
        *,
        author_id: int | None = None,
        channel_id: int | None = None,
    ) -> tuple[str, ...]:
        """Return what ``jobs_in`` returns, as of the last commit."""
        return await self._database.read(_jobs_in(guild_id, states, author_id, channel_id))

    async def open_holds(self, guild_id: int) -> tuple[JobHold, ...]:
        """Return what waits for a server's moderators, oldest first."""
        sql = """
            SELECT * FROM holds WHERE guild_id = ? AND decided_at IS NULL ORDER BY held_at, job_id
        """
        return await self._database.read(Query(sql, (guild_id,), _holds))


def _channel_rules_query(guild_id: int) -> Query[tuple[ChannelRule, ...]]:
    sql = "SELECT * FROM channel_rules WHERE guild_id = ? ORDER BY channel_id"
    return Query(sql, (guild_id,), _channel_rules)


def _hold_query(job_id: str, kind: HoldKind) -> Query[JobHold | None]:
    sql = "SELECT * FROM holds WHERE job_id = ? AND kind = ?"
    return Query(sql, (job_id, kind), lambda rows: next(iter(_holds(rows)), None))


def _all_rules(guild_id: int) -> Query[tuple[ScopedWordRule, ...]]:
    sql = "SELECT * FROM word_rules WHERE guild_id = ? ORDER BY id"
    return Query(sql, (guild_id,), _placed)


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


def _channel_rules(rows: Sequence[sqlite3.Row]) -> tuple[ChannelRule, ...]:
    return tuple(
        ChannelRule(
            row["channel_id"],
            None if row["allowed"] is None else bool(row["allowed"]),
            row["running"],
            None if row["seconds_between"] is None else timedelta(seconds=row["seconds_between"]),
            row["max_rows"],
            row["max_samples"],
        )
        for row in rows
    )


def _by_channel(rows: Sequence[sqlite3.Row]) -> dict[int, int]:
    return {row["channel_id"]: row["running"] for row in rows}


def _holds(rows: Sequence[sqlite3.Row]) -> tuple[JobHold, ...]:
    return tuple(
        JobHold(
            row["job_id"],
            row["kind"],
            row["guild_id"],
            row["reason"],
            parse_timestamp(row["held_at"]),
            None if row["approved"] is None else bool(row["approved"]),
            row["decided_by"],
        )
        for row in rows
    )
