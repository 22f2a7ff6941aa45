"""Tell a server's log channel when everything that ran there when it was drained has ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Final

from bot.domain.events import JobEvent
from bot.domain.job import Job, JobState
from bot.domain.moderation import Pause
from bot.services.moderation_records import record_logged_action
from bot.services.queue import OPERATOR, Actor
from bot.store import guilds, moderation
from bot.store.database import Database
from bot.store.guilds import GuildRepository

_STARTED: Final = tuple(
    state for state in JobState if state is not JobState.QUEUED and not state.terminal
)


class DrainWatcher:
    """Observes jobs; ``recover`` looks at what ended while the bot was stopped."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._guilds = GuildRepository(database)
        self._now = now

    async def on_event(self, job: Job, _event: JobEvent) -> None:
        """Handle the end of a job."""
        guild_id = job.request.place.guild_id
        if job.state.terminal and guild_id:
            await self._check(guild_id, (await self._guilds.settings(guild_id)).get("paused"))

    async def recover(self) -> None:
        """Check every server that is drained."""
        for guild_id, paused in (await self._guilds.all_settings("paused")).items():
            await self._check(guild_id, paused)

    async def _check(self, guild_id: int, paused: object) -> None:
        pause = Pause.from_setting(paused)
        if pause is not None and pause.mode == "drain":
            at = self._now()
            await self._database.write(lambda link: finish_drain(link, guild_id, at))


def finish_drain(link: sqlite3.Connection, guild_id: int, at: datetime) -> bool:
    """Record that a drained server has nothing left that runs; return whether it is news."""
    stored = guilds.settings(link, guild_id).get("paused")
    pause = Pause.from_setting(stored)
    if pause is None or pause.mode != "drain" or not pause.is_active(at):
        return False
    if not isinstance(stored, dict) or stored.get("drained"):
        return False
    if any(not _is_held(link, id) for id in moderation.jobs_in(link, guild_id, _STARTED)):
        return False
    guilds.set_setting(link, guild_id, "paused", {**stored, "drained": True})
    record_logged_action(
        link,
        guild_id=guild_id,
        at=at,
        by=Actor(OPERATOR, ""),
        action="drained",
        subject=f"server:{guild_id}",
        detail={},
    )
    return True


def _is_held(link: sqlite3.Connection, job_id: str) -> bool:
    """Return whether a job's images wait for a moderator: then nothing of it runs."""
    held = moderation.hold_of(link, job_id, "image")
    return held is not None and held.approved is None
