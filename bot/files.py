"""Write files whole or not at all. Blocking, except ``atomic_write_async``."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_PROGRAM: Final = 0o700

# A network file system may have no fsync for folders.
_FSYNC_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP})


@contextlib.contextmanager
def atomic_write(path: Path, *, mode: int = PRIVATE_FILE) -> Iterator[Path]:
    """Yield an empty temporary file beside ``path``, and move it to ``path`` when the block ends.

    The file gets exactly ``mode``, whatever the umask is. Its content and its name are on disk when
    this returns. If the block raises, the temporary file is removed and ``path`` stays as it was.
    The folder must exist. Callers that write the same ``path`` at once do not disturb each other:
    the last one wins. Raises OSError.
    """
    temporary = _create(path, mode)
    try:
        yield temporary
        _commit(temporary, path)
    finally:
        _remove(temporary)


@contextlib.asynccontextmanager
async def atomic_write_async(path: Path, *, mode: int = PRIVATE_FILE) -> AsyncIterator[Path]:
    """Do as ``atomic_write`` does, with all work on the disk in threads."""
    temporary = await asyncio.to_thread(_create, path, mode)
    try:
        yield temporary
        await asyncio.to_thread(_commit, temporary, path)
    finally:
        _remove(temporary)


def fsync_path(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's list of files. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary_files(folder: Path) -> None:
    """Remove what ``atomic_write`` has left in ``folder`` in processes that were killed.

    Nobody may be writing there meanwhile.
    """
    for temporary in folder.glob(".*.part"):
        _remove(temporary)


def _create(path: Path, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        os.fchmod(descriptor, mode)
    except OSError:
        _remove(Path(name))
        raise
    finally:
        os.close(descriptor)
    return Path(name)


def _commit(temporary: Path, path: Path) -> None:
    fsync_path(temporary)
    temporary.replace(path)
    try:
        fsync_path(path.parent)
    except OSError as error:
        if error.errno not in _FSYNC_NOT_SUPPORTED:
            raise


def _remove(temporary: Path) -> None:
    # Whatever is wrong with the folder has been said by the error that led here.
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
