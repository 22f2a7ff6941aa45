"""Inject a fault: lock the database against writing for a while.

Offered by the playground's page only; the bot never does this.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path


async def hold_store(path: Path, seconds: float) -> None:
    """Lock the database at ``path`` against writing for ``seconds``.

    Cancelling releases the lock at once. Raises sqlite3.OperationalError if the lock cannot be
    taken within 5 s.
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
    """Hold an exclusive lock until ``ended`` is set or the time is over. Blocking."""
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        ended.wait(seconds)
