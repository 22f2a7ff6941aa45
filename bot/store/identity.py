"""Identify a database file: whose it is, and which write-ahead log belongs to it.

The file's header holds two numbers: SQLite's ``application_id`` marks it as Gridbrush's, and
``user_version`` is a random number that no other copy has. The second is also written to a small
file beside the database (``gridbrush.sqlite3.id``). SQLite applies whatever write-ahead log lies
beside a file. If the main file was replaced by hand and the old log was left, the two numbers
differ, and the file is not opened. Everything here blocks.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from bot.domain.errors import ConfigError
from bot.files import atomic_write

APPLICATION_ID: Final = 0x47726264
"""``Grbd``."""

_HEADER_BYTES = 100
_NUMBER_AT = slice(60, 64)


def companions(path: Path) -> tuple[Path, ...]:
    """Return the paths of the files that SQLite keeps beside a database."""
    return tuple(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))


def application(connection: sqlite3.Connection) -> int:
    """Return the file's application id, 0 if it has none."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def renumber(connection: sqlite3.Connection) -> None:
    """Give a copy a number that neither its original nor any other copy has."""
    number = int.from_bytes(os.urandom(4), "big") >> 1 or 1
    connection.execute(f"PRAGMA user_version = {number}")


def refuse_stale_log(path: Path) -> None:
    """Raise ConfigError if the write-ahead log beside ``path`` is that of another file."""
    log = companions(path)[0]
    ours, expected = _number_in_header(path), _number_beside(path)
    if 0 in (ours, expected) or ours == expected or not _has_bytes(log):
        return
    raise ConfigError(
        str(path),
        f"this file was put in place by hand, and {log.name} beside it belongs to the file before",
        "Nothing was changed. Run `gridbrush restore FILE` with the file that you want; or, to go "
        f"on with this one as it is, move {log.name} and {path.name}-shm away.",
    )


def establish(connection: sqlite3.Connection, path: Path) -> None:
    """Write both numbers into a file without them, and the second one beside it. Idempotent."""
    if not application(connection) or not _number(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not _number(connection):  # another process may have been faster
                renumber(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    note(path, _number(connection))


def note(path: Path, number: int) -> None:
    """Write ``number`` atomically to the file beside the database at ``path``."""
    if _number_beside(path) == number:
        return
    with atomic_write(beside(path)) as part:
        part.write_text(f"{number}\n", encoding="ascii")


def _number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def beside(path: Path) -> Path:
    """Return the path of the small file that holds a database's number."""
    return path.with_name(path.name + ".id")


def _number_in_header(path: Path) -> int:
    """Return the number in the main file, ignoring its log; 0 if there is none."""
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(_HEADER_BYTES)[_NUMBER_AT], "big")
    except OSError:
        return 0


def _number_beside(path: Path) -> int:
    try:
        return int(beside(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
