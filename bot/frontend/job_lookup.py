"""Find the job of a typed id or of a component, if the member may access it.

Discord only forwards components that the bot sent, but a custom id is text, so it is checked: the
component belongs to its job, its message and the job's server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.domain.text import truncate_utf16
from bot.frontend import messages
from bot.frontend.context import BotContext, get_context
from bot.frontend.custom_ids import CustomId, has_component, job_ids_on
from bot.frontend.formatting import short_id
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.services.queue import Actor

UNKNOWN_JOB: Final = "This job no longer exists."
WRONG_MESSAGE: Final = (
    "This button does not belong to this message, so it does nothing. "
    "Use /history or /show to get the job with its own buttons."
)
REMOVED: Final = "A moderator removed this result, so it is not shown again."
MESSAGE_NOT_FOUND: Final = "This message cannot be found any more."
_ID: Final = re.compile(r"[a-z2-7]{8,16}")
_MAX_NAMED: Final = 5


def is_in_scope(job: Job, guild_id: int | None, user_id: int) -> bool:
    """Return whether a job may be used on this server or, if None, in the user's DMs."""
    if guild_id is None:
        return job.request.author.id == user_id
    return job.request.place.guild_id == guild_id


def can_access(job: Job, member: Actor, guild_id: int | None) -> bool:
    """Return whether the job is the member's, or of the server that they moderate."""
    if job.request.author.id == member.id:
        return True
    # A moderator's word counts on their own server and nowhere else.
    return member.moderator and guild_id is not None and job.request.place.guild_id == guild_id


async def find_job(context: BotContext, typed: str, member: Actor, guild_id: int | None) -> Job:
    """Return the job whose id starts with ``typed``.

    Raises RequestError if there is none or more than one, NotAllowed if it is somebody else's.
    """
    wanted = typed.strip().strip("`").lower()
    if not _ID.fullmatch(wanted):
        raise InvalidRequest(
            "id",
            "An id has 8 to 16 characters (a to z, 2 to 7). It is at the bottom of the job's "
            "message. /history lists your jobs.",
        )
    found = [
        job
        for job in await context.queue.jobs.prefix(wanted)
        # What another server asks for is nobody's business here, not even that it exists.
        if job.request.author.id == member.id or job.request.place.guild_id == guild_id
    ]
    if not found:
        raise RequestError(f"There is no job {wanted}. /history lists your jobs.")
    allowed = [job for job in found if can_access(job, member, guild_id)]
    if not allowed:
        raise NotAllowed(
            f"The job {wanted} belongs to another member. Only they, or a moderator of their "
            "server, can do this."
        )
    if len(allowed) > 1:
        ids = [job.id for job in allowed]
        longer = ", ".join(short_id(ident, ids) for ident in ids[:_MAX_NAMED])
        raise InvalidRequest("id", f"Several jobs start with {wanted}. Type more: {longer}.")
    return allowed[0]


def job_choices(jobs: Iterable[Job], typed: str) -> list[app_commands.Choice[str]]:
    """Return autocomplete choices: jobs with ``typed`` in the id or prompt, at most 25."""
    wanted = typed.strip().casefold()
    known = tuple(jobs)
    ids = sorted(job.id for job in known)
    # In order, an id shares most with the ones beside it.
    beside = {one: ids[max(0, at - 1) : at + 2] for at, one in enumerate(ids)}
    return [
        app_commands.Choice(
            name=truncate_utf16(
                f"{short_id(job.id, beside[job.id])} · {job.state} · {job.request.prompt}",
                MAX_OPTION_TEXT,
            ),
            value=job.id,
        )
        for job in known
        if wanted in job.id or wanted in job.request.prompt.casefold()
    ][:MAX_OPTIONS]


async def load_component_job(
    interaction: discord.Interaction[Any], target: CustomId, custom_id: str
) -> Job:
    """Return the job of a component or modal. Raises RequestError if it does not belong.

    ``target`` is the parsed ``custom_id``.
    """
    context = get_context(interaction)
    job = await context.queue.jobs.get(target.job_id)
    if job is None or not is_in_scope(job, interaction.guild_id, interaction.user.id):
        raise RequestError(UNKNOWN_JOB)
    message = interaction.message
    if message is None:
        return job  # a form need not come from a message
    if not await _belongs_to(context, message, job):
        raise RequestError(WRONG_MESSAGE)
    is_component = interaction.type is discord.InteractionType.component
    if is_component and not has_component(message, custom_id):
        raise RequestError(WRONG_MESSAGE)
    return job


async def require_own_message(
    client: discord.Client, context: BotContext, job: Job, place: MessageRef
) -> None:
    """Check that a message belongs to the job, so that it may be deleted.

    Raises RequestError if it does not, MessageNotFound if it is gone, DeliveryError if unknown.
    """
    owner = await context.messages.job_of(place.message_id)
    if owner == job.id or place == job.result:
        return
    if owner is None:
        # Not written down is what /show brought out; its controls say whose it is.
        message = await messages.fetch(client, place)
        ours = client.user is not None and message.author.id == client.user.id
        if ours and job_ids_on(message) == {job.id}:
            return
    raise RequestError(MESSAGE_NOT_FOUND)


async def _belongs_to(context: BotContext, message: discord.Message, job: Job) -> bool:
    """Return whether a message is stored for the job, or names no other job."""
    owner = await context.messages.job_of(message.id)
    return owner in (None, job.id) and job_ids_on(message) <= {job.id}
