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
from bot.surface.first_answers import find_card
from bot.surface.posting import Gone, Unheard, border
from bot.surface.results import Picture, post_picture, wants_rows
from bot.surface.rows import post_rows
from bot.surface.texts import short_id

log = logging.getLogger(__name__)

INTERACTION: Final = "interaction"
CHANNEL: Final = "channel"
DIRECT: Final = "direct"

POSTING_SECONDS: Final = 5.0
CARD_SECONDS: Final = 3.0
LOOK_EVERY: Final = 0.05
LOOK_BACK: Final = 50


class DiscordCourier:
    """Posts one result on one rung; its rows follow, if not now, then after a ``resume``."""

    def __init__(
        self, client: DeskClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._afterwards: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    async def aclose(self, patience: float = POSTING_SECONDS) -> None:
        """Begin nothing more; rows on their way get some seconds, the next bot posts the rest."""
        self._closing = True
        tasks = tuple(self._afterwards.values())
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def resume(self) -> None:
        """Post the rows that a stop or a crash has left behind their grid."""
        desk = self._client.desk
        for job_id in await desk.posts.rows_owed():
            job = await desk.queue.jobs.get(job_id)
            if job is None or not job.state.terminal:
                continue  # they follow when its grid is found or posted
            if job.result is None:
                await desk.posts.rows_done(job_id, "the grid was never posted")
                continue
            await self._follow_up(job, job.rung, job.result)

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

        async def post(picture: Picture) -> MessageRef:
            rows = wants_rows(desk, job, picture)
            if rows:
                await desk.posts.owe_rows(job.id)
            if rung == INTERACTION:
                message = await self._edit(job, picture)
            else:
                message = await self._send(rung, job, picture, nonce)
            if rows:
                await self._follow_up(job, rung, message)
            return message

        return await post_picture(self._client, job, guild_id, post)

    async def _edit(self, job: Job, picture: Picture) -> MessageRef:
        """Let the card become the result, by its interaction's token."""
        desk = self._client.desk
        post = await desk.posts.card(job.id)
        if post is None or post.interaction is None:
            raise Gone("there is no card to become the result")
        async with desk.pens.hold(job.id):
            return await posting.edit_answer(
                self._client, post.interaction, picture.card, uploads=picture.uploads
            )

    async def find(self, rung: str, job: Job, nonce: str) -> MessageRef | None:
        """The result that an interrupted attempt left behind; None if it left none."""
        message = await self._find(rung, job)
        if message is not None and job.id in await self._client.desk.posts.rows_owed():
            await self._follow_up(job, rung, message)
        return message

    async def _find(self, rung: str, job: Job) -> MessageRef | None:
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
            if post is not None:
                return post
            age = (desk.now() - job.created_at).total_seconds()
            late = waited >= CARD_SECONDS or age > CARD_SECONDS
            if late or desk.settling.under_way(job.id):
                return await find_card(self._client, job)
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
            uploads=picture.uploads,
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

    async def _follow_up(self, job: Job, rung: str, message: MessageRef) -> None:
        card = await self._client.desk.posts.card(job.id) if rung == INTERACTION else None
        # Looked at after the last wait: nothing may begin once aclose has counted what there is.
        if self._closing or job.id in self._afterwards:
            return
        post = Post(message, card.interaction if card else None)
        task = asyncio.get_running_loop().create_task(
            self._rows(job, post), name=f"rows of {job.id}"
        )
        self._afterwards[job.id] = task
        task.add_done_callback(lambda _: self._afterwards.pop(job.id))

    async def _rows(self, job: Job, post: Post) -> None:
        why_not = ""
        try:
            await post_rows(self._client, job, post)
        except DeliveryError as error:
            log.warning("the rows could not be posted: %s", error, extra={"job": job.id})
            why_not = str(error)
        except Exception:
            log.exception("posting the rows broke off", extra={"job": job.id})
            why_not = "a defect, see the log"
        await self._client.desk.posts.rows_done(job.id, why_not)


def is_result(message: discord.Message, job: Job) -> bool:
    """Whether a message shows this job's result; only results offer their details."""
    wanted = str(Press(Verb.DETAILS, job.id))
    return any(
        getattr(control, "custom_id", None) == wanted
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for control in row.children
    )
