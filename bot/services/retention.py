"""Remove the pictures of results that moderators removed, members erased, or that are too many.

A removal is saved first, which ends the links at once, and carried out afterwards: an interrupted
one is finished by the next run. The jobs stay in the database. At the start, the work folders that
the last stop left behind are deleted, too.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bot.concurrency import wait_for_event
from bot.domain.errors import BackendError
from bot.domain.events import KEPT
from bot.domain.job import Job
from bot.domain.retention import Removal, RetentionLimits, StoredPictures, plan_removals
from bot.services.results import ResultFetcher
from bot.services.storage import measure_results, tree_size
from bot.store.database import Database
from bot.store.pictures import PictureRepository, finish_removal, owners, record_removal

log = logging.getLogger(__name__)

SWEEP_S: Final = 900.0
PAUSE_S: Final = 0.05
"""Between two removals: a small machine has other things to do."""
WORK_FOLDER_AGE: Final = timedelta(days=8)
"""Backends delete what is older than a week by themselves."""


class RetentionService:
    """Remove pictures in the background, in small steps.

    ``forget`` has the backend delete its own data of a job. ``release`` deletes the work folder of
    a job whose result is posted. ``on_removed`` gets the cause and the bytes.
    """

    def __init__(
        self,
        database: Database,
        results: ResultFetcher,
        limits: RetentionLimits,
        *,
        forget: Callable[[str], Awaitable[None]],
        release: Callable[[str], Awaitable[None]],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_removed: Callable[[str, int], None] = lambda _cause, _bytes: None,
    ) -> None:
        self._database = database
        self._reader = PictureRepository(database)
        self._results = results
        self._limits = limits
        self._forget = forget
        self._release = release
        self._now = now
        self._sleep = sleep
        self._on_removed = on_removed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Finish saved removals now."""
        self._woken.set()

    async def run(self) -> None:
        """Remove pictures until cancelled."""
        await self.release_posted()
        while True:
            self._woken.clear()
            await self.finish_removals()
            if not self._limits.is_unlimited:
                await self.apply_limits()
            await wait_for_event(self._woken, SWEEP_S, self._sleep)

    async def release_posted(self) -> None:
        """Delete the work folders of posted results, which a stop or an update left behind."""
        for job_id in await self._reader.posted_since(self._now() - WORK_FOLDER_AGE):
            await self._call_backend(self._release, job_id)

    async def release_delivered(self, job: Job) -> None:
        """Delete the work folder of a job that has just been delivered, unless it is kept."""
        if job.delivery_method != KEPT:
            await self._call_backend(self._release, job.id)

    async def finish_removals(self) -> int:
        """Delete the files of saved removals, and return how many could be finished. Idempotent."""
        finished = 0
        for job_id in await self._reader.open_removals():
            finished += await self._delete(job_id)
            await self._sleep(PAUSE_S)
        return finished

    async def apply_limits(self) -> tuple[Removal, ...]:
        """Remove what is too old, or too much, and return what was removed."""
        stored, done = [], []
        async for files, owner in measure_results(self._database, self._results.root):
            if owner is not None:
                ended = owner.ended_at or self._now()
                stored.append(
                    StoredPictures(owner.job_id, ended, files.size, owner.starred, owner.needed)
                )
        for removal in plan_removals(stored, self._limits, self._now()):
            if await self._record(removal):
                await self._delete(removal.job_id)
                done.append(removal)
            await self._sleep(PAUSE_S)
        if done:
            log.info("removed the pictures of %d results", len(done))
        return tuple(done)

    async def _record(self, removal: Removal) -> bool:
        """Save a removal, unless the pictures are needed since it was planned."""
        at = self._now()

        def record(link: sqlite3.Connection) -> bool:
            needed = any(owner.needed for owner in owners([removal.job_id]).run(link))
            return not needed and record_removal(link, removal.job_id, removal.cause, at=at)

        return await self._database.write(record)

    async def _delete(self, job_id: str) -> bool:
        """Delete a job's pictures, here and at the backend; return False if that has to wait."""
        removal = await self._reader.removal(job_id)
        try:
            size = await asyncio.to_thread(_delete_folder, self._results.folder(job_id))
        except OSError as error:
            log.warning("pictures cannot be deleted now: %s", error, extra={"job": job_id})
            return False
        if not await self._call_backend(self._forget, job_id):
            return False
        at = self._now()
        await self._database.write(lambda link: finish_removal(link, job_id, at=at))
        if removal is not None:
            self._on_removed(removal.cause, size)
        return True

    async def _call_backend(self, call: Callable[[str], Awaitable[None]], job_id: str) -> bool:
        try:
            await call(job_id)
        except BackendError as error:
            log.warning("the backend could not delete: %s", error, extra={"job": job_id})
            return False
        return True


def _delete_folder(folder: Path) -> int:
    """Delete a folder and return the bytes of its files. Idempotent. Blocking."""
    size = tree_size(folder)
    if folder.exists():
        shutil.rmtree(folder)
    return size
