"""What commands and buttons have at hand: the engine's doors, the limits, and a clock.

One value, made once by the composition root and passed to everything that answers a member. It
knows no store and no backend.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import discord

from bot.concurrency import KeyedLock
from bot.domain.request import Request, RequestLimits
from bot.frontend.status_message_tasks import Settling
from bot.frontend.upload_limits import SizeLimits
from bot.services.delivery import MessageStore
from bot.services.privacy import PrivacyService
from bot.services.queue import Actor, JobQueue
from bot.services.quotas import QuotaService
from bot.services.renditions import RenditionCache
from bot.services.results import ResultFetcher

DOUBLE_CLICK: Final = timedelta(seconds=1)
_MOST = 1000


class DoubleClickGuard:
    """``repeated`` is asked once for each press; when presses happened is Discord's to say."""

    def __init__(self) -> None:
        self._latest: OrderedDict[tuple[int, int, str], datetime] = OrderedDict()

    def is_repeat(self, user_id: int, message_id: int, control: str, at: datetime) -> bool:
        """Whether the press follows another of the same kind at once; each counts from the last."""
        key = (user_id, message_id, control)
        before = self._latest.pop(key, None)
        self._latest[key] = at
        if len(self._latest) > _MOST:
            self._latest.popitem(last=False)
        return before is not None and abs(at - before) < DOUBLE_CLICK


SubmissionCheck: TypeAlias = Callable[[Request, Actor], Awaitable[None]]
"""Looks at a request before it is submitted. Raises RequestError for one that must not be."""


@dataclass(frozen=True, slots=True)
class BotContext:
    """``limits`` bound a request; ``moderator_role`` is a snowflake, 0 for none.

    ``rows`` is ``[delivery] rows``. ``entropy`` gives so many random bytes. ``upscaling``: there is
    a workflow for it. ``notice`` is a sentence for cards that wait, such as that the machines are
    away; empty for none. ``sizes`` remembers how large a file places take. ``sleep`` pauses between
    attempts at an answer. ``opened`` is told of a server where the bot may be permitted more than
    before, or of a member who is there again: what could not be delivered may be possible now.
    """

    queue: JobQueue
    limits: RequestLimits
    fetcher: ResultFetcher
    messages: MessageStore
    renditions: RenditionCache
    quotas: QuotaService
    privacy: PrivacyService
    now: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    moderator_role: int = 0
    rows: str = "auto"
    upscaling: bool = True
    checks: tuple[SubmissionCheck, ...] = ()
    notice: Callable[[], str] = lambda: ""
    opened: Callable[[int, int], None] = lambda _guild_id, _author_id: None
    locks: KeyedLock = field(default_factory=KeyedLock)
    clicks: DoubleClickGuard = field(default_factory=DoubleClickGuard)
    sizes: SizeLimits = field(default_factory=SizeLimits)
    settling: Settling = field(default_factory=Settling)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


# A bot that paints does not speak: the library's warnings that it cannot are noise.
discord.VoiceClient.warn_nacl = False
discord.VoiceClient.warn_dave = False


class ContextClient(discord.Client):
    """A Discord client with the bot's context, which handlers reach through the interaction."""

    def __init__(self, context: BotContext, **options: Any) -> None:
        super().__init__(**options)
        self.context = context

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was invited (back)."""
        self.context.opened(guild.id, 0)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A server is there again after an outage."""
        self.context.opened(guild.id, 0)

    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        """A channel is new, or can be seen from now on."""
        self.context.opened(channel.guild.id, 0)

    async def on_guild_channel_update(
        self, _before: discord.abc.GuildChannel, after: discord.abc.GuildChannel
    ) -> None:
        """Perhaps its permissions have changed."""
        self.context.opened(after.guild.id, 0)

    async def on_guild_role_update(self, before: discord.Role, after: discord.Role) -> None:
        """A role may do something else than before."""
        if before.permissions != after.permissions:
            self.context.opened(after.guild.id, 0)

    async def on_member_update(self, _before: discord.Member, after: discord.Member) -> None:
        """The bot has other roles; no other member is heard of."""
        self.context.opened(after.guild.id, 0)

    async def on_raw_thread_update(self, thread: discord.RawThreadUpdateEvent) -> None:
        """Perhaps a thread was unlocked."""
        self.context.opened(thread.guild_id, 0)

    async def on_resumed(self) -> None:
        """Nobody has told what has happened while the bot was not connected."""
        self.context.opened(0, 0)


def get_context(interaction: discord.Interaction[discord.Client]) -> BotContext:
    """The desk behind whatever was typed or pressed."""
    return client_of(interaction).context


def client_of(interaction: discord.Interaction[discord.Client]) -> ContextClient:
    """The client that heard it."""
    client = interaction.client
    assert isinstance(client, ContextClient), "only the bot's own client hears interactions"
    return client
