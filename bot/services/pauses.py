"""Pause a server and resume it, inside the transaction that records it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime

from bot.domain.errors import RequestError
from bot.domain.moderation import Pause
from bot.services.drains import finish_drain
from bot.services.moderation_records import ends_alike, record_logged_action
from bot.services.queue import Actor
from bot.store import guilds


def start_pause(
    link: sqlite3.Connection, guild_id: int, pause: Pause, at: datetime, by: Actor
) -> Pause:
    """Pause a server, replacing an earlier pause, and return the pause.

    Raises RequestError if it is paused like this already.
    """
    before = _active_pause(link, guild_id, at)
    if (
        before is not None
        and replace(before, until=pause.until) == pause
        and ends_alike(before.until, pause.until)
    ):
        raise RequestError(f"That holds already. Members read: {before.notice}")
    detail = {**pause.to_setting()}
    guilds.set_setting(link, guild_id, "paused", detail)
    record_logged_action(link, guild_id, at, by, pause.mode, f"server:{guild_id}", detail)
    finish_drain(link, guild_id, at)
    return pause


def end_pause(link: sqlite3.Connection, guild_id: int, at: datetime, by: Actor) -> Pause:
    """End a server's pause and return it. Raises RequestError if there is none."""
    pause = _active_pause(link, guild_id, at)
    if pause is None:
        raise RequestError("Nothing is paused on this server.")
    guilds.set_setting(link, guild_id, "paused", None)
    record_logged_action(link, guild_id, at, by, "resume", f"server:{guild_id}", {})
    return pause


def _active_pause(link: sqlite3.Connection, guild_id: int, at: datetime) -> Pause | None:
    pause = Pause.from_setting(guilds.settings(link, guild_id).get("paused"))
    return pause if pause is not None and pause.is_active(at) else None
