"""Deliver results to Discord.

Delivery methods, in this order:

interaction   edit the status message into the result, with the interaction token; the bot edits
              that of a set's job itself
channel       post a new message in the same channel, which mentions the author once
direct        send a direct message to the author

The clock decides which methods are possible. An interrupted attempt is found by its message: a
result has components with its job id. Rows are retried until Discord refuses them.
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
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.context import ContextClient
from bot.frontend.custom_ids import ComponentAction, CustomId
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.frontend.discord_errors import (
    InteractionExpired,
    MessageNotFound,
    NotPermitted,
    map_discord_errors,
)
from bot.frontend.first_response import find_status_message
from bot.frontend.formatting import short_id
from bot.frontend.result_files import ResultMessage, needs_row_uploads, post_result
from bot.frontend.row_uploads import RowsUnwanted, upload_rows
from bot.services.delivery import StatusMessage
from bot.services.results import JobResult

log = logging.getLogger(__name__)

POSTING_SECONDS: Final = 5.0
STATUS_MESSAGE_WAIT_S: Final = 3.0
POLL_INTERVAL_S: Final = 0.05

PERMISSION_WAIT: Final = timedelta(days=1)
"""How long rows of a new job wait for a permission that Discord says is missing."""

OWN_EDIT_WITHIN: Final = timedelta(minutes=14)
"""How long the status message of a set's job can become the result; a token lives as long."""

ROWS_SECONDS: Final = 300.0
MAX_DEFECTS: Final = 5


