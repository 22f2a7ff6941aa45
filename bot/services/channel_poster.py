"""Post in one channel of each server, whatever is interrupted: the log channel and the gallery.

What is to be posted is saved together with its cause, and each attempt before it is made; after a
crash the channel is searched first. A channel that is missing, deleted or forbidden delays what is
to be posted there, until it accepts it or there is another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from bot.concurrency import Backoff, KeyedLock, wait_for_event
from bot.domain.errors import DeliveryError, DeliveryUnavailable

log = logging.getLogger(__name__)

POLL_S: Final = 2.0
REFUSED_S: Final = 3600.0
"""A channel that refuses is tried again after this, or when an event makes success likely."""
ATTEMPT_SECONDS: Final = 60.0


class ChannelRefused(DeliveryError):
    """The channel does not exist, or the bot may not write there."""


class MessageGone(DeliveryError):
    """The message does not exist, or is not visible."""


class ChannelPoster(ABC):
    """Post in a channel of each server, as a task of its own. ``channel_name`` is for logs."""

    channel_name: ClassVar[str]

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._locks = KeyedLock()
        self._woken = asyncio.Event()
        # By server: the channel that failed, when it is tried again, and why it was refused.
        self._failed: dict[int, tuple[int, float, str]] = {}
        self._backoffs: dict[int, Backoff] = {}
        # What cannot be posted although the channel accepts others, and when it is tried again.
        self._put_off: dict[int | str, float] = {}

    @abstractmethod
    async def _servers(self) -> Sequence[int]:
        """Return the servers where something is to be posted."""

    @abstractmethod
    async def _channel_of(self, guild_id: int) -> int:
        """Return a server's channel, 0 for none."""

    @abstractmethod
    async def _post_all(self, guild_id: int, channel_id: int) -> None:
        """Post what is to be posted. Raises ChannelRefused, DeliveryUnavailable."""

    def wake(self) -> None:
        """Look for something to post at once."""
        self._woken.set()

    def retry_now(self, guild_id: int = 0) -> None:
        """Try a channel that has refused at once; 0 is any server's."""
        for failed in [one for one in self._failed if guild_id in (one, 0)]:
            self._failed[failed] = (*self._failed[failed][:1], 0.0, self._failed[failed][2])
        self._put_off.clear()
        self.wake()

    def problem(self, guild_id: int) -> str:
        """Return why the channel of a server refuses messages, "" if it does not."""
        return self._failed.get(guild_id, (0, 0.0, ""))[2]

    async def run(self) -> None:
        """Post until cancelled, beginning with what an earlier run has left."""
        while True:
            self._woken.clear()
            for guild_id in await self._servers():
                await self.post_pending(guild_id)
            # At most so long: what is to be posted is saved in many places.
            await wait_for_event(self._woken, POLL_S, self._sleep)

    async def post_pending(self, guild_id: int) -> None:
        """Post what a server's channel lacks, as far as that is possible now. Idempotent."""
        async with self._locks.acquire(str(guild_id)):
            channel_id = await self._channel_of(guild_id)
            failed_in, due, _ = self._failed.get(guild_id, (0, 0.0, ""))
            if failed_in == channel_id and due > self._clock():
                return
            what = f"the {self.channel_name} of server {guild_id}"
            try:
                await self._post_all(guild_id, channel_id)
            except ChannelRefused as error:
                if failed_in != channel_id:
                    log.warning("%s refuses: %s", what, error)
                due = self._clock() + REFUSED_S
                self._failed[guild_id] = (channel_id, due, str(error))
            except (DeliveryUnavailable, OSError, TimeoutError) as error:
                backoff = self._backoffs.setdefault(guild_id, Backoff(jitter=0.5))
                pause = backoff.next(getattr(error, "retry_after", 0.0))
                log.info("%s waits %.1f s: %s", what, pause, str(error) or "no answer in time")
                self._failed[guild_id] = (channel_id, self._clock() + pause, "")
            else:
                self._failed.pop(guild_id, None)
                self._backoffs.pop(guild_id, None)

    def _is_due(self, key: int | str) -> bool:
        return self._put_off.get(key, 0.0) <= self._clock()

    async def _attempt(self, key: int | str, post: Callable[[], Awaitable[None]]) -> None:
        """Post one message. Raises ChannelRefused, DeliveryUnavailable, OSError, TimeoutError."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await post()
        except (ChannelRefused, DeliveryUnavailable):
            raise
        except DeliveryError as error:
            # Discord has read it and never accepts it: it must not hold up the others.
            log.error("%s: message %s is refused: %s", self.channel_name, key, error)
            self._put_off[key] = self._clock() + REFUSED_S
        else:
            self._put_off.pop(key, None)
