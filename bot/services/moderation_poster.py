"""Post what moderators do, reports and holds in the log channel of their server, each once.

A message is saved together with the action that it is about. It is posted afterwards and edited
when what it shows changes. Before it is posted the attempt is saved; after a crash the channel is
searched for it first. A log channel that is missing, deleted or forbidden delays the messages: they
are posted when there is one that accepts them, the oldest actions as one summary.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

from bot.concurrency import Backoff, KeyedLock, wait_for_event
from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.services.moderation_records import parse_settings
from bot.store import moderation_log
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.moderation_log import LogMessage, ModerationLogRepository

log = logging.getLogger(__name__)

POLL_S: Final = 2.0
REFUSED_S: Final = 3600.0
"""A channel that refuses is tried again after this, or when an event makes success likely."""
MAX_MISSED: Final = 1000
BATCH: Final = 100
ATTEMPT_SECONDS: Final = 60.0
EVIDENCE_SECONDS: Final = 5.0


class ChannelRefused(DeliveryError):
    """The log channel does not exist, or the bot may not write there."""


class MessageGone(DeliveryError):
    """The message that is to be edited does not exist, or is not visible."""


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


class LogPoster:
    """Post the messages of all servers' log channels, as a task of its own."""

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
        self._database = database
        self._channel = channel
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._max_missed = max_missed
        self._log = ModerationLogRepository(database)
        self._guilds = GuildRepository(database)
        self._locks = KeyedLock()
        self._woken = asyncio.Event()
        # By server: the channel that failed, when it is tried again, and why it was refused.
        self._failed: dict[int, tuple[int, float, str]] = {}
        self._backoffs: dict[int, Backoff] = {}
        # Messages that Discord has read and refused, and when each is tried again.
        self._never_accepted: dict[int, float] = {}

    def wake(self) -> None:
        """Look for new messages at once."""
        self._woken.set()

    def retry_now(self, guild_id: int = 0) -> None:
        """Try a channel that has refused at once; 0 is any server's."""
        for failed in [one for one in self._failed if guild_id in (one, 0)]:
            self._failed[failed] = (*self._failed[failed][:1], 0.0, self._failed[failed][2])
        self.wake()

    def problem(self, guild_id: int) -> str:
        """Return why the log channel of a server refuses messages, "" if it does not."""
        return self._failed.get(guild_id, (0, 0.0, ""))[2]

    async def run(self) -> None:
        """Post until cancelled, beginning with what an earlier run has left."""
        while True:
            self._woken.clear()
            for guild_id in await self._log.servers_pending():
                await self.post_pending(guild_id)
            # At most so long: actions are saved in many places.
            await wait_for_event(self._woken, POLL_S, self._sleep)

    async def post_pending(self, guild_id: int) -> None:
        """Post what a server's log channel lacks, as far as that is possible now. Idempotent."""
        async with self._locks.acquire(str(guild_id)):
            channel_id = parse_settings(await self._guilds.settings(guild_id)).log_channel_id
            failed_in, due, _ = self._failed.get(guild_id, (0, 0.0, ""))
            if failed_in == channel_id and due > self._clock():
                return
            try:
                await self._post_all(guild_id, channel_id)
            except ChannelRefused as error:
                if failed_in != channel_id:
                    log.warning("the log channel of server %d refuses: %s", guild_id, error)
                due = self._clock() + REFUSED_S
                self._failed[guild_id] = (channel_id, due, str(error))
            except (DeliveryUnavailable, OSError, TimeoutError) as error:
                backoff = self._backoffs.setdefault(guild_id, Backoff(jitter=0.5))
                pause = backoff.next(getattr(error, "retry_after", 0.0))
                what = str(error) or "no answer in time"
                log.info("the log channel of server %d waits %.1f s: %s", guild_id, pause, what)
                self._failed[guild_id] = (channel_id, self._clock() + pause, "")
            else:
                self._failed.pop(guild_id, None)
                self._backoffs.pop(guild_id, None)

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
            found = await self._log.pending(guild_id, BATCH + len(self._never_accepted))
            messages = [
                one
                for one in found
                if self._never_accepted.get(one.id, 0.0) <= self._clock()
                and (channel_id or one.message is not None)
            ]
            if not messages:
                return
            for message in messages:
                try:
                    async with asyncio.timeout(ATTEMPT_SECONDS):
                        await self._post_one(message, channel_id)
                except (ChannelRefused, DeliveryUnavailable):
                    raise
                except DeliveryError as error:
                    # Discord has read it and never accepts it: it must not hold up the others.
                    log.error("log message %d is refused: %s", message.id, error)
                    self._never_accepted[message.id] = self._clock() + REFUSED_S
                else:
                    self._never_accepted.pop(message.id, None)

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
