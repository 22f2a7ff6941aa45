"""Make, list and rotate backups of the database, on demand or on a schedule.

Works while the bot runs. Images are not included: any file backup can copy the folder ``jobs``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.bootstrap import DATABASE
from bot.domain.errors import BotError, ConfigError
from bot.store.backups import STAMP, Summary, back_up, summarise
from bot.store.lock import database_lock

log = logging.getLogger(__name__)

FOLDER = "backups"
RETRY_DELAY = timedelta(minutes=10)
_BY_HAND = "gridbrush-"
_SCHEDULED = "scheduled-"
_SUFFIX = ".sqlite3"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup on disk; ``size`` is in bytes."""

    path: Path
    size: int
    made_at: datetime


def make_backup(folder: Path, target: Path | None, at: datetime) -> tuple[Backup, Summary]:
    """Copy the database in ``folder`` to ``target``, by default below ``backups``, and check it.

    ``target`` may be a folder. Raises ConfigError and leaves nothing behind then. Blocking.
    """
    _refuse_without_database(folder)
    if target is None or target.is_dir():
        place = target or _private_folder(folder)
        target = place / f"{_BY_HAND}{at.strftime(STAMP)}{_SUFFIX}"
    return _copy(folder, target)


def list_backups(folder: Path) -> tuple[Backup, ...]:
    """Return every backup that Gridbrush has made in ``folder``, newest first. Blocking."""
    database = Path(DATABASE)
    found = [
        *(folder / FOLDER).glob(f"*{_SUFFIX}"),
        *folder.glob(f"{database.stem}-v*{_SUFFIX}"),
        *folder.glob(f"{database.stem}-replaced-*{_SUFFIX}"),
    ]
    backups = [_backup(path) for path in found]
    return tuple(sorted(backups, key=lambda backup: backup.made_at, reverse=True))


def find_backup(folder: Path, wanted: Path) -> Path:
    """Return the path of a backup given by its path or listed name. Blocking."""
    places = (wanted, folder / FOLDER / wanted, folder / wanted)
    return next((place for place in places if place.is_file()), wanted)


class ScheduledBackups:
    """Make a backup every ``every`` and delete its own oldest ones beyond ``keep``.

    An error is logged and reported to ``on_failed``, and the backup is retried after ten minutes.
    ``on_made`` gets the time of each success.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: timedelta | None,
        keep: int,
        now: Callable[[], datetime],
        on_made: Callable[[datetime], None] = lambda _at: None,
        on_failed: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder = folder
        self._every = every
        self._keep = keep
        self._now = now
        self._on_made = on_made
        self._on_failed = on_failed
        self._sleep = sleep

    async def run(self) -> None:
        """Make backups for ever; return at once if they are switched off."""
        if self._every is None:
            return
        last = await asyncio.to_thread(self._last)
        if last is not None:
            self._on_made(last)
        while True:
            if last is not None and (wait := (last + self._every - self._now())) > timedelta():
                await self._sleep(wait.total_seconds())
                continue
            try:
                last = await asyncio.to_thread(self._make, self._now())
            except Exception as error:
                # The top of this loop: whatever went wrong, the next backup is due.
                unforeseen = None if isinstance(error, BotError | OSError) else error
                log.error("the scheduled backup failed: %s", error, exc_info=unforeseen)
                self._on_failed()
                await self._sleep(min(RETRY_DELAY, self._every).total_seconds())
            else:
                self._on_made(last)

    def _make(self, at: datetime) -> datetime:
        """Make a backup, delete old ones, and return its time. Blocking."""
        target = _private_folder(self._folder) / f"{_SCHEDULED}{at.strftime(STAMP)}{_SUFFIX}"
        backup, summary = _copy(self._folder, target)
        log.info("backed up %d requests to %s", summary.jobs, backup.path)
        # Only after the new one was checked; backups made on demand are never deleted.
        for old in self._own()[: -self._keep]:
            old.unlink(missing_ok=True)
        return at

    def _own(self) -> list[Path]:
        """Return the scheduled backups, oldest first: the time is in the name."""
        return sorted((self._folder / FOLDER).glob(f"{_SCHEDULED}*{_SUFFIX}"))

    def _last(self) -> datetime | None:
        """Return the time of the latest scheduled backup, None if there is none. Blocking."""
        for path in reversed(self._own()):
            stamp = path.name.removeprefix(_SCHEDULED).removesuffix(_SUFFIX)
            try:
                return min(datetime.strptime(stamp, STAMP).replace(tzinfo=UTC), self._now())
            except ValueError:
                continue  # not our name
        return None


def _copy(folder: Path, target: Path) -> tuple[Backup, Summary]:
    _refuse_without_database(folder)
    with database_lock(folder):
        back_up(folder / DATABASE, target)
    return _backup(target), summarise(target)


def _refuse_without_database(folder: Path) -> None:
    source = folder / DATABASE
    if not source.is_file() or not source.stat().st_size:
        hint = "There is one after the first start: gridbrush run, play or imagine."
        raise ConfigError(str(source), "there is no database to back up", hint)


def _private_folder(folder: Path) -> Path:
    place = folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def _backup(path: Path) -> Backup:
    status = path.stat()
    return Backup(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
