"""Migrate a database file to the schema of this release; refuse files that cannot be trusted.

Migrations are numbered SQL scripts, recorded in the table ``schema_version``. Everything here
blocks and runs once, before the first request.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from bot.domain.errors import ConfigError
from bot.files import fsync_path
from bot.store import identity
from bot.store.serialization import to_timestamp
from bot.store.sqlite_errors import RESTORE_HINT

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TRIES = 5
_BUSY_SECONDS = 60.0
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from version ``number - 1`` to ``number``."""

    number: int
    name: str
    script: str


def load_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this package, in order."""
    folder = resources.files("bot.store") / "migrations"
    found = [
        Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def statements(script: str) -> Iterator[str]:
    """Split a script into statements, so that they can share a transaction.

    ``executescript`` would commit first. Each statement must end at the end of a line. Raises
    ValueError for a last statement without an end.
    """
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise ValueError(f"a statement without an end: {pending.strip()[:80]}")


def _check(connection: sqlite3.Connection, what: str) -> list[str]:
    """Return at most three problems, each on one line, or ``["ok"]``."""
    found = connection.execute(f"PRAGMA {what}(3)")
    return [" ".join(str(row[0]).split()) for row in found]


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole file once. Raises ConfigError if pages or records are damaged."""
    outcome = _check(connection, "quick_check")
    if outcome != ["ok"]:
        raise ConfigError(
            str(path),
            f"the database is damaged ({'; '.join(outcome)})",
            f"{RESTORE_HINT}.",
        )


def enable_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to a write-ahead log. Raises ConfigError if the file system does not allow it."""
    mode = _ask_for_log(connection)
    if mode != "wal":
        raise ConfigError(
            str(path),
            f"the file system allows no write-ahead log (journal mode stays {mode})",
            "Keep the database on a local disk, not on a network share.",
        )


def _ask_for_log(connection: sqlite3.Connection) -> str:
    tries = 0
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            tries += 1
            if tries == _TRIES or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        # Everything else waits for a program that opens the same file at this moment; the switch
        # may not. A transaction does the waiting for it.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration],
    now: Callable[[], datetime],
) -> None:
    """Back up an existing database, then apply the missing migrations in one transaction.

    Raises ConfigError if the database was made by a newer release, or if a migration leaves rows
    that refer to nothing. ``connection`` must be in autocommit with foreign keys switched off.
    """
    newest = migrations[-1].number
    refuse_foreign(connection, path)
    version = current_version(connection)
    if version > newest:
        raise ConfigError(
            str(path),
            f"the database has schema version {version}, this Gridbrush knows up to {newest}",
            "Install the newer Gridbrush again, or go back to the backup from before the update: "
            f"gridbrush restore {path.stem}-v{newest}-….sqlite3",
        )
    if 0 < version < newest:
        moment = now().strftime("%Y%m%dT%H%M%S%fZ")
        backup_copy(path, path.with_name(f"{path.stem}-v{version}-{moment}.sqlite3"))
    apply_missing(connection, path, migrations, now)


def apply_missing(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration],
    now: Callable[[], datetime],
) -> None:
    """Apply the missing migrations in one transaction, without a backup.

    A program that opens the same file meanwhile finds all of them applied, or none: a new file is
    never taken for one of an older release.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: a second process may have started at the same moment.
        version = current_version(connection)
        for migration in migrations:
            if migration.number > version:
                _apply(connection, path, migration, now())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError if the file belongs to another program."""
    hint = "Name another folder in [data] dir."
    program = identity.application(connection)
    if program not in (0, identity.APPLICATION_ID):  # 0: made before it was written down
        problem = f"this database belongs to another program (application id {program:#x})"
        raise ConfigError(str(path), problem, hint)
    tables = {
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    if tables and "schema_version" not in tables:
        raise ConfigError(
            str(path),
            f"this database belongs to another program (it has a table {min(tables)})",
            hint,
        )


def current_version(connection: sqlite3.Connection) -> int:
    """Return the number of the last applied migration, 0 for an empty file."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'")
    if known.fetchone() is None:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(row[0])


def _apply(connection: sqlite3.Connection, path: Path, migration: Migration, at: datetime) -> None:
    connection.execute(_VERSIONS)
    for statement in statements(migration.script):
        connection.execute(statement)
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise ConfigError(
            str(path),
            f"migration {migration.name} left a row in {orphan[0]} that refers to nothing",
            "Nothing was changed. Go back to the older Gridbrush and report this.",
        )
    connection.execute(
        "INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)",
        (migration.number, migration.name, to_timestamp(at)),
    )


def check_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Check every page, index and reference. Raises ConfigError if anything is damaged."""
    outcome = _check(connection, "integrity_check")
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        outcome.append(f"a row in {orphan[0]} refers to nothing")
    if outcome != ["ok"]:
        raise ConfigError(
            str(path), f"the database is damaged ({'; '.join(outcome)})", f"{RESTORE_HINT}."
        )


def backup_copy(source: Path, target: Path, *, unused: bool = False) -> None:
    """Copy a database, which may be in use unless ``unused`` is set, and check the copy.

    ``target`` is written atomically: one file, readable by its owner only, without a write-ahead
    log, with an identity number of its own. Raises FileExistsError if it exists, ConfigError if the
    copy is damaged, and sqlite3.Error or OSError. Blocking.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    create_private_file(partial)
    try:
        with (
            closing(sqlite3.connect(read_only(source, unused=unused), uri=True)) as reader,
            closing(sqlite3.connect(partial, isolation_level=None)) as writer,
        ):
            reader.backup(writer, progress=_give_up_after(_BUSY_SECONDS))
            writer.execute("PRAGMA journal_mode = DELETE")
            identity.renumber(writer)
            check_sound(writer, source)
        fsync_path(partial)
        partial.replace(target)
        fsync_path(target.parent)
    finally:
        for left in (partial, *identity.companions(partial)):
            left.unlink(missing_ok=True)


def _give_up_after(seconds: float) -> Callable[[int, int, int], None]:
    """Return a progress callback that ends a backup of a locked file; sqlite3 would never."""
    give_up = time.monotonic() + seconds

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > give_up:
            raise TimeoutError(f"another program has held it for {seconds:g} s")

    return progress


def read_only(path: Path, *, unused: bool = False) -> str:
    """Return the URI with which SQLite opens ``path`` read-only.

    If the file is ``unused`` and has no log, SQLite makes no files beside it.
    """
    still = unused and not identity.companions(path)[0].exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if still else ''}"


def create_private_file(path: Path) -> None:
    """Create an empty file for its owner only: it will hold prompts and interaction tokens."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
