"""Files that a job published: checked against what its signed marker announced.

Shared by the backends whose jobs publish into a folder. It knows nothing of pictures; the engine
looks inside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.domain.errors import ArtifactMissing
from bot.domain.events import Artifact

MAX_BYTES = 256 * 1024 * 1024
CHUNK = 1 << 20


def published_file(artifact: Artifact, folder: Path) -> Path:
    """The file behind a ``file://`` address, which must lie below ``folder``.

    Raises ArtifactMissing for any other address, whatever tricks it holds.
    """
    parts = urlsplit(artifact.url)
    if parts.scheme != "file" or parts.netloc:
        raise ArtifactMissing(f"{artifact.url!r} is not an address of this machine")
    path = Path(unquote(parts.path)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ArtifactMissing(f"{artifact.url!r} is outside the folder where jobs publish")
    if not path.is_file():
        raise ArtifactMissing(f"{artifact.url!r} is not there any more")
    return path


def copy_checked(source: Path, artifact: Artifact, target: Path) -> None:
    """Copy a file and check it on the way; ``target`` appears whole or not at all. Blocking."""
    with source.open("rb") as stream:
        write_checked(iter(lambda: stream.read(CHUNK), b""), artifact, target)


def write_checked(chunks: Iterable[bytes], artifact: Artifact, target: Path) -> None:
    """Write chunks to ``target`` through a temporary file. Raises ArtifactMissing if too large or
    different from what was announced. Blocking."""
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
                    raise ArtifactMissing(f"more bytes than the {artifact.size} announced")
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if size != artifact.size or digest.hexdigest() != artifact.sha256:
            raise ArtifactMissing(f"{artifact.url!r} is not the file that was announced")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
