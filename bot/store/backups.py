"""Back up the database file and put a backup in its place.

Replacing deletes nothing: the old file and its write-ahead log are renamed with a date. Everything
here blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.domain.errors import ConfigError
from bot.domain.job import TERMINAL
from bot.files import fsync_path
from bot.store import identity, migrations
from bot.store.database import placeholders
from bot.store.serialization import parse_timestamp
from bot.store.sqlite_errors import map_sqlite_error

_ANOTHER = "Use another backup; `gridbrush restore` lists them."
STAMP = "%Y%m%dT%H%M%S%fZ"
"""The format of a time (UTC) in a file name."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a database contains; ``newest`` is when its last job was accepted."""

    version: int
    jobs: int
    unfinished: int
    newest: datetime | None


def back_up(source: Path, target: Path) -> None:
    """Copy a database that may be in use to ``target``, which must not exist.

    Raises ConfigError with ``target`` as location if that fails; nothing is left behind then.
    """
    try:
        migrations.backup_copy(source, target)
    except sqlite3.Error as error:
        raise map_sqlite_error(error, target) from error
    except OSError as error:
        raise ConfigError(
            str(target),
            f"the backup cannot be written ({error.strerror or error})",
            "Name a file that does not exist yet, in a folder with enough space.",
        ) from error


def summarise(path: Path) -> Summary:
    """Summarise a database that nobody has open. Raises ConfigError if it is not Gridbrush's."""
    try:
        uri = migrations.read_only(path, unused=True)
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _summary(connection, path)
    except sqlite3.Error as error:
        raise _explained(error, path) from error


def prepare(source: Path, target: Path, now: Callable[[], datetime]) -> Summary:
    """Copy a backup to ``target``, check and migrate it, and return what the backup contains.

    Raises ConfigError if it is damaged, newer than this release, or another program's.
    """
    if not source.is_file():
        raise ConfigError(str(source), "there is no such file", _ANOTHER)
    discard(target)
    try:
        migrations.backup_copy(source, target, unused=True)
        with closing(sqlite3.connect(target, isolation_level=None)) as connection:
            summary = _summary(connection, source)
            migrations.apply_missing(connection, target, migrations.load_migrations(), now)
            if not identity.application(connection):
                connection.execute(f"PRAGMA application_id = {identity.APPLICATION_ID}")
        return summary
    except ConfigError:
        discard(target)
        raise
    except (sqlite3.Error, OSError) as error:
        discard(target)
        raise _explained(error, source) from error


def exchange(path: Path, prepared: Path, at: datetime) -> tuple[Path, ...]:
    """Replace ``path`` by ``prepared`` and return the new paths of the old files.

    If it is interrupted, there is no database at ``path``, which the next start notices.
    """
    aside: list[Path] = []
    for old in (path, *identity.companions(path)):
        if old.exists():
            ending = old.name.removeprefix(path.stem)
            new = old.with_name(f"{path.stem}-replaced-{at.strftime(STAMP)}{ending}")
            old.rename(new)
            aside.append(new)
    fsync_path(path.parent)
    with closing(
        sqlite3.connect(migrations.read_only(prepared, unused=True), uri=True)
    ) as connection:
        number = int(connection.execute("PRAGMA user_version").fetchone()[0])
    prepared.replace(path)
    identity.note(path, number)
    fsync_path(path.parent)
    return tuple(aside)


def discard(prepared: Path) -> None:
    """Delete a prepared copy that was not put in place."""
    for file in (prepared, *identity.companions(prepared)):
        file.unlink(missing_ok=True)


def _summary(connection: sqlite3.Connection, path: Path) -> Summary:
    migrations.refuse_foreign(connection, path)
    version, newest = (
        migrations.current_version(connection),
        migrations.load_migrations()[-1].number,
    )
    if version == 0:
        raise ConfigError(str(path), "it is empty: no database of Gridbrush", _ANOTHER)
    if version > newest:
        problem = f"it has schema version {version}, this Gridbrush knows up to {newest}"
        raise ConfigError(str(path), problem, "Install the newer Gridbrush first.")
    unfinished = f"sum(state NOT IN ({placeholders(len(TERMINAL))}))"
    row = connection.execute(
        f"SELECT count(*), coalesce({unfinished}, 0), max(created_at) FROM jobs", tuple(TERMINAL)
    ).fetchone()
    return Summary(version, int(row[0]), int(row[1]), parse_timestamp(row[2]))


def _explained(error: sqlite3.Error | OSError, path: Path) -> Exception:
    if isinstance(error, OSError):
        return ConfigError(str(path), f"it cannot be copied ({error.strerror or error})", _ANOTHER)
    told = map_sqlite_error(error, path)
    if isinstance(told, ConfigError):
        return ConfigError(told.location, told.problem, _ANOTHER)
    return told
