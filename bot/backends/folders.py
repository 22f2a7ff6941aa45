"""Jobs as folders: which folder is a job's, its log read by offset, old ones forgotten.

Shared by the backends whose jobs leave their truth in files. It knows nothing of how a job runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from bot.backends.base import LogLine
from bot.domain.errors import LogStreamLost, SubmissionRejected

KEEP_DAYS = 7
READ_BYTES = 1 << 18


def job_folder(jobs: Path, job_id: str) -> Path:
    """The folder of a job. Raises SubmissionRejected for an id that is no safe file name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", job_id):
        raise SubmissionRejected(f"{job_id!r} cannot be a job id")
    return jobs / job_id


async def read_lines(log: Path, offset: int, *, final: bool) -> list[LogLine]:
    """Some lines that begin at byte ``offset``, empty at the end of the log.

    A last line without its newline counts only if the log is ``final``. Raises LogStreamLost.
    """
    data = await asyncio.to_thread(_read, log, offset)
    pieces = data.splitlines(keepends=True)
    if pieces and not final and not pieces[-1].endswith(b"\n") and len(data) < READ_BYTES:
        pieces.pop()
    lines: list[LogLine] = []
    for piece in pieces:
        offset += len(piece)
        lines.append(LogLine(piece, str(offset)))
    return lines


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to a file that only its owner may read, kept by the disk. Blocking."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def forget_ended(jobs: Path, now: float, last_files: Iterable[str] = ("result",)) -> None:
    """Remove the folders of jobs that ended ``KEEP_DAYS`` ago.

    A job has ended when one of ``last_files`` is there; ``now`` is in Unix seconds. Blocking.
    """
    horizon = now - KEEP_DAYS * 86400
    for name in last_files:
        for last in jobs.glob(f"*/{name}"):
            with contextlib.suppress(FileNotFoundError):
                if last.stat().st_mtime < horizon:
                    shutil.rmtree(last.parent, ignore_errors=True)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(READ_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LogStreamLost(f"cannot read the log: {error.strerror}") from error
