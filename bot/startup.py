"""Hold the data folder and start the bot, also where the store is unavailable at first.

Also builds the picture server, what removes pictures, and the image check.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from bot.bootstrap import DATABASE, Services, ensure_data_dir
from bot.clock import utc_now
from bot.concurrency import Backoff
from bot.domain.errors import ConfigError
from bot.file_modes import private_umask
from bot.pictures.server import serve_pictures
from bot.services.image_check import ImageCheckService, PictureCheck
from bot.services.pictures import PictureLibrary, PictureLinks, load_link_key
from bot.services.reports import ReportService
from bot.services.retention import RetentionService
from bot.settings import Settings
from bot.store.holding import hold_store
from bot.store.lock import FolderInUse, bot_lock, holder
from bot.store.sqlite_errors import passing_cause

log = logging.getLogger(__name__)

Started = TypeVar("Started")
STANDBY_POLL_S = 0.5


async def start_when_possible(
    start: Callable[[AsyncExitStack], Awaitable[Started | None]],
    stack: AsyncExitStack,
    database: Path,
    stop: asyncio.Event,
) -> Started | None:
    """Start, again while the store is unavailable and ``database`` exists; None if stopped first.

    What is open then closes with ``stack``.
    """
    backoff = Backoff(jitter=0.5)
    while True:
        async with AsyncExitStack() as opened:
            try:
                started = await start(opened)
            except (ConfigError, OSError, sqlite3.Error) as error:
                cause = passing_cause(error)
                if not cause or not await asyncio.to_thread(database.exists):
                    raise
                pause = backoff.next()
                log.error("cannot start: %s; next attempt in %.1f s (%s)", cause, pause, error)
            else:
                stack.push_async_exit(opened.pop_all())
                return started
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
            return None


async def hold_folder(folder: Path, stack: AsyncExitStack, stop: asyncio.Event | None) -> bool:
    """Lock the data folder until ``stack`` closes; with ``stop`` wait for the lock.

    Return False if ``stop`` was set first. Raises FolderInUse without ``stop``.
    """
    logged = False
    with private_umask():
        await asyncio.to_thread(ensure_data_dir, folder)
        while True:
            try:
                stack.enter_context(bot_lock(folder, "gridbrush run", utc_now()))
            except FolderInUse:
                if stop is None:
                    raise
            else:
                if logged:
                    log.warning("taking over: the other bot has stopped")
                return True
            if not logged:
                log.warning("standing by for the bot that runs (%s)", holder(folder))
                logged = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STANDBY_POLL_S):
                    await stop.wait()
                return False


@asynccontextmanager
async def open_picture_server(
    services: Services,
    *,
    entropy: Callable[[int], bytes],
    on_served: Callable[[int, int], None],
) -> AsyncIterator[tuple[str, PictureLinks | None]]:
    """Serve pictures, and yield where, and what makes links; "" and None if switched off.

    Raises ConfigError.
    """
    settings, database, now = services.settings.pictures, services.database, services.now
    if settings.address is None:
        yield "", None
        return
    key = await load_link_key(database, entropy)
    library = PictureLibrary(database, services.results, key, now=now)
    async with serve_pictures(
        library, settings.address, prefix=settings.prefix, on_served=on_served
    ) as bound:
        url = settings.public_url or bound
        keep = services.settings.data.keep
        yield url, PictureLinks(database, key, url, keep=keep, now=now)


def build_retention(
    services: Services,
    *,
    sleep: Callable[[float], Awaitable[None]],
    on_removed: Callable[[str, int], None],
) -> RetentionService:
    """Return what removes pictures."""
    delete = services.backend.delete_job_data
    return RetentionService(
        services.database,
        services.results,
        services.settings.data.retention(),
        forget=delete,
        release=delete,
        now=services.now,
        sleep=sleep,
        on_removed=on_removed,
    )


def build_image_check(services: Services, reports: ReportService) -> ImageCheckService:
    """Return what looks at results before they are posted, and holds them."""
    section = services.settings.image_check
    return ImageCheckService(
        services.database,
        services.lifecycle,
        services.detector,
        action=section.action,
        thresholds=section.thresholds,
        evidence=reports.keep_picture,
        now=services.now,
    )


def build_picture_check(services: Services) -> PictureCheck:
    """Return what looks at pictures before requests start from them."""
    section = services.settings.image_check
    return PictureCheck(
        services.database,
        services.detector,
        action=section.action,
        thresholds=section.thresholds,
    )


def store_holder(settings: Settings) -> Callable[[float], Awaitable[None]]:
    """Return a function that locks this bot's store against writing for some seconds."""
    return partial(hold_store, settings.data.dir / DATABASE)
