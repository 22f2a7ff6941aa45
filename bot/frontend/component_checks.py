"""Check that a component belongs to its job, its message and the job's server.

Discord only forwards components that the bot sent, but a custom id is text, so it is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.components import CustomId
from bot.frontend.context import BotContext, get_context

UNKNOWN_JOB: Final = "This job no longer exists."
WRONG_MESSAGE: Final = (
    "This button does not belong to this message, so it does nothing. "
    "Use /history or /show to get the job with its own buttons."
)
MESSAGE_NOT_FOUND: Final = "This message cannot be found any more."


def is_in_scope(job: Job, guild_id: int | None, user_id: int) -> bool:
    """Return whether a job may be used on this server or, if None, in the user's DMs."""
    if guild_id is None:
        return job.request.author.id == user_id
    return job.request.place.guild_id == guild_id


def has_component(message: discord.Message, custom_id: str) -> bool:
    """Return whether a message has a component with this custom id."""
    return custom_id in _custom_ids(message.components)


def job_ids_on(message: discord.Message) -> frozenset[str]:
    """Return the ids of the jobs that a message's components name."""
    targets = (CustomId.parse(custom_id) for custom_id in _custom_ids(message.components))
    return frozenset(target.job_id for target in targets if target is not None)


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


def _custom_ids(components: Any) -> Iterator[str]:
    for component in components:
        found = getattr(component, "custom_id", None)
        if found:
            yield found
        yield from _custom_ids(getattr(component, "children", ()))
        accessory = getattr(component, "accessory", None)
        if accessory is not None:
            yield from _custom_ids((accessory,))
