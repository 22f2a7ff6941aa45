"""Ask the resident workers of ``bot.txt2img`` what they do.

The protocol: ``bot/txt2img/engines/worker/protocol.py``, two lengths of 4 bytes, then JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.domain.json_parser import parse_json

_HEADER: Final = struct.Struct(">II")
_REQUEST: Final = json.dumps({"kind": "status", "blobs": []}).encode()
_TIMEOUT_SECONDS: Final = 2.0
_MAX_BYTES: Final = 1 << 20
_DESCRIPTORS: Final = "/proc/self/fd"
_HAS_DESCRIPTORS: Final = Path(_DESCRIPTORS).is_dir()


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker; ``models`` are where its loaded models lie, ``waiting`` rows of which one runs."""

    pid: int
    models: tuple[str, ...]
    waiting: int


async def read_workers(folder: Path) -> tuple[tuple[WorkerStatus, ...], int]:
    """Return the workers whose sockets lie in ``folder``, and how many sockets are dead.

    A worker that died is started anew by the next row; never raises.
    """
    sockets = await asyncio.to_thread(_list_sockets, folder)
    answers = await asyncio.gather(*map(_ask, sockets))
    found = tuple(answer for answer in answers if answer is not None)
    return found, len(sockets) - len(found)


def show_workers(workers: Sequence[WorkerStatus], dead: int) -> str:
    """Return one phrase for the operator; empty if there is no worker."""
    parts = []
    if workers:
        models = sum(len(worker.models) for worker in workers)
        rows = sum(worker.waiting for worker in workers)
        parts.append(f"workers {len(workers)} with {models} loaded models and {rows} rows")
    if dead:
        parts.append(f"workers {dead} that died, started anew by the next row")
    return ", ".join(parts)


def _list_sockets(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_socket())
    except OSError:
        return []


async def _ask(path: Path) -> WorkerStatus | None:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await _connect(path)
            try:
                writer.write(_HEADER.pack(len(_REQUEST), 0) + _REQUEST)
                length, _ = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                if length > _MAX_BYTES:
                    return None
                answer = parse_json(await reader.readexactly(length))
            finally:
                writer.close()
        models = tuple(map(str, answer["models"]))
        return WorkerStatus(int(answer["pid"]), models, int(answer["waiting"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the socket; its path may be longer than the 108 bytes that an address has."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"{_DESCRIPTORS}/{folder}/{path.name}" if _HAS_DESCRIPTORS else str(path)
        return await asyncio.open_unix_connection(short)
    finally:
        os.close(folder)
