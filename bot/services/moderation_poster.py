"""Post what moderators do, reports and holds in the log channel of their server, each once.

A message is saved together with the action that it is about. It is posted afterwards and edited
when what it shows changes. What a log channel has missed is posted when there is one that accepts
it, the oldest actions as one summary.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.services.channel_poster import ChannelPoster, ChannelRefused, MessageGone
from bot.services.moderation_records import parse_settings
from bot.store import moderation_log
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.moderation_log import LogMessage, ModerationLogRepository

log = logging.getLogger(__name__)

MAX_MISSED: Final = 1000
BATCH: Final = 100
EVIDENCE_SECONDS: Final = 5.0


class LogChannel(Protocol):
    """Posts and edits the messages of log channels.

    All methods raise DeliveryUnavailable if that is not possible now, or the outcome is unknown.
    """

    async def post(self, channel_id: int, message: LogMessage) -> MessageRef:
        """Post a message. Raises ChannelRefused, or DeliveryError for what is never accepted."""
        ...

    async def find(self, channel_id: int, message: LogMessage) -> MessageRef | None:
        """Return the message of an earlier attempt. Raises ChannelRefused."""
        ...

    async def edit(self, place: MessageRef, message: LogMessage) -> None:
        """Show the message as it is now. Raises MessageGone, DeliveryError."""
        ...


class LogPoster(ChannelPoster):
    """Post the messages of all servers' log channels, as a task of its own."""

    channel_name = "log channel"

    def __init__(
        self,
        database: Database,
        channel: LogChannel,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_missed: int = MAX_MISSED,
    ) -> None:
        super().__init__(now=now, clock=clock, sleep=sleep)
        self._database = database
        self._channel = channel
        self._max_missed = max_missed
        self._log = ModerationLogRepository(database)
        self._guilds = GuildRepository(database)

    async def _servers(self) -> Sequence[int]:
        return await self._log.servers_pending()

    async def _channel_of(self, guild_id: int) -> int:
        return parse_settings(await self._guilds.settings(guild_id)).log_channel_id

    async def post_evidence(self, guild_id: int) -> None:
        """Post what is pending before a result is removed; give up after EVIDENCE_SECONDS."""
        try:
            async with asyncio.timeout(EVIDENCE_SECONDS):
                await self.post_pending(guild_id)
        except TimeoutError:
            log.info("the log channel of server %d is slow; the evidence is stored", guild_id)

    async def _post_all(self, guild_id: int, channel_id: int) -> None:
        if channel_id:
            at, keep = self._now(), self._max_missed
            await self._database.write(
                lambda link: moderation_log.summarize(link, guild_id, keep, at=at)
            )
        while True:
            found = await self._log.pending(guild_id, BATCH + len(self._put_off))
            messages = [
                one
                for one in found
                if self._is_due(one.id) and (channel_id or one.message is not None)
            ]
            if not messages:
                return
            for message in messages:
                await self._attempt(message.id, partial(self._post_one, message, channel_id))

    async def _post_one(self, message: LogMessage, channel_id: int) -> None:
        if message.message is not None:
            await self._edit(message, message.message)
            return
        shows, place = message.at, await self._find(message)
        if place is None:
            shows, at = message.changed_at, self._now()
            await self._write(
                lambda link: moderation_log.record_attempt(link, message.id, channel_id, at=at)
            )
            try:
                place = await self._channel.post(channel_id, message)
            except DeliveryUnavailable:
                raise
            except DeliveryError:
                await self._write(lambda link: moderation_log.withdraw_attempt(link, message.id))
                raise
        sent = place
        await self._write(
            lambda link: moderation_log.record_posted(link, message.id, sent, shows=shows)
        )

    async def _find(self, message: LogMessage) -> MessageRef | None:
        """Return what an interrupted attempt has posted, None if there is nothing."""
        if message.attempted_in is None:
            return None
        try:
            return await self._channel.find(message.attempted_in, message)
        except ChannelRefused as error:
            log.info("the earlier log channel cannot be read any more: %s", error)
            return None

    async def _edit(self, message: LogMessage, place: MessageRef) -> None:
        try:
            await self._channel.edit(place, message)
        except MessageGone:
            # What moderators still have to decide is posted again, in the channel of now.
            again = message.kind != "action" and not message.is_closed
            change = moderation_log.withdraw_attempt if again else moderation_log.forget_posted
            await self._write(lambda link: change(link, message.id))
        else:
            shows = message.changed_at
            await self._write(
                lambda link: moderation_log.record_posted(link, message.id, place, shows=shows)
            )

    async def _write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        await self._database.write(change)
