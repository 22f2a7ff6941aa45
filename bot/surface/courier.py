"""Brings results to Discord: the rungs of the delivery ladder, from the card itself to a DM.

    interaction   the card becomes the result, by the token of the command or press
    channel       a message of the bot's own in the same channel, which calls the author once
    direct        a direct message to the author

Which rungs there are is told by the clock, not by trying. When an attempt was interrupted, the
messages themselves say whether it was made: a result carries controls with its job's id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import discord

from bot.domain.errors import DeliveryError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.engine.collect import Package
from bot.engine.posts import Post
from bot.surface import posting
from bot.surface.controls import Press, Verb
from bot.surface.desk import DeskClient
from bot.surface.posting import Gone, Unheard, border
from bot.surface.results import Picture, byte_limit, picture_of, wants_rows
from bot.surface.rows import post_rows
from bot.surface.texts import short_id

log = logging.getLogger(__name__)

INTERACTION: Final = "interaction"
CHANNEL: Final = "channel"
DIRECT: Final = "direct"

CARD_SECONDS: Final = 3.0
LOOK_EVERY: Final = 0.05
LOOK_BACK: Final = 50


class DiscordCourier:
    """Posts one result on one rung. ``aclose`` waits for the rows that are still on their way."""

    def __init__(
        self, client: DeskClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._afterwards: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Let the rows arrive that are being posted."""
        while self._afterwards:
            await asyncio.wait(tuple(self._afterwards))

    async def drop(self) -> None:
        """Let go of rows that are still on their way; the menu below their grid opens them."""
        tasks = tuple(self._afterwards)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ladder(self, job: Job) -> tuple[str, ...]:
        """The rungs that can hold now, the best first."""
        if not job.request.place.channel_id:
            return ()
        post = await self._card(job)
        if post is not None and post.token_lives(self._client.desk.now()):
            return INTERACTION, CHANNEL, DIRECT
        return CHANNEL, DIRECT

    async def hand_over(
        self, rung: str, job: Job, package: Package, nonce: str
    ) -> MessageRef | None:
        """Post the grid; its full-size rows follow by themselves where they have to be files.

        Raises DeliveryError if this rung does not hold, ConnectionError if nobody can say whether
        it was posted, ArtifactMissing if there is nothing to hand over.
        """
        try:
            return await self._hand_over(rung, job, nonce)
        except Unheard as error:
            # Not a refusal: whoever climbs down from here must look first, or it is posted twice.
            raise ConnectionError(str(error)) from error

    async def _hand_over(self, rung: str, job: Job, nonce: str) -> MessageRef:
        desk = self._client.desk
        guild_id = 0 if rung == DIRECT else job.request.place.guild_id
        picture = await picture_of(desk, job, byte_limit(self._client, guild_id))
        if rung == INTERACTION:
            post = await desk.posts.card(job.id)
            if post is None or post.interaction is None:
                raise Gone("there is no card to become the result")
            async with desk.pens.hold(job.id):
                message = await posting.edit_answer(
                    self._client, post.interaction, picture.card, uploads=[picture.upload]
                )
        else:
            post = None
            message = await self._send(rung, job, picture, nonce)
        if wants_rows(desk, job, picture):
            self._follow_up(job, Post(message, post.interaction if post else None))
        return message

    async def find(self, rung: str, job: Job, nonce: str) -> MessageRef | None:
        """The result that an interrupted attempt left behind; None if it left none."""
        desk = self._client.desk
        if rung == INTERACTION:
            post = await desk.posts.card(job.id)
            if post is None:
                return None
            try:
                message = await posting.fetch(self._client, post.message)
            except Gone:
                return None
            return post.message if is_result(message, job) else None
        author_id = job.request.author.id
        channel = await self._channel(rung, job.request.place.channel_id, author_id)
        with border():
            async for message in channel.history(limit=LOOK_BACK):
                if is_result(message, job):
                    return MessageRef(message.channel.id, message.id)
        return None

    async def _card(self, job: Job) -> Post | None:
        """The job's card; a picture can be ready before the answer that announces it is posted."""
        desk = self._client.desk
        waited = 0.0
        while True:
            post = await desk.posts.card(job.id)
            age = (desk.now() - job.created_at).total_seconds()
            if post is not None or waited >= CARD_SECONDS or age > CARD_SECONDS:
                return post
            await self._sleep(LOOK_EVERY)
            waited += LOOK_EVERY

    async def _send(self, rung: str, job: Job, picture: Picture, nonce: str) -> MessageRef:
        author_id = job.request.author.id
        place = job.request.place
        channel = await self._channel(rung, place.channel_id, author_id)
        if rung == CHANNEL:
            content = f"<@{author_id}> Your picture is ready."
        else:
            content = (
                f"Your picture from <#{place.channel_id}> could not be posted there, "
                f"so here it is ({short_id(job.id)})."
            )
        sent = await posting.send(
            channel,
            picture.card,
            content=content,
            uploads=[picture.upload],
            nonce=nonce,
            mentioning=author_id if rung == CHANNEL else None,
        )
        return MessageRef(sent.channel.id, sent.id)

    async def _channel(self, rung: str, channel_id: int, author_id: int) -> discord.abc.Messageable:
        if rung == CHANNEL:
            return self._client.get_partial_messageable(channel_id)
        if not author_id:
            raise Gone("nobody asked for it")
        with border():
            return await self._client.create_dm(discord.Object(author_id))

    def _follow_up(self, job: Job, post: Post) -> None:
        task = asyncio.get_running_loop().create_task(
            self._rows(job, post), name=f"rows of {job.id}"
        )
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)

    async def _rows(self, job: Job, post: Post) -> None:
        try:
            await post_rows(self._client, job, post)
        except DeliveryError as error:
            log.warning("the rows could not be posted: %s", error, extra={"job": job.id})
        except Exception:
            log.exception("posting the rows broke off", extra={"job": job.id})


def is_result(message: discord.Message, job: Job) -> bool:
    """Whether a message shows this job's result; only results offer their details."""
    wanted = str(Press(Verb.DETAILS, job.id))
    return any(
        getattr(control, "custom_id", None) == wanted
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for control in row.children
    )
