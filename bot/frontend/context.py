"""What commands and components need: services, limits and a clock."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.concurrency import KeyedLock
from bot.domain.errors import StoreUnavailable
from bot.domain.job import Job
from bot.domain.request import Request, RequestLimits
from bot.frontend.status_message_tasks import StatusMessageTasks
from bot.frontend.upload_limits import SizeLimits
from bot.services.delivery import MessageStore
from bot.services.gallery import GalleryPoster, GalleryService
from bot.services.image_check import PictureCheck
from bot.services.init_images import InitImageStore
from bot.services.moderation import ModerationService
from bot.services.moderation_poster import LogPoster
from bot.services.pictures import PictureLinks
from bot.services.privacy import PrivacyService
from bot.services.queue import Actor, JobQueue, response_time_left, waits_limited
from bot.services.quotas import QuotaService
from bot.services.renditions import RenditionCache
from bot.services.reports import ReportService
from bot.services.request_sets import RequestSets
from bot.services.results import ResultFetcher

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 1.0
DOUBLE_CLICK: Final = timedelta(seconds=1)
_MAX_TRACKED = 1000


class DoubleClickGuard:
    """Detects double clicks, by the timestamps that Discord gives interactions."""

    def __init__(self) -> None:
        self._last_used: OrderedDict[tuple[int, int, str], datetime] = OrderedDict()

    def is_repeat(self, user_id: int, message_id: int, control: str, at: datetime) -> bool:
        """Return whether the same component was used less than DOUBLE_CLICK before."""
        key = (user_id, message_id, control)
        previous = self._last_used.pop(key, None)
        self._last_used[key] = at
        if len(self._last_used) > _MAX_TRACKED:
            self._last_used.popitem(last=False)
        return previous is not None and abs(at - previous) < DOUBLE_CLICK


class PickedPictures:
    """Remembers the picture that a member has opened a form for, until the bot stops."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[tuple[int, int], discord.Attachment] = OrderedDict()

    def put(self, user_id: int, message_id: int, picture: discord.Attachment) -> None:
        """Remember the picture that a member has picked on a message."""
        self._pictures.pop((user_id, message_id), None)
        self._pictures[user_id, message_id] = picture
        if len(self._pictures) > _MAX_TRACKED:
            self._pictures.popitem(last=False)

    def get(self, user_id: int, message_id: int) -> discord.Attachment | None:
        """Return the picture that a member has picked on a message, None if it is forgotten."""
        return self._pictures.get((user_id, message_id))


AnyCommand: TypeAlias = (
    app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu
)
SubmissionCheck: TypeAlias = Callable[[Request, Actor], Awaitable[None]]
"""Looks at a request before it is submitted. Raises RequestError for one that must not be."""


