"""Report and erase what is stored about a member: texts in the database, images on disk.

States, times and counts of images stay, because quota and ledger need them. Messages in Discord
stay: their own buttons delete them. What others have reported stays, too, as evidence.
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
from bot.services.init_images import InitImageStore
from bot.services.queue import Actor
from bot.services.reports import erase_reporter
from bot.store import audit, gallery, job_queries, request_sets
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.gallery import GalleryRepository
from bot.store.reports import ReportRepository
from bot.store.request_sets import RequestSetRepository
from bot.store.sqlite_errors import disk_faults

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredDataReport:
    """What is stored about one member, in all servers together.

    ``jobs`` still have their prompt (``unfinished`` of them wait or run), ``erased`` have not.
    ``files`` counts images and metadata on disk, ``size`` is their bytes. ``reports`` are the
    results that the member has reported, ``stars`` those that the member has starred. ``pending``
    requests wait for the member's yes.
    """

    jobs: int
    unfinished: int
    erased: int
    files: int
    size: int
    reports: int = 0
    stars: int = 0
    pending: int = 0


class PrivacyService:
    """Report and erase a member's data.

    ``folder`` returns the folder of a job's images, ``forget`` has the backend remove its own data.
    ``pictures`` are those that requests start from.
    """

    def __init__(
        self,
        database: Database,
        folder: Callable[[str], Path],
        *,
        forget: Callable[[str], Awaitable[None]],
        pictures: InitImageStore,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._folder = folder
        self._forget = forget
        self._pictures = pictures
        self._now = now

    async def report(self, user_id: int) -> StoredDataReport:
        """Count what is stored about a member."""
        kept = await self._database.read(job_queries.stored_counts(user_id))
        ended = await self._database.read(job_queries.ended_ids(user_id))
        files, size = await asyncio.to_thread(
            _count_files, [self._folder(job_id) for job_id in ended]
        )
        starts, start_size = await self._pictures.count(user_id)
        reported = await ReportRepository(self._database).votes_by(user_id)
        stars = await GalleryRepository(self._database).stars_by(user_id)
        pending = await RequestSetRepository(self._database).pending_count(user_id)
        return StoredDataReport(
            kept.jobs,
            kept.unfinished,
            kept.erased,
            files + starts,
            size + start_size,
            reported,
            stars,
            pending,
        )

    async def erase(self, guild_id: int, member: Actor) -> int:
        """Erase a member's ended jobs, reports, stars and waiting sets, in all servers.

        Return the number of jobs. They lose their posts in galleries and the stars of others.
        Unfinished jobs stay: cancel them first. Idempotent: a second call removes what an
        interrupted one has left. ``guild_id`` is the server of the request, for the audit.
        """
        at = self._now()

        def forget(link: sqlite3.Connection) -> int:
            erased = job_table.erase_author_data(link, member.id, at=at)
            erase_reporter(link, member.id, at)
            gallery.erase_stars(link, member.id)
            for job_id in erased:
                gallery.withdraw_result(link, job_id, at=at)
            request_sets.delete_of(link, member.id)
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
        await self._pictures.delete_unused()
        with disk_faults():
            await asyncio.to_thread(_remove_folders, [self._folder(job_id) for job_id in ended])
        for job_id in ended:
            try:
                await self._forget(job_id)
            except BackendError as error:
                log.warning("the backend could not erase the job: %s", error, extra={"job": job_id})
        log.info("erased %d jobs at the request of their member", count)
        return count


def _count_files(folders: Iterable[Path]) -> tuple[int, int]:
    """Return the number of files and their size in bytes. Blocking."""
    sizes = [
        path.stat().st_size for folder in folders for path in folder.glob("**/*") if path.is_file()
    ]
    return len(sizes), sum(sizes)


def _remove_folders(folders: Iterable[Path]) -> None:
    """Remove folders that exist. Blocking."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
