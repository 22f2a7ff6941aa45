"""Taking a result out of the channel, for its author or a moderator, after asking once more.

The pictures stay on disk: a moderator may need to see what was removed, and ``/privacy`` erases.
"""

from __future__ import annotations

import logging
from typing import Any

import discord

from bot.domain.errors import DeliveryError, NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.surface import posting
from bot.surface.answers import defer, edit_deferred, send_ephemeral
from bot.surface.belonging import NO_MESSAGE, check_removable
from bot.surface.controls import CustomId, confirm_delete_components
from bot.surface.desk import BotContext, get_context
from bot.surface.members import actor_of
from bot.surface.posting import MessageNotFound, map_discord_errors

log = logging.getLogger(__name__)

_MOST_IN_THREAD = 100


async def confirm_delete(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Ask whether the message that was pressed shall go. Raises NotAllowed."""
    require_delete_permission(interaction, job)
    if interaction.message is None:
        raise RequestError("That message cannot be seen any more.")
    controls = confirm_delete_components(press.job_id, interaction.message.id)
    await send_ephemeral(
        interaction, "Delete this picture and its rows from the channel?", controls=controls
    )


async def delete_result(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Delete the message that ``press`` names, and the rows below it. Raises RequestError."""
    require_delete_permission(interaction, job)
    desk = get_context(interaction)
    if interaction.channel_id is None or len(press.numbers) != 1:
        raise RequestError(NO_MESSAGE)
    message = MessageRef(interaction.channel_id, press.numbers[0])
    await defer(interaction)
    text = "Deleted."
    try:
        await check_removable(interaction.client, desk, job, message)
        await _remove_rows(interaction.client, desk, job, message)
        await posting.delete(interaction.client, message)
    except MessageNotFound as error:
        if isinstance(error.__cause__, discord.Forbidden):
            raise RequestError(
                "I may not delete messages here; a moderator can delete it by hand."
            ) from error
        text = "It was gone already."
    except DeliveryError as error:
        raise RequestError("Discord did not delete it. Please try again in a minute.") from error
    await desk.posts.record_deletion(job, message.message_id, interaction.user.id)
    log.info("a result was removed by %d", interaction.user.id, extra={"job": job.id})
    await edit_deferred(interaction, text)


def require_delete_permission(interaction: discord.Interaction[Any], job: Job) -> None:
    """Raises NotAllowed for anybody but the author and moderators."""
    member = actor_of(interaction, get_context(interaction).moderator_role)
    if member.id != job.request.author.id and not member.moderator:
        raise NotAllowed("Only its author or a moderator can delete this.")


async def _remove_rows(
    client: discord.Client, desk: BotContext, job: Job, message: MessageRef
) -> None:
    """Delete the rows below a message, if they are there; the empty thread stays behind."""
    first = await desk.posts.thread(job.id)
    if first is None or first.channel_id != message.message_id or client.user is None:
        return
    thread = client.get_partial_messageable(first.channel_id)
    try:
        with map_discord_errors():
            async for posted in thread.history(limit=_MOST_IN_THREAD):
                if posted.author.id == client.user.id:
                    await posted.delete()
    except MessageNotFound as error:
        log.info("the rows are gone already: %s", error, extra={"job": job.id})
