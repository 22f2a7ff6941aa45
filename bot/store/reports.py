"""Store members' reports of results: one report for each result, a vote for each member.

``evidence`` holds what was reported, as JSON, and what moderators did. Functions that take a
connection belong inside ``Database.write``; ``ReportRepository`` reads the last commit.
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

Decision: TypeAlias = Literal["removed", "refunded", "blocked", "dismissed"]

_UNDECIDED = "(decision IS NULL OR decision = 'blocked')"
"""The result of a report whose author was blocked can still be removed."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a job's result in ``message``; ``decision`` is None until a moderator acts."""

    id: int
    guild_id: int
    job_id: str
    message: MessageRef
    opened_at: datetime
    evidence: Mapping[str, Any]
    decision: Decision | None = None
    decided_by: int | None = None

    @property
    def is_open(self) -> bool:
        """Return whether moderators can still decide."""
        return self.decision in (None, "blocked")


@dataclass(frozen=True, slots=True)
class ReportVote:
    """One member's report of a result, with their reason."""

    reporter_id: int
    reason: str
    at: datetime


def add_report(
    connection: sqlite3.Connection,
    *,
    guild_id: int,
    job_id: str,
    message: MessageRef,
    evidence: Mapping[str, Any],
    at: datetime,
) -> int:
    """Save a report without votes and return its id, which is never reused."""
    cursor = connection.execute(
        "INSERT INTO reports (guild_id, job_id, channel_id, message_id, opened_at, evidence) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            guild_id,
            job_id,
            message.channel_id,
            message.message_id,
            to_timestamp(at),
            json.dumps(evidence, allow_nan=False),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def add_vote(
    connection: sqlite3.Connection, report_id: int, reporter_id: int, reason: str, *, at: datetime
) -> None:
    """Save a member's vote for a report. Raises IntegrityError for a second one."""
    connection.execute(
        "INSERT INTO report_votes (report_id, reporter_id, reason, at) VALUES (?, ?, ?, ?)",
        (report_id, reporter_id, reason, to_timestamp(at)),
    )


def has_voted(job_id: str, reporter_id: int) -> Query[bool]:
    """Select whether a member has reported this result, decided or not."""
    sql = """
        SELECT 1 FROM report_votes JOIN reports ON reports.id = report_id
        WHERE job_id = ? AND reporter_id = ?
    """
    return Query(sql, (job_id, reporter_id), bool)


def votes(connection: sqlite3.Connection, report_id: int) -> tuple[ReportVote, ...]:
    """Return the votes of a report, oldest first."""
    rows = connection.execute(
        "SELECT * FROM report_votes WHERE report_id = ? ORDER BY at, reporter_id", (report_id,)
    )
    return tuple(
        ReportVote(row["reporter_id"], row["reason"], parse_timestamp(row["at"])) for row in rows
    )


def open_report(connection: sqlite3.Connection, guild_id: int, job_id: str) -> Report | None:
    """Return the report of a job that moderators can still decide."""
    sql = f"SELECT * FROM reports WHERE guild_id = ? AND job_id = ? AND {_UNDECIDED} ORDER BY id"
    return _first(Query(sql, (guild_id, job_id), _reports).run(connection))


def report_of(connection: sqlite3.Connection, guild_id: int, report_id: int) -> Report | None:
    """Return a server's report, as seen by the transaction."""
    return _first(_report_query(guild_id, report_id).run(connection))


def set_decision(
    connection: sqlite3.Connection, report_id: int, decision: Decision, *, by: int, at: datetime
) -> None:
    """Save a moderator's decision."""
    connection.execute(
        "UPDATE reports SET decision = ?, decided_at = ?, decided_by = ? WHERE id = ?",
        (decision, to_timestamp(at), by, report_id),
    )


def set_evidence(
    connection: sqlite3.Connection, report_id: int, evidence: Mapping[str, Any]
) -> None:
    """Replace a report's evidence."""
    connection.execute(
        "UPDATE reports SET evidence = ? WHERE id = ?",
        (json.dumps(evidence, allow_nan=False), report_id),
    )


def erase_votes(connection: sqlite3.Connection, reporter_id: int) -> tuple[Report, ...]:
    """Delete a member's votes in all servers and return the reports that they were for."""
    sql = """
        SELECT * FROM reports WHERE id IN (
            SELECT report_id FROM report_votes WHERE reporter_id = ?
        ) ORDER BY id
    """
    found = Query(sql, (reporter_id,), _reports).run(connection)
    connection.execute("DELETE FROM report_votes WHERE reporter_id = ?", (reporter_id,))
    return found


def delete_reports(connection: sqlite3.Connection, before: datetime) -> int:
    """Delete the reports opened before ``before`` with their votes; return their number."""
    moment = to_timestamp(before)
    connection.execute(
        "DELETE FROM report_votes WHERE report_id IN (SELECT id FROM reports WHERE opened_at < ?)",
        (moment,),
    )
    return connection.execute("DELETE FROM reports WHERE opened_at < ?", (moment,)).rowcount


def pictures() -> Query[frozenset[str]]:
    """Select the names of the pictures that reports and log messages show."""
    sql = """
        SELECT json_extract(evidence, '$.picture') AS picture FROM reports
        UNION SELECT json_extract(body, '$.picture') FROM log_messages
    """
    return Query(sql, (), lambda rows: frozenset(row["picture"] for row in rows if row["picture"]))


class ReportRepository:
    """Read reports as of the last commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, guild_id: int, report_id: int) -> Report | None:
        """Return a server's report."""
        found = await self._database.read(_report_query(guild_id, report_id))
        return _first(found)

    async def open_reports(self, guild_id: int) -> tuple[Report, ...]:
        """Return what waits for a server's moderators, oldest first."""
        sql = f"SELECT * FROM reports WHERE guild_id = ? AND {_UNDECIDED} ORDER BY id"
        return await self._database.read(Query(sql, (guild_id,), _reports))

    async def has_voted(self, job_id: str, reporter_id: int) -> bool:
        """Return whether a member has reported this result, decided or not."""
        return await self._database.read(has_voted(job_id, reporter_id))

    async def votes_by(self, reporter_id: int) -> int:
        """Return how many results a member has reported, in all servers."""
        sql = "SELECT count(*) FROM report_votes WHERE reporter_id = ?"
        return await self._database.read(Query(sql, (reporter_id,), lambda rows: int(rows[0][0])))


def _report_query(guild_id: int, report_id: int) -> Query[tuple[Report, ...]]:
    sql = "SELECT * FROM reports WHERE guild_id = ? AND id = ?"
    return Query(sql, (guild_id, report_id), _reports)


def _first(found: Sequence[Report]) -> Report | None:
    return next(iter(found), None)


def _reports(rows: Sequence[sqlite3.Row]) -> tuple[Report, ...]:
    return tuple(
        Report(
            row["id"],
            row["guild_id"],
            row["job_id"],
            MessageRef(row["channel_id"], row["message_id"]),
            parse_timestamp(row["opened_at"]),
            json.loads(row["evidence"]),
            row["decision"],
            row["decided_by"],
        )
        for row in rows
    )
