"""Post, find and delete results in the galleries of servers, in Discord."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import discord

from bot.domain.events import MessageRef
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.command_options import is_age_restricted
from bot.frontend.context import ContextClient
from bot.frontend.delivery_methods import public_result_link
from bot.frontend.discord_errors import MessageNotFound, NotPermitted, map_discord_errors
from bot.frontend.result_embeds import gallery_mark, gallery_message
from bot.frontend.result_files import ResultMessage, build_result, byte_limit, upload_within_limit
from bot.services.channel_poster import ChannelRefused, MessageGone
from bot.services.gallery import AgeRestricted, GalleryPost

_MAX_LOOKED_AT: Final = 300
"""So many of the latest messages are looked at before a first attempt."""


class DiscordGallery:
    """The galleries, seen by the bot's client."""

    def __init__(self, client: ContextClient) -> None:
        self._client = client

    async def is_original_there(self, job: Job) -> bool:
        """Return whether the message with the result exists where others see it.

        One that the bot may no longer read counts as there.
        """
        if job.result is None or not public_result_link(job):
            return False
        channel = self._client.get_channel(job.result.channel_id)
        if isinstance(channel, discord.Thread) and channel.is_private():
            return False
        try:
            await messages.fetch(self._client, job.result)
        except NotPermitted:
            return True
        except MessageNotFound:
            return False
        return True

    async def post(self, channel_id: int, post: GalleryPost, job: Job) -> MessageRef:
        """Post a result with its picture, as large as the channel accepts it."""
        restricted = job.image_check is ImageOutcome.RESTRICTED or is_age_restricted(
            self._client, job.request.place.channel_id, post.parent_id
        )
        if restricted and not is_age_restricted(self._client, channel_id):
            raise AgeRestricted("it is from an age-restricted channel, and the gallery is not one")
        channel = self._client.get_partial_messageable(channel_id)

        async def make(limit: int) -> tuple[ResultMessage, int]:
            result = await build_result(self._client.context, job, limit)
            return result, result.size

        async def send(result: ResultMessage) -> discord.Message:
            content = gallery_message(job, result.embed.image, public_result_link(job))
            return await messages.send(channel, content, uploads=result.uploads, nonce=post.nonce)

        limit = byte_limit(self._client, job.request.place.guild_id)
        try:
            sent = await upload_within_limit(limit, make, send)
        except MessageNotFound as error:
            raise ChannelRefused(str(error)) from error
        return MessageRef(sent.channel.id, sent.id)

    async def find(self, channel_id: int, post: GalleryPost, since: datetime) -> MessageRef | None:
        """Return what an attempt after ``since`` has posted, None if there is nothing.

        Without an attempt the latest messages are looked at.
        """
        after = discord.Object(discord.utils.time_snowflake(since - messages.MAX_CLOCK_SKEW))
        channel, own = self._client.get_partial_messageable(channel_id), self._client.user
        limit = None if post.attempted_at is not None else _MAX_LOOKED_AT
        mark = gallery_mark(post.job_id)
        try:
            with map_discord_errors():
                async for posted in channel.history(limit=limit, after=after, oldest_first=False):
                    texts = [embed.footer.text or "" for embed in posted.embeds]
                    if own and posted.author.id == own.id and any(mark in text for text in texts):
                        return MessageRef(posted.channel.id, posted.id)
        except NotPermitted as error:
            raise ChannelRefused(str(error)) from error
        except MessageNotFound:
            return None
        return None

    async def delete(self, place: MessageRef) -> None:
        """Delete a post."""
        try:
            await messages.delete(self._client, place)
        except NotPermitted as error:
            raise ChannelRefused(str(error)) from error
        except MessageNotFound as error:
            raise MessageGone(str(error)) from error
