"""Real ways in which a database cannot be used for a while, to begin and to end at will.

Each works on the connection or the process; none replaces anything of ours.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store.database import Database

HELD = "locked by another program"
FULL = "disk is full"
READ_ONLY = "cannot be written to"
IO = "could not be read or written"


def _truncate_log(database: Database) -> None:
    """Empty the write-ahead log by a connection of its own: the writer may be in a transaction."""
    with contextlib.closing(sqlite3.connect(database.path, timeout=10)) as connection:
        for _ in range(200):
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
    raise AssertionError("the write-ahead log is always in use")


class Outage:
    """``cause`` is a part of what is said of it."""

    cause = ""

    def begin(self, database: Database) -> None:
        raise NotImplementedError

    def end(self, database: Database) -> None:
        raise NotImplementedError

    def __str__(self) -> str:
        return type(self).__name__


def connection_of(database: Database) -> sqlite3.Connection:
    """The writing connection; SQLite itself lets threads share it."""
    return database._writer._connection


class Full(Outage):
    """No page may be added, and by triggers every write needs one: SQLITE_FULL without a disk."""

    cause = FULL

    def begin(self, database: Database) -> None:
        link = connection_of(database)
        names = [
            name
            for (name,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not name.startswith("sqlite_") and name != "ballast"
        ]
        link.execute("CREATE TABLE IF NOT EXISTS ballast (data)")
        for name in names:
            for verb in ("INSERT", "UPDATE", "DELETE"):
                link.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {verb}_{name} AFTER {verb} ON {name} "
                    "BEGIN INSERT INTO ballast VALUES (zeroblob(9000)); END"
                )
        (pages,) = link.execute("PRAGMA page_count").fetchone()
        link.execute(f"PRAGMA max_page_count = {pages}")

    def end(self, database: Database) -> None:
        connection_of(database).execute("PRAGMA max_page_count = 1000000")


class Held(Outage):
    """Another connection holds the lock for writing."""

    cause = HELD

    def begin(self, database: Database) -> None:
        self._other = sqlite3.connect(database.path, isolation_level=None)
        self._other.execute("BEGIN EXCLUSIVE")

    def end(self, database: Database) -> None:
        self._other.execute("ROLLBACK")
        self._other.close()


class ReadOnly(Outage):
    """SQLITE_READONLY for whatever writes."""

    cause = READ_ONLY

    def begin(self, database: Database) -> None:
        connection_of(database).execute("PRAGMA query_only = ON")

    def end(self, database: Database) -> None:
        connection_of(database).execute("PRAGMA query_only = OFF")


class Broken(Outage):
    """No file may grow beyond a page: the kernel refuses what SQLite writes (SQLITE_IOERR)."""

    cause = IO

    def begin(self, database: Database) -> None:
        _truncate_log(database)
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, self._limits[1]))

    def end(self, database: Database) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


class FullDisk(Outage):
    """A file takes all that is left of a small disk."""

    cause = FULL

    def begin(self, database: Database) -> None:
        _truncate_log(database)
        self._ballast = database.path.parent / "ballast"
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def end(self, database: Database) -> None:
        self._ballast.unlink()


OUTAGES = (Full, Held, ReadOnly, Broken)


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "6m") -> Iterator[Path]:
    """A disk of its own, so small that it can be filled; only root may make one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
