"""Translate SQLite's and the disk's errors into the bot's own.

ConfigError while a database is opened; StoreUnavailable or StoreDamaged once it is open.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.domain.errors import ConfigError, StoreDamaged, StoreUnavailable

RESTORE_HINT = (
    "Stop the bot and run `gridbrush restore`: it lists the backups and puts one in place"
)
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: (
        "the database is locked by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_LOCKED: (
        "the database is locked by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        "the database is locked by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written to",
        "Give the bot's user write permission on this file and on its folder",
    ),
    sqlite3.SQLITE_PERM: (
        "the database cannot be written to",
        "Give the bot's user write permission on this file and on its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the database cannot be opened",
        "Check that [data] dir is a folder the bot's user may write to",
    ),
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space; nothing that was saved is lost"),
    sqlite3.SQLITE_IOERR: (
        "the disk could not be read or written",
        "Check the disk and the system log",
    ),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", RESTORE_HINT),
    sqlite3.SQLITE_NOTADB: ("this is not a SQLite database", RESTORE_HINT),
}
_LOCKED_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_PASSING_CODES = _LOCKED_CODES | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow any further",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "the data folder cannot be written to",
    errno.EPERM: "the data folder cannot be written to",
    errno.EIO: "the disk could not be read or written",
    errno.ESTALE: "the disk could not be read or written",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}
_PASSING_ERRNOS = frozenset(_DISK_CAUSES) - {errno.EROFS, errno.EACCES, errno.EPERM}


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code: the low byte; the rest tells variants apart."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_held(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the database, which is normal for a moment."""
    return primary_code(error) in _LOCKED_CODES


def map_sqlite_error(error: sqlite3.Error, path: Path) -> Exception:
    """Return the ConfigError for ``error``, or ``error`` itself if it is a bug."""
    known = _PROBLEMS.get(primary_code(error))
    if known is None:
        return error
    problem, hint = known
    return ConfigError(str(path), f"{problem} ({error})", hint + ".")


def explain_open(error: sqlite3.Error, path: Path) -> Exception:
    """Return what to raise instead of ``error`` once the database is open.

    StoreUnavailable for an outage, StoreDamaged for a damaged file, ``error`` itself for a bug.
    """
    known = _PROBLEMS.get(primary_code(error))
    if known is None:
        return error
    problem, hint = known
    if primary_code(error) in _DAMAGED_CODES:
        return StoreDamaged(str(path), f"{problem} ({error})", hint + ".")
    return StoreUnavailable(problem)


def explain_disk(error: OSError) -> StoreUnavailable | None:
    """Return StoreUnavailable if the disk or the folder is the cause, else None."""
    cause = _DISK_CAUSES.get(error.errno or 0)
    return None if cause is None else StoreUnavailable(cause)


def passing_cause(error: BaseException) -> str:
    """Return why ``error`` or what caused it will pass by itself; "" if it will not.

    Locks of other programs pass, and a disk that is full or fails may be repaired. Permissions and
    damage are for the operator.
    """
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, sqlite3.Error) and primary_code(chain) in _PASSING_CODES:
            return _PROBLEMS[primary_code(chain)][0]
        if isinstance(chain, OSError) and chain.errno in _PASSING_ERRNOS:
            return _DISK_CAUSES[chain.errno]
        chain = chain.__cause__
    return ""


@contextmanager
def disk_faults() -> Iterator[None]:
    """Raise StoreUnavailable instead of an OSError that may pass."""
    try:
        yield
    except OSError as error:
        reason = explain_disk(error)
        if reason is None:
            raise
        raise reason from error
