"""Keep the bot's files private to its own user.

Files are created private: under ``private_umask`` nothing that this process or its children create
(databases, images, job scripts) has permissions for group and others. Files that an earlier version
left open are found and closed. Everything here blocks.
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
_BOT_FILES: Final = (
    *("gridbrush*.sqlite3*", "*.lock", "commands.json", ".commands.json*.part"),
    *("jobs", "backups", "local", "slurm", "scripted", "deepsquare", "play"),
)


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Create files with 0600 and folders with 0700 inside the block."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


@dataclass(frozen=True, slots=True)
class Open:
    """A file or folder that others may access; ``mode`` is its permission bits."""

    path: Path
    mode: int


def find_open(
    folder: Path, names: Iterable[str] = _BOT_FILES, *, itself: bool = True
) -> tuple[Open, ...]:
    """Find what other users may access: ``names`` in ``folder`` with all below, and ``itself``.

    Links are not followed.
    """
    found = [Open(folder, stat.S_IMODE(folder.stat().st_mode))] if itself else []
    for path in sorted({path for name in names for path in folder.glob(name)}):
        found += _walk(path)
    return tuple(entry for entry in found if entry.mode & OTHERS)


def close_to_others(folder: Path, found: Iterable[Open]) -> tuple[list[Open], list[Open]]:
    """Make private what ``find_open`` found; return what was changed and what was not.

    ``folder`` itself is left unchanged if it contains files that are not the bot's, or if it is
    shared, such as ``/tmp``.
    """
    closed: list[Open] = []
    left: list[Open] = []
    for entry in found:
        try:
            if entry.path == folder and _is_shared(folder):
                left.append(entry)
                continue
            entry.path.chmod(entry.mode & ~OTHERS)
        except OSError:
            left.append(entry)
        else:
            closed.append(entry)
    return closed, left


def _is_shared(folder: Path) -> bool:
    if folder.stat().st_mode & stat.S_ISVTX:
        return True
    ours = {path for name in _BOT_FILES for path in folder.glob(name)}
    return any(path not in ours for path in folder.iterdir())


def _walk(top: Path) -> Iterator[Open]:
    """Yield ``top`` and all below it, skipping what vanishes meanwhile."""
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
