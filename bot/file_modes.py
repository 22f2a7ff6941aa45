"""Who may read the bot's files: its own user, nobody else.

Files are made private rather than changed afterwards: while ``private_umask`` holds, whatever this
process and its children make has no rights for group and others, whoever makes it (SQLite,
pictures, job scripts). What an earlier version has left open is found here, and closed. Blocking.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OTHERS: Final = 0o077
_OURS: Final = (
    *("gridbrush*.sqlite3*", "*.lock", "commands.json", ".commands.json*.part"),
    *("jobs", "backups", "local", "slurm", "scripted", "deepsquare", "play"),
)


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Make new files private, 0600 and 0700, until the block ends."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


@dataclass(frozen=True, slots=True)
class Open:
    """A file or folder that others may read or write; ``mode`` is its permission bits."""

    path: Path
    mode: int


def find_open(
    folder: Path, names: Iterable[str] = _OURS, *, itself: bool = True
) -> tuple[Open, ...]:
    """What in ``folder`` is open to other users: ``names`` in it with all below, and ``itself``.

    Links are not followed.
    """
    found = [Open(folder, stat.S_IMODE(folder.stat().st_mode))] if itself else []
    for path in sorted({path for name in names for path in folder.glob(name)}):
        found += _tree(path)
    return tuple(entry for entry in found if entry.mode & OTHERS)


def close_to_others(folder: Path, found: Iterable[Open]) -> tuple[list[Open], list[Open]]:
    """Close what ``find_open`` has found in ``folder``; what was closed, and what was left.

    A folder that holds other things than the bot's is left as it is itself, and so is one that many
    share, such as ``/tmp``.
    """
    closed: list[Open] = []
    left: list[Open] = []
    for entry in found:
        try:
            if entry.path == folder and _shared(folder):
                left.append(entry)
                continue
            entry.path.chmod(entry.mode & ~OTHERS)
        except OSError:
            left.append(entry)
        else:
            closed.append(entry)
    return closed, left


def _shared(folder: Path) -> bool:
    if folder.stat().st_mode & stat.S_ISVTX:
        return True
    ours = {path for name in _OURS for path in folder.glob(name)}
    return any(path not in ours for path in folder.iterdir())


def _tree(top: Path) -> Iterator[Open]:
    """``top`` and all below it. What vanishes meanwhile is passed over."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                waiting.extend(sorted(path.iterdir(), reverse=True))
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
            yield Open(path, stat.S_IMODE(status.st_mode))
