"""Read and rewrite databases for a restore: the newer one and the older copy. Everything blocks."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import BotError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.store import identity, job_queries, migrations
from bot.store.deliveries import MessageKind
from bot.store.serialization import COLUMNS, load_job


@dataclass(frozen=True, slots=True)
class Present:
    """The jobs of a database, and their messages."""

    jobs: Mapping[str, Job]
    messages: Mapping[str, Mapping[MessageKind, MessageRef]]


def read_present(path: Path) -> Present | None:
    """Return the jobs and messages in the database at ``path``; None if missing or damaged."""
    if not path.is_file():
        return None
    try:
        identity.refuse_stale_log(path)
        with closing(sqlite3.connect(migrations.read_only(path), uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            migrations.check_integrity(connection, path)
            jobs = {row["id"]: load_job(row) for row in _rows(connection, f"{COLUMNS} FROM jobs")}
            messages: dict[str, dict[MessageKind, MessageRef]] = {}
            for row in _rows(connection, "job_id, kind, channel_id, message_id FROM messages"):
                message = MessageRef(row["channel_id"], row["message_id"])
                messages.setdefault(row["job_id"], {})[row["kind"]] = message
            return Present(jobs, messages)
    except (sqlite3.Error, BotError, OSError):
        return None


@contextlib.contextmanager
def rewriting(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that nobody else has open, for one transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def all_ids(connection: sqlite3.Connection) -> set[str]:
    """Return the ids of all jobs."""
    return {row["id"] for row in _rows(connection, "id FROM jobs")}


def unfinished(connection: sqlite3.Connection) -> list[Job]:
    """Return every job that has not ended, oldest first."""
    return [load_job(row) for row in job_queries.unfinished_rows().run(connection)]


def _rows(connection: sqlite3.Connection, what: str) -> list[sqlite3.Row]:
    return connection.execute(f"SELECT {what}").fetchall()
