"""What SQLite's errors mean to the operator. Knows error codes, and not who met them.

Only troubles of the machine are translated (disk full, file damaged, locked by another program …).
A broken constraint or a misspelt column is a defect of the bot and stays the sqlite3 error it is.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bot.domain.errors import ConfigError

RESTORE = "Stop the bot and run `gridbrush restore`: it lists the backups and puts one in place"
_TROUBLES = {
    sqlite3.SQLITE_BUSY: (
        "the database is held by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_LOCKED: (
        "the database is held by another program",
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
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", RESTORE),
    sqlite3.SQLITE_NOTADB: ("this is not a SQLite database", RESTORE),
}


def explain(error: sqlite3.Error, path: Path) -> Exception:
    """The ConfigError to raise in place of ``error``, or ``error`` itself if it is a defect."""
    # The low byte is the kind of trouble; the rest tells variants apart that have one mend.
    trouble = _TROUBLES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if trouble is None:
        return error
    problem, mend = trouble
    return ConfigError(str(path), f"{problem} ({error})", mend + ".")
