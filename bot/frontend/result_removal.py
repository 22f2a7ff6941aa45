"""Delete the messages of results that moderators removed.

What is to be deleted is stored with the moderator's decision, so an interrupted removal continues
after a restart. The evidence is posted in the log channel first, if that is possible.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import discord

from bot.concurrency import Backoff, wait_for_event
from bot.domain.errors import DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.context import ContextClient, get_client, get_context
from bot.frontend.discord_errors import MessageNotFound, NotPermitted, map_discord_errors
from bot.frontend.permissions import actor_of

log = logging.getLogger(__name__)

POLL_S: Final = 60.0
_MAX_THREAD_MESSAGES: Final = 100
NOT_DELETED: Final = (
    "The removal is saved, but Discord did not delete everything yet. It is tried again."
)
REFUSED: Final = (
    "I am not allowed to delete every message of this result. Delete what is left yourself."
)


async def run_removals(
    client: ContextClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Finish interrupted removals, then retry those that failed, until cancelled.

    What is posted while it is removed is found within POLL_S.
    """
    backoff = Backoff(jitter=0.5)
    wanted = client.context.removal_pending
    while True:
        wanted.clear()
        pending = await client.context.messages.pending_removals()
        problems = [await remove_result(client, job_id) for job_id in pending]
        if NOT_DELETED in problems:
            await sleep(backoff.next())
        else:
            backoff.reset()
            await wait_for_event(wanted, POLL_S, sleep)


async def remove_result(client: ContextClient, job_id: str) -> str:
    """Delete the messages of a removed result; return what is to be said about a problem.

    Idempotent.
    """
    context = client.context
    job = await context.queue.jobs.get(job_id)
    if job is None:
        return ""
    await client.log_poster.post_evidence(job.request.place.guild_id)
    problem = ""
    async with context.locks.acquire(job_id):
        # Whoever posts rows does so with this lock, and stops when they are no longer wanted.
        await context.messages.complete_rows(job_id, "removed by a moderator")
        await context.messages.extend_removal(job)
        for wanted in await context.messages.removals(job_id):
            if wanted.done_at is not None:
                continue
            channel, _, message = wanted.nonce.partition(":")
            try:
                await _delete(client, job, int(channel), message)
            except DeliveryUnavailable as error:
                log.info("a removal waits: %s", error, extra={"job": job_id})
                problem = NOT_DELETED
                continue
            except NotPermitted as error:
                log.warning("a removal is refused: %s", error, extra={"job": job_id})
                await context.messages.finish_removal(job_id, wanted.nonce, str(error))
                problem = problem or REFUSED
                continue
            except MessageNotFound:
                pass  # it is gone, which is what was wanted
            if message.isdecimal():
                await context.messages.forget(int(message))
            await context.messages.finish_removal(job_id, wanted.nonce)
    if problem == NOT_DELETED:
        context.removal_pending.set()
    return problem


async def remove_with_evidence(
    interaction: discord.Interaction[Any], job: Job, reason: str, message: MessageRef | None
) -> str:
    """Remove a result as a moderator; return what ``remove_result`` does. Raises RequestError."""
    context = get_context(interaction)
    by = actor_of(interaction, context.moderator_role)
    await context.reports.remove(
        interaction.guild_id or 0, job, reason=reason, by=by, message=message
    )
    return await remove_result(get_client(interaction), job.id)


async def _delete(client: ContextClient, job: Job, channel_id: int, message: str) -> None:
    if message == "thread":
        await _delete_thread(client, job, channel_id)
    elif channel_id:
        place = MessageRef(channel_id, int(message))
        await messages.with_open_thread(client, channel_id, lambda: messages.delete(client, place))


async def _delete_thread(client: ContextClient, job: Job, thread_id: int) -> None:
    """Delete the thread with the rows or, without Manage Threads, the rows in it."""
    try:
        with map_discord_errors():
            await client.http.delete_channel(thread_id)
            return
    except NotPermitted as error:
        log.info("the empty thread stays: %s", error, extra={"job": job.id})

    async def empty() -> None:
        thread = client.get_partial_messageable(thread_id)
        own = client.user
        with map_discord_errors():
            async for posted in thread.history(limit=_MAX_THREAD_MESSAGES):
                if own is not None and posted.author.id == own.id and _is_plain(posted):
                    await posted.delete()

    await messages.with_open_thread(client, thread_id, empty)


def _is_plain(message: discord.Message) -> bool:
    """Return whether it is a message of its own, not the start of the thread."""
    return message.type in (discord.MessageType.default, discord.MessageType.reply)
