"""What is kept of a member, and forgetting it: words in the database, pictures on disk.

States, times and the count of images stay, since quota and the ledger rest on them. Messages in
Discord are not touched here: their own buttons delete them.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.domain.errors import BackendError
from bot.services.queue import Actor
from bot.store import audit, job_queries
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.sqlite_errors import disk_faults

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredDataReport:
    """What is kept of one member, in all servers together.

    ``jobs`` have their prompt (of them ``unfinished`` wait or run), ``erased`` no longer;
    ``files`` are pictures and their metadata on disk, of so many ``size`` bytes.
    """

    jobs: int
    unfinished: int
    erased: int
    files: int
    size: int


class PrivacyService:
    """``folder`` says where a job's pictures lie, ``forget`` has the backend remove its own."""

    def __init__(
        self,
        database: Database,
        folder: Callable[[str], Path],
        *,
        forget: Callable[[str], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._folder = folder
        self._forget = forget
        self._now = now

    async def report(self, user_id: int) -> StoredDataReport:
        """Count what is kept of a member."""
        kept = await self._database.read(job_queries.stored_counts(user_id))
        ended = await self._database.read(job_queries.ended_ids(user_id))
        files, size = await asyncio.to_thread(_weigh, [self._folder(job_id) for job_id in ended])
        return StoredDataReport(kept.jobs, kept.unfinished, kept.erased, files, size)

    async def erase(self, guild_id: int, member: Actor) -> int:
        """Forget a member's ended jobs, everywhere; how many there were.

        Unfinished ones are left alone: cancel them first. Asking again removes what an interrupted
        attempt has left. ``guild_id`` is where it was asked for, for the audit.
        """
        at = self._now()

        def forget(link: sqlite3.Connection) -> int:
            erased = job_table.erase_author_data(link, member.id, at=at)
            audit.record_action(
                link,
                at=at,
                guild_id=guild_id,
                actor_id=member.id,
                action="erase",
                subject=f"user:{member.id}",
                detail={"jobs": len(erased)},
            )
            return len(erased)

        count = await self._database.write(forget)
        ended = await self._database.read(job_queries.ended_ids(member.id))
        with disk_faults():
            await asyncio.to_thread(_remove, [self._folder(job_id) for job_id in ended])
        for job_id in ended:
            try:
                await self._forget(job_id)
            except BackendError as error:
                log.warning("the backend still has it: %s", error, extra={"job": job_id})
        log.info("erased %d jobs of a member at their wish", count)
        return count


def _weigh(folders: Iterable[Path]) -> tuple[int, int]:
    """Blocking. The number of files and their size in bytes."""
    sizes = [
        path.stat().st_size for folder in folders for path in folder.glob("**/*") if path.is_file()
    ]
    return len(sizes), sum(sizes)


def _remove(folders: Iterable[Path]) -> None:
    """Blocking. Folders that are not there are no error."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
