"""Lock the data folder between processes; the kernel releases the locks when a process ends.

``bot.lock`` is held by the one bot that uses the folder. ``database.lock`` is shared by every
process that has the database open, including the command line, and held exclusively while
``gridbrush restore`` replaces the file. Both use ``flock`` on files that stay and hold no secret.
Child processes do not inherit them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from bot.domain.errors import ConfigError
from bot.domain.json_parser import parse_json

BOT: Final = "bot.lock"
DATABASE: Final = "database.lock"


class FolderInUse(ConfigError):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock; ``since`` is ISO 8601, UTC."""

    pid: int
    host: str
    what: str
    since: str

    def __str__(self) -> str:
        return f"{self.what}, process {self.pid} on {self.host}, since {self.since}"


@contextlib.contextmanager
def bot_lock(folder: Path, what: str, at: datetime) -> Iterator[None]:
    """Lock ``folder`` as its bot; ``what`` and ``at`` tell others who holds it and since when.

    Raises FolderInUse at once if another process holds it. Blocks briefly.
    """
    with _locked(folder / BOT, fcntl.LOCK_EX) as descriptor:
        if descriptor is None:
            raise FolderInUse(
                str(folder),
                f"a bot already uses this folder ({holder(folder) or 'unknown'})",
                "Stop that one first, or start this one with --standby to take over when it ends.",
            )
        own = Holder(os.getpid(), socket.gethostname(), what, at.isoformat(timespec="seconds"))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(own)).encode(), 0)
        yield


@contextlib.contextmanager
def database_lock(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Share the database in ``folder`` with other processes, or lock it for this one (``alone``).

    Raises FolderInUse at once if the lock is taken. Blocks briefly.
    """
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with _locked(folder / DATABASE, kind) as descriptor:
        if descriptor is not None:
            yield
        elif alone:
            problem = "the database is in use by another gridbrush command"
            raise FolderInUse(str(folder), problem, "Wait until it has ended, or end it.")
        else:
            problem = "the database is being replaced by gridbrush restore"
            raise FolderInUse(str(folder), problem, "Try again when that has ended.")


def holder(folder: Path) -> Holder | None:
    """Return who holds, or last held, the bot's lock; None if unknown."""
    try:
        return Holder(**parse_json((folder / BOT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[int | None]:
    """Lock the file and yield its descriptor, or None if another process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "Name a folder in [data] dir that the bot's user may write to."
        raise ConfigError(str(path), f"cannot be opened ({error.strerror})", hint) from error
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        except OSError as error:
            problem = f"this file system has no locks ({error.strerror})"
            hint = "Keep [data] dir on a local disk."
            raise ConfigError(str(path), problem, hint) from error
        else:
            yield descriptor
    finally:
        os.close(descriptor)
