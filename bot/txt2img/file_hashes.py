"""Tell model files apart by their sha256, or faster by size and time.

Hashes are kept beside the worker's socket, as files are several GB.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def file_sha256(path: Path, cache: Path | None) -> str:
    """Return the file's sha256 as hexadecimal digits. Blocking: seconds for several GB.

    ``cache`` is a JSON file of earlier results, valid while size and time of change are the same;
    None keeps nothing. Raises OSError for the model file alone.
    """
    found = path.stat()
    key = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
    known = _read(cache)
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _write(cache, known)
    return known[key]


def files_version(location: str, file: Path | None, size: int) -> str:
    """Return a text that changes when a model's single file, or its folder's index, is replaced.

    ``size`` is that of its weights in bytes. Empty for a name on the hub.
    """
    try:
        changed_at = (file or Path(location) / "model_index.json").stat().st_mtime_ns
    except OSError:
        return ""
    return f"{size}-{changed_at}"


def _read(cache: Path | None) -> dict[str, str]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8")) if cache else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path | None, known: dict[str, str]) -> None:
    if cache is None:
        return
    part = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
        part.replace(cache)
    except OSError:
        part.unlink(missing_ok=True)
