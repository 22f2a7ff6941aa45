"""Brings results to Discord: the rungs of the delivery ladder, from the card itself to a DM.

    interaction   the card becomes the result, by the token of the command or press
    channel       a message of the bot's own in the same channel, which calls the author once
    direct        a direct message to the author

Which rungs there are is told by the clock, not by trying. When an attempt was interrupted, the
messages themselves say whether it was made: a result carries controls with its job's id. The rows
follow their grid, however long Discord makes them wait: only a refusal ends them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import discord

from bot.concurrency import Backoff, cancel_and_wait
from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.components import ComponentAction, CustomId
from bot.frontend.context import ContextClient
from bot.frontend.first_response import find_card
from bot.frontend.formatting import short_id
from bot.frontend.messages import InteractionExpired, MessageNotFound, map_discord_errors
from bot.frontend.result_files import ResultMessage, needs_row_uploads, post_picture
from bot.frontend.row_uploads import upload_rows
from bot.services.delivery import StatusMessage
from bot.services.results import JobResult

log = logging.getLogger(__name__)

INTERACTION: Final = "interaction"
CHANNEL: Final = "channel"
DIRECT: Final = "direct"

POSTING_SECONDS: Final = 5.0
CARD_SECONDS: Final = 3.0
LOOK_EVERY: Final = 0.05
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""By so much Discord's clock, which numbers messages, may be behind this machine's."""

ROWS_SECONDS: Final = 300.0
MOST_DEFECTS: Final = 5


