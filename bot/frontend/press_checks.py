"""Whether a press belongs: to its job, to the message it was made on, and to that job's server.

Discord only passes on presses of controls that the bot has sent, so none of this should ever be
needed. It is asked all the same: a custom id is text, and what it names may be somebody else's.
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

UNKNOWN_JOB: Final = "This job is not known here any more."
FOREIGN: Final = (
    "This button does not belong to the message that it is on, so it does nothing. "
    "/history and /show bring a job out with buttons of its own."
)
NO_MESSAGE: Final = "That message cannot be found any more."


def is_here(job: Job, guild_id: int | None, user_id: int) -> bool:
    """Whether a job may be touched from a server, or (None) from the user's direct messages."""
    if guild_id is None:
        return job.request.author.id == user_id
    return job.request.place.guild_id == guild_id


def carries(message: discord.Message, custom_id: str) -> bool:
    """Whether a message has a control with this custom id."""
    return custom_id in _custom_ids(message.components)


def named_jobs(message: discord.Message) -> frozenset[str]:
    """The ids of the jobs that a message's controls are for."""
    presses = (CustomId.parse(custom_id) for custom_id in _custom_ids(message.components))
    return frozenset(press.job_id for press in presses if press is not None)


async def pressed_job(
    interaction: discord.Interaction[Any], press: CustomId, custom_id: str
) -> Job:
    """Return the job that a press or a form is for. Raises RequestError if it does not belong.

    ``press`` is what was read from ``custom_id``.
    """
    context = get_context(interaction)
    job = await context.queue.jobs.get(press.job_id)
    if job is None or not is_here(job, interaction.guild_id, interaction.user.id):
        raise RequestError(UNKNOWN_JOB)
    message = interaction.message
    if message is None:
        return job  # a form need not come from a message
    if not await _shows(context, message, job):
        raise RequestError(FOREIGN)
    pressed = interaction.type is discord.InteractionType.component
    if pressed and not carries(message, custom_id):
        raise RequestError(FOREIGN)
    return job


async def check_removable(
    client: discord.Client, context: BotContext, job: Job, place: MessageRef
) -> None:
    """Check that a message may be removed as the job's own.

    Raises RequestError if it is not, Gone if it is not there, DeliveryError if nobody can say.
    """
    owner = await context.messages.job_of(place.message_id)
    if owner == job.id or place == job.result:
        return
    if owner is None:
        # Not written down is what /show brought out; its controls say whose it is.
        message = await messages.fetch(client, place)
        ours = client.user is not None and message.author.id == client.user.id
        if ours and named_jobs(message) == {job.id}:
            return
    raise RequestError(NO_MESSAGE)


async def _shows(context: BotContext, message: discord.Message, job: Job) -> bool:
    """Whether a message is the job's: written down as its own, or with controls for it alone."""
    owner = await context.messages.job_of(message.id)
    return owner in (None, job.id) and named_jobs(message) <= {job.id}


def _custom_ids(components: Any) -> Iterator[str]:
    for component in components:
        found = getattr(component, "custom_id", None)
        if found:
            yield found
        yield from _custom_ids(getattr(component, "children", ()))
        accessory = getattr(component, "accessory", None)
        if accessory is not None:
            yield from _custom_ids((accessory,))
