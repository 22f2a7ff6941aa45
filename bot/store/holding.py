"""Keeping everybody from writing to a database for a while, to see how they bear it.

The playground's page offers it; nothing of the bot itself ever does this.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path


async def hold_store(path: Path, seconds: float) -> None:
    """Keep everybody from writing to the database at ``path`` for so many seconds.

    Cancelling ends it at once. Raises sqlite3.OperationalError if the lock cannot be had in 5 s.
    """
    ended = threading.Event()
    holding = asyncio.ensure_future(asyncio.to_thread(_hold_store, path, seconds, ended))
    try:
        await asyncio.shield(holding)
    finally:
        # The connection is its thread's alone: closing it from here could crash the program.
        ended.set()
        await asyncio.wait({holding})


def _hold_store(path: Path, seconds: float, ended: threading.Event) -> None:
    """Blocking."""
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        ended.wait(seconds)
