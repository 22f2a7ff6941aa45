"""Job folders: paths, incremental log reads, verified copies of published files, expiry.

Shared by the backends that keep a job's state in files.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.backends.base import LogLine
from bot.domain.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    LogStreamLost,
    SubmissionRejected,
    Unavailable,
)
from bot.domain.events import Artifact
from bot.files import atomic_write

KEEP_DAYS = 7
READ_BYTES = 1 << 18
PASS_BYTES = 1 << 20
"""Bytes of a log that are read before the job's state is read again."""


def job_dir(jobs: Path, job_id: str) -> Path:
    """Return the folder of a job. Raises SubmissionRejected for an id that is no safe file name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", job_id):
        raise SubmissionRejected(f"{job_id!r} cannot be a job id")
    return jobs / job_id


async def read_log_lines(log: Path, offset: int, *, final: bool) -> list[LogLine]:
    """Read some lines from byte ``offset`` on; an empty list means the end of the log.

    A last line without its newline counts only if the log is ``final``. A line is split only if it
    is longer than READ_BYTES. Raises LogStreamLost.
    """
    data = await asyncio.to_thread(_read_bytes, log, offset)
    chunks = data.splitlines(keepends=True)
    is_partial = bool(chunks) and not chunks[-1].endswith(b"\n")
    is_full = len(data) == READ_BYTES
    if is_partial and (len(chunks) > 1 if is_full else not final):
        chunks.pop()
    lines: list[LogLine] = []
    for chunk in chunks:
        offset += len(chunk)
        lines.append(LogLine(chunk, str(offset)))
    return lines


def write_private(path: Path, text: str) -> None:
    """Write and fsync a file that only its owner may read. Blocking."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


INPUT_FOLDER = "input"


def put_input(folder: Path, source: Path) -> str:
    """Copy a file into a job's folder, for its owner only; return its ``file://`` URL. Blocking.

    Raises OSError.
    """
    inputs = folder / INPUT_FOLDER
    for place in (folder, inputs):
        place.mkdir(mode=0o700, exist_ok=True)
    target = inputs / source.name
    with atomic_write(target) as part:
        shutil.copyfile(source, part)
    return target.as_uri()


def shared_folders(folder: Path, caches: Path) -> tuple[str, ...]:
    """Return the folders that a job's containers need beside its scratch folder. Blocking."""
    inputs = folder / INPUT_FOLDER
    places = (folder / "published", caches, *((inputs,) if inputs.is_dir() else ()))
    return tuple(str(place) for place in places)


async def log_size(log: Path) -> int:
    """Return the size of the log in bytes, 0 if there is none. Raises LogStreamLost."""

    def size() -> int:
        try:
            return log.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise LogStreamLost(f"cannot read the log: {error.strerror}") from error

    return await asyncio.to_thread(size)


async def read_lines_until(
    log: Path, offset: int, end: int, *, final: bool, seconds: float = math.inf
) -> AsyncIterator[LogLine]:
    """Yield the lines that begin between two byte offsets, for at most ``seconds``.

    This ends however fast the log grows, and whoever still writes into it.
    """
    deadline = time.monotonic() + seconds
    while offset < end and time.monotonic() < deadline:
        lines = await read_log_lines(log, offset, final=final)
        if not lines:
            return
        for line in lines:
            offset = int(line.cursor)
            yield line


def delete_expired(jobs: Path, now: float, last_files: Iterable[str] = ("result",)) -> None:
    """Delete the folders of jobs that ended ``KEEP_DAYS`` ago.

    A job has ended when one of ``last_files`` exists; ``now`` is in Unix seconds. Blocking.
    """
    cutoff = now - KEEP_DAYS * 86400
    for name in last_files:
        for last in jobs.glob(f"*/{name}"):
            with contextlib.suppress(FileNotFoundError):
                if last.stat().st_mtime < cutoff:
                    shutil.rmtree(last.parent, ignore_errors=True)


def _read_bytes(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(READ_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LogStreamLost(f"cannot read the log: {error.strerror}") from error


MAX_BYTES = 256 * 1024 * 1024
CHUNK_BYTES = 1 << 20


def resolve_artifact(artifact: Artifact, folder: Path) -> Path:
    """Return the path behind a ``file://`` URL, which must lie below ``folder``.

    Raises ArtifactMissing for any other URL, ArtifactDamaged while the file does not exist, and
    Unavailable while the folder itself is not mounted. Blocking.
    """
    parts = urlsplit(artifact.url)
    if parts.scheme != "file" or parts.netloc:
        raise ArtifactMissing(f"{artifact.url!r} is not a local file")
    path = Path(unquote(parts.path)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ArtifactMissing(f"{artifact.url!r} is outside the folder where jobs publish")
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not there; is it mounted?")
    # Listing the folder makes a network file system refresh its cache.
    with contextlib.suppress(OSError):
        os.listdir(path.parent)
    if not path.is_file():
        raise ArtifactDamaged(f"{artifact.url!r} is not there (any more)")
    return path


def copy_published(artifact: Artifact, folder: Path, target: Path) -> None:
    """Copy a published file from below ``folder`` and verify it. Blocking.

    Raises as ``resolve_artifact`` and ``copy_verified`` do.
    """
    copy_verified(resolve_artifact(artifact, folder), artifact, target)


def copy_verified(source: Path, artifact: Artifact, target: Path) -> None:
    """Copy a file to ``target`` atomically, verifying size and sha256. Blocking.

    Raises as ``write_verified``, and Unavailable while the file cannot be read.
    """
    write_verified(_chunks(source), artifact, target)


def write_verified(chunks: Iterable[bytes], artifact: Artifact, target: Path) -> None:
    """Write chunks to ``target`` atomically, verifying size and sha256. Blocking.

    Raises ArtifactMissing if the announced size is too large, ArtifactDamaged if the bytes are not
    those that were announced.
    """
    if artifact.size > MAX_BYTES:
        raise ArtifactMissing(f"{artifact.size} bytes announced, the limit is {MAX_BYTES}")
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as part:
        with part.open("wb") as out:
            for chunk in chunks:
                size += len(chunk)
                if size > artifact.size:
                    raise ArtifactDamaged(f"more bytes than the {artifact.size} announced")
                digest.update(chunk)
                out.write(chunk)
        if size != artifact.size or digest.hexdigest() != artifact.sha256:
            raise ArtifactDamaged(f"{artifact.url!r} is not the file that was announced")


def _chunks(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError as error:
        raise ArtifactDamaged(f"{source} is not there (any more)") from error
    except OSError as error:
        raise Unavailable(f"{source} cannot be read: {error.strerror}") from error