@dataclass(frozen=True, slots=True)
class BotContext:
    """Services and settings of the frontend, made once at start.

    ``limits`` bound a request. ``moderator_role`` is a role id, 0 for none. ``rows`` is
    ``[delivery] rows``. ``links`` makes links to the picture server, None if there is none.
    ``entropy`` returns random bytes. ``upscaling``: there is a workflow for it. ``vary_subtle`` and
    ``vary_strong`` are the strengths of these buttons. ``notice`` returns a sentence for waiting
    jobs, such as that the backend is unavailable; "" for none.
    ``image_check_problem`` returns why images cannot be checked. ``size_limits`` stores accepted
    upload sizes. ``opened`` is called with a server id and a member id (0: unknown) when the bot
    may have new permissions, to retry deliveries. ``status_found`` is called with a job whose
    status message was found or posted late. ``removal_pending`` is set when Discord did not delete
    a removed result at once.
    """

    queue: JobQueue
    limits: RequestLimits
    fetcher: ResultFetcher
    messages: MessageStore
    renditions: RenditionCache
    quotas: QuotaService
    moderation: ModerationService
    privacy: PrivacyService
    reports: ReportService
    gallery: GalleryService
    init_images: InitImageStore
    picture_check: PictureCheck
    sets: RequestSets
    now: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    moderator_role: int = 0
    rows: str = "auto"
    links: PictureLinks | None = None
    upscaling: bool = True
    vary_subtle: float = 0.35
    vary_strong: float = 0.7
    checks: tuple[SubmissionCheck, ...] = ()
    notice: Callable[[], str] = lambda: ""
    image_check_problem: Callable[[], str] = lambda: ""
    opened: Callable[[int, int], None] = lambda _guild_id, _author_id: None
    status_found: Callable[[Job], None] = lambda _job: None
    locks: KeyedLock = field(default_factory=KeyedLock)
    double_clicks: DoubleClickGuard = field(default_factory=DoubleClickGuard)
    picked_pictures: PickedPictures = field(default_factory=PickedPictures)
    size_limits: SizeLimits = field(default_factory=SizeLimits)
    removal_pending: asyncio.Event = field(default_factory=asyncio.Event)
    status_tasks: StatusMessageTasks = field(default_factory=StatusMessageTasks)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def notice_for(self, guild_id: int) -> str:
        """Return the notice for waiting jobs of a server: that of all, and its moderators' pause.

        While the store does not answer, the pause is left out: that the store is unavailable is
        what members have to know then.
        """
        pause = None
        try:
            with waits_limited(min(PAUSE_SECONDS, response_time_left())):
                pause = await self.moderation.active_pause(guild_id) if guild_id else None
        except StoreUnavailable as error:
            log.info("whether a server is paused is not known in time: %s", error)
        return " ".join(filter(None, (self.notice(), pause.notice if pause else "")))


# The bot uses no voice: the library's warnings about missing voice packages are noise.
discord.VoiceClient.warn_nacl = False
discord.VoiceClient.warn_dave = False


class ContextClient(discord.Client):
    """A Discord client with the bot's context, which handlers reach through the interaction.

    A subclass sets ``tree``. The builders make what posts in log channels and in galleries by this
    client.
    """

    tree: app_commands.CommandTree[Any]

    def __init__(
        self,
        context: BotContext,
        build_log_poster: Callable[[ContextClient], LogPoster],
        build_gallery_poster: Callable[[ContextClient], GalleryPoster],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.context = context
        self.log_poster = build_log_poster(self)
        self.gallery_poster = build_gallery_poster(self)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Handle an invitation to a server."""
        self.context.opened(guild.id, 0)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Handle the end of a server outage."""
        self.context.opened(guild.id, 0)

    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        """Handle a channel that is new or newly visible."""
        self.context.opened(channel.guild.id, 0)

    async def on_guild_channel_update(
        self, _before: discord.abc.GuildChannel, after: discord.abc.GuildChannel
    ) -> None:
        """Handle a possible change of channel permissions."""
        self.context.opened(after.guild.id, 0)

    async def on_guild_role_update(self, previous: discord.Role, after: discord.Role) -> None:
        """Handle a change of role permissions."""
        if previous.permissions != after.permissions:
            self.context.opened(after.guild.id, 0)

    async def on_member_update(self, _before: discord.Member, after: discord.Member) -> None:
        """Handle a role change of the bot; Discord sends no other members."""
        self.context.opened(after.guild.id, 0)

    async def on_raw_thread_update(self, thread: discord.RawThreadUpdateEvent) -> None:
        """Handle a thread that may have been unlocked."""
        self.context.opened(thread.guild_id, 0)

    async def on_resumed(self) -> None:
        """Handle a new connection: events may have been missed."""
        self.context.opened(0, 0)


def get_context(interaction: discord.Interaction[discord.Client]) -> BotContext:
    """Return the BotContext of the client that received an interaction."""
    return get_client(interaction).context


def get_client(interaction: discord.Interaction[discord.Client]) -> ContextClient:
    """Return the client that received an interaction."""
    client = interaction.client
    assert isinstance(client, ContextClient), "only the bot's own client hears interactions"
    return client
