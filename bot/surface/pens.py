"""One pen for each card: whoever writes on a card holds its pen, and a settled card stays as it is.

The reporter draws progress while the courier brings the result; a late progress bar must never
overwrite a finished picture. Knows jobs by id only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class KeyedLock:
    """Locks by job id that exist only while somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def acquire(self, job_id: str) -> AsyncIterator[None]:
        """The card of this job is the caller's until the block ends."""
        lock = self._locks.setdefault(job_id, asyncio.Lock())
        self._users[job_id] = self._users.get(job_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[job_id] -= 1
            if not self._users[job_id]:
                del self._users[job_id], self._locks[job_id]

    def __len__(self) -> int:
        return len(self._locks)
