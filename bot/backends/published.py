"""Files that a job published: checked against what its signed marker announced.

Shared by the backends whose jobs publish into a folder. It knows nothing of pictures; the engine
looks inside them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.domain.errors import ArtifactDamaged, ArtifactMissing, Unavailable
from bot.domain.events import Artifact

MAX_BYTES = 256 * 1024 * 1024
CHUNK = 1 << 20


def resolve_artifact(artifact: Artifact, folder: Path) -> Path:
    """The file behind a ``file://`` address, which must lie below ``folder``.

    Raises ArtifactMissing for any other address, whatever tricks it holds, ArtifactDamaged while
    there is no such file, and Unavailable while the folder itself is away. Blocking.
    """
    parts = urlsplit(artifact.url)
    if parts.scheme != "file" or parts.netloc:
        raise ArtifactMissing(f"{artifact.url!r} is not an address of this machine")
    path = Path(unquote(parts.path)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ArtifactMissing(f"{artifact.url!r} is outside the folder where jobs publish")
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not there; is it mounted?")
    # To list a folder makes a network file system look again for what was not there a moment ago.
    with contextlib.suppress(OSError):
        os.listdir(path.parent)
    if not path.is_file():
        raise ArtifactDamaged(f"{artifact.url!r} is not there (any more)")
    return path


def copy_published(artifact: Artifact, folder: Path, target: Path) -> None:
    """Copy a published file from below ``folder``, checked. Raises as its two halves. Blocking."""
    copy_verified(resolve_artifact(artifact, folder), artifact, target)


def copy_verified(source: Path, artifact: Artifact, target: Path) -> None:
    """Copy a file and check it on the way; ``target`` appears whole or not at all. Blocking.

    Raises as ``write_checked``, and Unavailable while the file cannot be read.
    """
    write_verified(_chunks(source), artifact, target)


def write_verified(chunks: Iterable[bytes], artifact: Artifact, target: Path) -> None:
    """Write chunks to ``target`` through a temporary file. Raises ArtifactMissing if too much was
    announced, ArtifactDamaged if something else came than was announced. Blocking."""
    if artifact.size > MAX_BYTES:
        raise ArtifactMissing(f"{artifact.size} bytes announced, at most {MAX_BYTES} are taken")
    digest, size = hashlib.sha256(), 0
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as out:
            for chunk in chunks:
                size += len(chunk)
                if size > artifact.size:
                    raise ArtifactDamaged(f"more bytes than the {artifact.size} announced")
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if size != artifact.size or digest.hexdigest() != artifact.sha256:
            raise ArtifactDamaged(f"{artifact.url!r} is not the file that was announced")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _chunks(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise ArtifactDamaged(f"{source} is not there (any more)") from error
    except OSError as error:
        raise Unavailable(f"{source} cannot be read: {error.strerror}") from error