class DiscordDelivery:
    """Posts a result by one method; its row files follow in a background task."""

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
        self._row_tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting_rows: set[str] = set()
        self._closing = False

    async def aclose(self, timeout_s: float = POSTING_SECONDS) -> None:
        """Start nothing more; give rows being posted ``timeout_s`` seconds, then cancel.

        The next process posts what is left.
        """
        self._closing = True
        tasks = tuple(self._row_tasks.values())
        posting = [task for one, task in self._row_tasks.items() if one not in self._waiting_rows]
        if posting:
            await asyncio.wait(posting, timeout=timeout_s)
        await cancel_and_wait(*tasks)

    async def resume_pending_rows(self) -> None:
        """Post the rows that a stop or a crash left unposted."""
        context = self._client.context
        for job_id in await context.messages.pending_rows():
            job = await context.queue.jobs.get(job_id)
            if job is None or not job.state.terminal:
                continue  # they follow when its grid is found or posted
            if job.result is None:
                await context.messages.complete_rows(job_id, "the grid was never posted")
                continue
            await self._start_row_task(job, job.delivery_method, job.result)

    async def methods(self, job: Job) -> tuple[str, ...]:
        """Return the delivery methods that are possible now, the best first."""
        if not job.request.place.channel_id:
            return ()
        elsewhere = () if job.image_check is ImageOutcome.RESTRICTED else (DIRECT,)
        post = await self._status_message(job)
        if post is not None and await self._becomes_result(job, post):
            return INTERACTION, CHANNEL, *elsewhere
        return CHANNEL, *elsewhere

    async def _becomes_result(self, job: Job, post: StatusMessage) -> bool:
        """Return whether the status message can be edited into the result.

        For a job of a set the bot does that itself, for as long as a token would have been valid:
        later the message is far up in the channel, and nobody would notice.
        """
        context = self._client.context
        if post.interaction is not None:
            return post.is_token_valid(context.now())
        recent = context.now() - job.created_at < OWN_EDIT_WITHIN
        here = post.message.channel_id == job.request.place.channel_id
        return recent and here and await context.sets.number_in_set(job.id) is not None

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        """Post the grid; its full-size rows follow if they have to be files.

        Raises DeliveryUnavailable if it cannot be posted now or the outcome is unknown, any other
        DeliveryError if this method is refused, ArtifactMissing if the files are gone.
        """
        context = self._client.context
        guild_id = 0 if method == DIRECT else job.request.place.guild_id

        async def post(result: ResultMessage) -> MessageRef:
            rows = needs_row_uploads(context, job, result)
            if rows:
                await context.messages.enqueue_rows(job.id)
            if method == INTERACTION:
                message = await self._edit_status_message(job, result)
            else:
                message = await self._send(method, job, result, nonce)
            if rows:
                await self._start_row_task(job, method, message)
            return message

        return await post_result(self._client, job, guild_id, post)

    async def _edit_status_message(self, job: Job, result: ResultMessage) -> MessageRef:
        """Edit the status message into the result, with its interaction token if it has one."""
        context = self._client.context
        post = await context.messages.status_message(job.id)
        if post is None or not (post.interaction or await self._becomes_result(job, post)):
            raise MessageNotFound("there is no status message to edit")
        if post.interaction is not None and not post.is_token_valid(context.now()):
            raise InteractionExpired("the interaction token has expired meanwhile")
        reference, uploads = post.interaction, result.uploads
        async with context.locks.acquire(job.id):
            if reference is None:
                await messages.edit_status_message(
                    self._client, post, result.embed, context.now(), uploads=uploads
                )
                return post.message
            try:
                return await messages.with_open_thread(
                    self._client,
                    post.message.channel_id,
                    lambda: messages.edit_response(
                        self._client, reference, result.embed, uploads=uploads
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
        """Return the result that an attempt since ``since`` posted, or None.

        Raises DeliveryUnavailable if this is unknown now, any other DeliveryError if for ever.
        """
        message = await self._find(method, job, since)
        if message is not None and job.id in await self._client.context.messages.pending_rows():
            await self._start_row_task(job, method, message)
        return message

    async def _find(self, method: str, job: Job, since: datetime) -> MessageRef | None:
        if method == INTERACTION:
            return await self._find_edited_status(job)
        channel = await self._channel(method, job.request.place.channel_id, job.request.author.id)
        asked = await self._client.context.queue.jobs.interaction(job.id)
        after = discord.Object(discord.utils.time_snowflake(since - messages.MAX_CLOCK_SKEW))
        with map_discord_errors():
            async for message in channel.history(limit=None, after=after):
                # An answer to /show looks the same, but is nobody's delivery.
                answers = message.interaction_metadata
                own = answers is None or (asked is not None and answers.id == asked.id)
                if own and is_result_message(message, job):
                    return MessageRef(message.channel.id, message.id)
        return None

    async def _find_edited_status(self, job: Job) -> MessageRef | None:
        """Return the status message if it shows the result; read by token if possible."""
        context = self._client.context
        post = await context.messages.status_message(job.id)
        if post is None:
            return None
        reference = post.interaction
        try:
            if reference is not None and reference.expires_at > context.now():
                try:
                    message = await messages.fetch_response(self._client, reference)
                except InteractionExpired:
                    message = await messages.fetch(self._client, post.message)
            else:
                message = await messages.fetch(self._client, post.message)
        except MessageNotFound:
            return None
        return post.message if is_result_message(message, job) else None

    async def _status_message(self, job: Job) -> StatusMessage | None:
        """Return the job's status message, waiting a moment while it is being posted."""
        context = self._client.context
        waited = 0.0
        while True:
            post = await context.messages.status_message(job.id)
            if post is not None:
                return post
            age = (context.now() - job.created_at).total_seconds()
            timed_out = waited >= STATUS_MESSAGE_WAIT_S or age > STATUS_MESSAGE_WAIT_S
            if timed_out or context.status_tasks.is_active(job.id):
                return await find_status_message(self._client, job)
            await self._sleep(POLL_INTERVAL_S)
            waited += POLL_INTERVAL_S

    async def _send(self, method: str, job: Job, result: ResultMessage, nonce: str) -> MessageRef:
        author_id = job.request.author.id
        place = job.request.place
        channel = await self._channel(method, place.channel_id, author_id)
        if method == CHANNEL:
            content = f"<@{author_id}> Your images are ready."
        else:
            content = (
                f"Your images from <#{place.channel_id}> could not be posted there, "
                f"so here they are ({short_id(job.id)})."
            )
        sent = await messages.send(
            channel,
            result.embed,
            content=content,
            uploads=result.uploads,
            nonce=nonce,
            mention_user_id=author_id if method == CHANNEL else None,
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

    async def _start_row_task(self, job: Job, method: str, message: MessageRef) -> None:
        status = (
            await self._client.context.messages.status_message(job.id)
            if method == INTERACTION
            else None
        )
        # Looked at after the last wait: nothing may begin once aclose has counted what there is.
        if self._closing or job.id in self._row_tasks:
            return
        post = StatusMessage(message, status.interaction if status else None)
        task = asyncio.get_running_loop().create_task(
            self._post_rows(job, post), name=f"rows of {job.id}"
        )
        self._row_tasks[job.id] = task

        def ended(_: object) -> None:
            del self._row_tasks[job.id]
            self._waiting_rows.discard(job.id)

        task.add_done_callback(ended)

    async def _post_rows(self, job: Job, post: StatusMessage) -> None:
        """Post the rows, retrying until done or refused. Idempotent."""
        backoff = Backoff(jitter=0.5)
        defects = 0
        while True:
            try:
                async with asyncio.timeout(self._rows_seconds):
                    await upload_rows(self._client, job, post)
            except RowsUnwanted as error:
                log.info("no more rows are posted: %s", error, extra={"job": job.id})
                return
            except (DeliveryError, OSError) as error:
                if not self._may_pass(error, job):
                    log.warning("the rows could not be posted: %s", error, extra={"job": job.id})
                    await self._client.context.messages.complete_rows(job.id, str(error))
                    return
                pause = backoff.next(getattr(error, "retry_after", 0.0))
                what = str(error) or "no answer in time"
                log.info("the rows wait %.1f s: %s", pause, what, extra={"job": job.id})
            except Exception:
                log.exception("posting the rows broke off", extra={"job": job.id})
                pause = backoff.next()
                defects += 1
                if defects == MAX_DEFECTS:
                    return  # still owed: the next start tries again
            else:
                await self._client.context.messages.complete_rows(job.id)
                return
            self._waiting_rows.add(job.id)
            await self._sleep(pause)

    def _may_pass(self, error: Exception, job: Job) -> bool:
        """Return whether the rows are worth another attempt; a permission for a day only."""
        if isinstance(error, NotPermitted):
            return self._client.context.now() - job.created_at < PERMISSION_WAIT
        return not isinstance(error, DeliveryError) or isinstance(error, DeliveryUnavailable)


def is_result_message(message: discord.Message, job: Job) -> bool:
    """Return whether a message shows this job's result: only results offer Details."""
    wanted = str(CustomId(ComponentAction.DETAILS, job.id))
    return any(
        getattr(control, "custom_id", None) == wanted
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for control in row.children
    )
