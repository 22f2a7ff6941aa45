"""Post, find and edit the entries of servers' log channels in Discord."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import discord

from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.frontend import messages
from bot.frontend.discord_errors import MessageNotFound, NotPermitted, map_discord_errors
from bot.frontend.log_embeds import entry_mark, log_entry
from bot.frontend.message_content import FileUpload, MessageContent
from bot.services.channel_poster import ChannelRefused, MessageGone
from bot.services.reports import LogMessage

T = TypeVar("T")
_ALT: Final = "The picture that the entry is about"


class DiscordLogChannel:
    """The log channels, seen by the bot's client. ``picture_path`` returns where a picture is."""

    def __init__(self, client: discord.Client, picture_path: Callable[[str], Path]) -> None:
        self._client = client
        self._picture_path = picture_path

    async def post(self, channel_id: int, message: LogMessage) -> MessageRef:
        """Post an entry: with its picture, without it, or as plain text, what is accepted first."""
        channel = self._client.get_partial_messageable(channel_id)
        entry, uploads = await self.content(message)
        plain = f"{entry.title}: {entry.description}"[:1500] + f"\n-# {entry_mark(message)}"

        async def with_picture() -> discord.Message:
            return await messages.send(channel, entry, uploads=uploads, nonce=message.nonce)

        async def without() -> discord.Message:
            return await messages.send(channel, replace(entry, image=""), nonce=message.nonce)

        async def as_text() -> discord.Message:
            return await messages.send(channel, None, content=plain, nonce=message.nonce)

        ways: list[Callable[[], Awaitable[discord.Message]]] = [without, as_text]
        refused: DeliveryError | None = None
        for way in [with_picture, *ways] if uploads else ways:
            try:
                sent = await messages.with_open_thread(self._client, channel_id, way)
            except DeliveryUnavailable:
                raise
            except DeliveryError as error:
                refused = error
                if isinstance(error, MessageNotFound) and not isinstance(error, NotPermitted):
                    break  # the channel does not exist
            else:
                return MessageRef(sent.channel.id, sent.id)
        assert refused is not None, "there is at least one way"
        if isinstance(refused, MessageNotFound):
            raise ChannelRefused(str(refused)) from refused
        raise refused

    async def find(self, channel_id: int, message: LogMessage) -> MessageRef | None:
        """Return the entry that an earlier attempt has posted, None if there is none."""
        assert message.attempted_at is not None, "it was attempted"
        channel = self._client.get_partial_messageable(channel_id)
        since = discord.utils.time_snowflake(message.attempted_at - messages.MAX_CLOCK_SKEW)
        own = self._client.user
        try:
            with map_discord_errors():
                async for posted in channel.history(limit=None, after=discord.Object(since)):
                    if own is not None and posted.author.id == own.id and _marks(posted, message):
                        return MessageRef(posted.channel.id, posted.id)
        except MessageNotFound as error:
            raise ChannelRefused(str(error)) from error
        return None

    async def edit(self, place: MessageRef, message: LogMessage) -> None:
        """Show the entry as it is now; its picture stays."""
        entry, _ = await self.content(message)

        async def change() -> None:
            await messages.edit_message(self._client, place, entry)

        try:
            await messages.with_open_thread(self._client, place.channel_id, change)
        except MessageNotFound as error:
            raise MessageGone(str(error)) from error

    async def content(self, message: LogMessage) -> tuple[MessageContent, list[FileUpload]]:
        """Return an entry and its picture, if that is stored."""
        entry = log_entry(message)
        if not entry.image:
            return entry, []
        path = self._picture_path(entry.image)
        if not await asyncio.to_thread(path.exists):
            return replace(entry, image=""), []
        if message.kind == "hold":
            # Nobody has to see it without wanting to; an embed's own image cannot be a spoiler.
            return replace(entry, image=""), [FileUpload(path, f"SPOILER_{path.name}", _ALT)]
        return entry, [FileUpload(path, path.name, _ALT)]


def _marks(posted: discord.Message, message: LogMessage) -> bool:
    mark = entry_mark(message)
    if any(embed.footer.text == mark for embed in posted.embeds):
        return True
    return posted.content.endswith(f"\n-# {mark}")
