"""``/show``: show the result of an earlier job again; also what ``/history`` and others select."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.job import Job, JobState
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.discord_errors import RETRY_DELAYS_S, DeliveryUnconfirmed, TooLarge
from bot.frontend.job_lookup import REMOVED, find_job, is_in_scope, job_choices
from bot.frontend.message_content import EmbedField, MessageContent
from bot.frontend.messages import edit_response
from bot.frontend.permissions import actor_of
from bot.frontend.removed_pictures import are_pictures_gone, removed_pictures_message
from bot.frontend.responses import PersistentComponent, defer, safe_autocomplete, send_ephemeral
from bot.frontend.result_embeds import without_delete
from bot.frontend.result_files import ResultMessage, build_result_without_image, post_result
from bot.frontend.status_embeds import QueueInfo, job_message
from bot.frontend.submission import interaction_ref, require_shown_here
from bot.services.budget import format_cost

log = logging.getLogger(__name__)

IMAGES_GONE = (
    "The images of this job are no longer stored, but its prompt and settings are. Use Try again, "
    "or /imagine with the same seed."
)


async def show_result(
    interaction: discord.Interaction[Any], context: BotContext, job: Job, *, private: bool = False
) -> None:
    """Respond with the job as it is now, and its cost. Raises RequestError if it is gone.

    A result is seen by everybody, or by the member alone if ``private``.
    """
    compute = format_cost(await context.queue.jobs.credits(job.id))
    if job.state is not JobState.FINISHED:
        position = await context.queue.position(job)
        waits = job.state is JobState.QUEUED
        guild_id = job.request.place.guild_id
        notice = await context.notice_for(guild_id) if waits else context.notice()
        embed = job_message(job, context.now(), QueueInfo(position, notice=notice, live=False))
        await send_ephemeral(interaction, "Current state:", embed=_with_cost(embed, compute))
        return
    if await context.messages.removals(job.id):
        raise RequestError(REMOVED)
    require_shown_here(interaction, job)
    # The first answer decides who sees it, so what can be refused is refused before.
    if await are_pictures_gone(context, job):
        gone = await removed_pictures_message(context, job)
        await send_ephemeral(interaction, "", embed=_with_cost(gone, compute))
        return
    await defer(interaction, thinking=True, private=private)

    async def post(result: ResultMessage) -> None:
        embed = _with_cost(result.embed, compute)
        if private:
            embed = without_delete(embed)  # Discord's own link dismisses a private message
        for pause in (*RETRY_DELAYS_S, 0.0):
            try:
                await edit_response(
                    interaction.client, interaction_ref(interaction), embed, uploads=result.uploads
                )
                return
            except DeliveryUnconfirmed as error:
                # It may be shown already, so no apology may take its place.
                log.info("the picture is shown again: %s", error, extra={"job": job.id})
                await context.sleep(pause)

    try:
        await post_result(get_client(interaction), job, interaction.guild_id or 0, post)
    except TooLarge:
        await post(await build_result_without_image(context, job))
    except ArtifactMissing:
        # Only a new message can be private now that everybody has seen "is thinking".
        await interaction.delete_original_response()
        await interaction.followup.send(IMAGES_GONE, ephemeral=True)


def _with_cost(embed: MessageContent, compute: str) -> MessageContent:
    """Return the content with the job's cost, if there is one."""
    if not compute:
        return embed
    return replace(embed, fields=(*embed.fields, EmbedField("Compute", compute)))


class HistorySelect(PersistentComponent, template=r"gb-history:show"):
    """Shows the job that was selected in ``/history``."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Show the selected job, if the member may access it."""
        assert isinstance(self.item, discord.ui.Select)
        context = get_context(interaction)
        member = actor_of(interaction, context.moderator_role)
        selected = next(iter(self.item.values), "")
        job = await find_job(context, selected, member, interaction.guild_id)
        await show_result(interaction, context, job)


class FavouriteSelect(PersistentComponent, template=r"gb-favourites:show"):
    """Shows the result that was selected in ``/favourites``, to the member alone."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Show the selected result if the member has starred it, whoever made it."""
        assert isinstance(self.item, discord.ui.Select)
        context, user_id = get_context(interaction), interaction.user.id
        job = await context.queue.jobs.get(next(iter(self.item.values), ""))
        if (
            job is None
            or not is_in_scope(job, interaction.guild_id, user_id)
            or not await context.gallery.has_star(job.id, user_id)
        ):
            raise RequestError(NO_FAVOURITE)
        await show_result(interaction, context, job, private=True)


NO_FAVOURITE: Final = "This result is not among your favourites any more."
ITEMS: Final = (HistorySelect, FavouriteSelect)

OTHER_SERVER: Final = (
    "This job was requested on another server, so it is not shown here. Use /show on that server, "
    "or in a direct message to this bot."
)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(name="show", description="Show one of your results again, here")
    @app_commands.describe(id="The id at the bottom of its message; /history lists your jobs")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def show_job(
        interaction: discord.Interaction[discord.Client],
        id: str,  # what members read is the option's name
    ) -> None:
        member = actor_of(interaction, context.moderator_role)
        job = await find_job(context, id, member, interaction.guild_id)
        if not is_in_scope(job, interaction.guild_id, member.id):
            # Its buttons would be refused here, and others would read what was asked for there.
            raise RequestError(OTHER_SERVER)
        await show_result(interaction, context, job)

    @show_job.autocomplete("id")
    @safe_autocomplete
    async def suggest(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        mine = await context.queue.jobs.history(
            interaction.user.id, interaction.guild_id, limit=100
        )
        return job_choices(mine, typed)

    return show_job