class DiscordDelivery:
    """Posts one result on one rung; its rows follow, if not now, then after a ``resume``."""

    def __init__(
        self,
        client: ContextClient,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rows_seconds: float = ROWS_SECONDS,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._rows_seconds = rows_seconds
        self._afterwards: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()
        self._closing = False

    async def aclose(self, timeouts: float = POSTING_SECONDS) -> None:
        """Begin nothing more; rows on their way get some seconds, the next bot posts the rest.

        Rows that wait for Discord get none.
        """
        self._closing = True
        tasks = tuple(self._afterwards.values())
        posting = [task for one, task in self._afterwards.items() if one not in self._waiting]
        if posting:
            await asyncio.wait(posting, timeout=timeouts)
        await cancel_and_wait(*tasks)

    async def resume_pending_rows(self) -> None:
        """Post the rows that a stop or a crash has left behind their grid."""
        context = self._client.context
        for job_id in await context.messages.pending_rows():
            job = await context.queue.jobs.get(job_id)
            if job is None or not job.state.terminal:
                continue  # they follow when its grid is found or posted
            if job.result is None:
                await context.messages.complete_rows(job_id, "the grid was never posted")
                continue
            await self._follow_up(job, job.delivery_method, job.result)

    async def methods(self, job: Job) -> tuple[str, ...]:
        """The rungs that can hold now, the best first."""
        if not job.request.place.channel_id:
            return ()
        post = await self._card(job)
        if post is not None and post.is_token_valid(self._client.context.now()):
            return INTERACTION, CHANNEL, DIRECT
        return CHANNEL, DIRECT

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        """Post the grid; its full-size rows follow by themselves where they have to be files.

        Raises DeliveryUnavailable if it cannot be posted now or nobody can say whether it was, any
        other DeliveryError if this rung refuses it, ArtifactMissing if there is nothing to post.
        """
        context = self._client.context
        guild_id = 0 if method == DIRECT else job.request.place.guild_id

        async def post(picture: ResultMessage) -> MessageRef:
            rows = needs_row_uploads(context, job, picture)
            if rows:
                await context.messages.enqueue_rows(job.id)
            if method == INTERACTION:
                message = await self._edit(job, picture)
            else:
                message = await self._send(method, job, picture, nonce)
            if rows:
                await self._follow_up(job, method, message)
            return message

        return await post_picture(self._client, job, guild_id, post)

    async def _edit(self, job: Job, picture: ResultMessage) -> MessageRef:
        """Let the card become the result, by its interaction's token."""
        context = self._client.context
        post = await context.messages.status_message(job.id)
        if post is None or post.interaction is None:
            raise MessageNotFound("there is no card to become the result")
        if not post.is_token_valid(context.now()):
            raise InteractionExpired("the token of the card has expired meanwhile")
        reference, uploads = post.interaction, picture.uploads
        async with context.locks.acquire(job.id):
            try:
                return await messages.opening_thread(
                    self._client,
                    post.message.channel_id,
                    lambda: messages.edit_answer(
                        self._client, reference, picture.card, uploads=uploads
                    ),
                )
            except InteractionExpired:
                # Perhaps of the library's second attempt only, after an answer that was lost.
                message = await self._find(INTERACTION, job, job.created_at)
                if message is None:
                    raise
                return message

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        """The result that an attempt, first made at ``since``, left behind; None if it left none.

        Raises DeliveryUnavailable if that cannot be seen now, any other DeliveryError if never.
        """
        message = await self._find(method, job, since)
        if message is not None and job.id in await self._client.context.messages.pending_rows():
            await self._follow_up(job, method, message)
        return message

    async def _find(self, method: str, job: Job, since: datetime) -> MessageRef | None:
        if method == INTERACTION:
            return await self._find_card(job)
        channel = await self._channel(method, job.request.place.channel_id, job.request.author.id)
        asked = await self._client.context.queue.jobs.interaction(job.id)
        after = discord.Object(discord.utils.time_snowflake(since - CLOCKS_DIFFER))
        with map_discord_errors():
            async for message in channel.history(limit=None, after=after):
                # An answer to /show looks the same, but is nobody's delivery.
                answers = message.interaction_metadata
                own = answers is None or (asked is not None and answers.id == asked.id)
                if own and is_result_message(message, job):
                    return MessageRef(message.channel.id, message.id)
        return None

    async def _find_card(self, job: Job) -> MessageRef | None:
        """The card, if it shows the result; by the token, which sees what the bot may not."""
        context = self._client.context
        post = await context.messages.status_message(job.id)
        if post is None:
            return None
        reference = post.interaction
        try:
            if reference is not None and reference.expires_at > context.now():
                try:
                    message = await messages.fetch_answer(self._client, reference)
                except InteractionExpired:
                    message = await messages.fetch(self._client, post.message)
            else:
                message = await messages.fetch(self._client, post.message)
        except MessageNotFound:
            return None
        return post.message if is_result_message(message, job) else None

    async def _card(self, job: Job) -> StatusMessage | None:
        """The job's card; a picture can be ready before the answer that announces it is posted."""
        context = self._client.context
        waited = 0.0
        while True:
            post = await context.messages.status_message(job.id)
            if post is not None:
                return post
            age = (context.now() - job.created_at).total_seconds()
            late = waited >= CARD_SECONDS or age > CARD_SECONDS
            if late or context.settling.under_way(job.id):
                return await find_card(self._client, job)
            await self._sleep(LOOK_EVERY)
            waited += LOOK_EVERY

    async def _send(self, method: str, job: Job, picture: ResultMessage, nonce: str) -> MessageRef:
        author_id = job.request.author.id
        place = job.request.place
        channel = await self._channel(method, place.channel_id, author_id)
        if method == CHANNEL:
            content = f"<@{author_id}> Your picture is ready."
        else:
            content = (
                f"Your picture from <#{place.channel_id}> could not be posted there, "
                f"so here it is ({short_id(job.id)})."
            )
        sent = await messages.send(
            channel,
            picture.card,
            content=content,
            uploads=picture.uploads,
            nonce=nonce,
            mentioning=author_id if method == CHANNEL else None,
        )
        return MessageRef(sent.channel.id, sent.id)

    async def _channel(
        self, method: str, channel_id: int, author_id: int
    ) -> discord.abc.Messageable:
        if method == CHANNEL:
            return self._client.get_partial_messageable(channel_id)
        if not author_id:
            raise MessageNotFound("nobody asked for it")
        with map_discord_errors():
            return await self._client.create_dm(discord.Object(author_id))

    async def _follow_up(self, job: Job, method: str, message: MessageRef) -> None:
        card = (
            await self._client.context.messages.status_message(job.id)
            if method == INTERACTION
            else None
        )
        # Looked at after the last wait: nothing may begin once aclose has counted what there is.
        if self._closing or job.id in self._afterwards:
            return
        post = StatusMessage(message, card.interaction if card else None)
        task = asyncio.get_running_loop().create_task(
            self._rows(job, post), name=f"rows of {job.id}"
        )
        self._afterwards[job.id] = task

        def ended(_: object) -> None:
            del self._afterwards[job.id]
            self._waiting.discard(job.id)

        task.add_done_callback(ended)

    async def _rows(self, job: Job, post: StatusMessage) -> None:
        """Post the rows, as often as it takes; what is there already is not posted again."""
        backoff = Backoff(jitter=0.5)
        defects = 0
        while True:
            try:
                async with asyncio.timeout(self._rows_seconds):
                    await upload_rows(self._client, job, post)
            except (DeliveryUnavailable, OSError) as error:
                pause = backoff.next(getattr(error, "retry_after", 0.0))
                what = str(error) or "no answer in time"
                log.info("the rows wait %.1f s: %s", pause, what, extra={"job": job.id})
            except DeliveryError as error:
                log.warning("the rows could not be posted: %s", error, extra={"job": job.id})
                await self._client.context.messages.complete_rows(job.id, str(error))
                return
            except Exception:
                log.exception("posting the rows broke off", extra={"job": job.id})
                pause = backoff.next()
                defects += 1
                if defects == MOST_DEFECTS:
                    return  # still owed: the next start tries again
            else:
                await self._client.context.messages.complete_rows(job.id)
                return
            self._waiting.add(job.id)
            await self._sleep(pause)


def is_result_message(message: discord.Message, job: Job) -> bool:
    """Whether a message shows this job's result; only results offer their details."""
    wanted = str(CustomId(ComponentAction.DETAILS, job.id))
    return any(
        getattr(control, "custom_id", None) == wanted
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for control in row.children
    )
