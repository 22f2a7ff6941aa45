"""``/show``: an earlier job's result, brought out again here."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.job import Job, JobState
from bot.frontend.context import BotContext, client_of
from bot.frontend.embeds import QueueInfo, job_message
from bot.frontend.job_lookup import find_job, job_choices
from bot.frontend.messages import (
    DeliveryUnconfirmed,
    EmbedField,
    MessageContent,
    TooLarge,
    edit_answer,
)
from bot.frontend.permissions import actor_of
from bot.frontend.press_checks import is_here
from bot.frontend.response_outcomes import PAUSES
from bot.frontend.responses import defer, safe_autocomplete, send_ephemeral
from bot.frontend.result_files import ResultMessage, post_picture, without_picture
from bot.frontend.submission import interaction_ref
from bot.services.budget import format_cost

log = logging.getLogger(__name__)

GONE = (
    "The pictures of this job are not here any more. Its prompt and settings are: press Try again, "
    "or use /imagine with the same seed."
)


async def show_result(interaction: discord.Interaction[Any], context: BotContext, job: Job) -> None:
    """Answer with the job as it is now, and what it cost. Raises RequestError if it is gone."""
    compute = format_cost(await context.queue.jobs.credits(job.id))
    if job.state is not JobState.FINISHED:
        position = await context.queue.position(job)
        card = job_message(
            job, context.now(), QueueInfo(position, notice=context.notice(), live=False)
        )
        await send_ephemeral(interaction, "As it is at this moment:", card=_with(card, compute))
        return
    grid = context.fetcher.result(job).grid
    # The first answer decides who sees it, so what can be refused is refused before.
    if not await asyncio.to_thread(grid.exists):
        raise RequestError(GONE)
    await defer(interaction, thinking=True, private=False)

    async def post(picture: ResultMessage) -> None:
        card = _with(picture.card, compute)
        for pause in (*PAUSES, 0.0):
            try:
                await edit_answer(
                    interaction.client, interaction_ref(interaction), card, uploads=picture.uploads
                )
                return
            except DeliveryUnconfirmed as error:
                # It may be shown already, so no apology may take its place.
                log.info("the picture is shown again: %s", error, extra={"job": job.id})
                await context.sleep(pause)

    try:
        await post_picture(client_of(interaction), job, interaction.guild_id or 0, post)
    except TooLarge:
        await post(without_picture(context, job))
    except ArtifactMissing:
        # Only a new message can be private now that everybody has seen "is thinking".
        await interaction.delete_original_response()
        await interaction.followup.send(GONE, ephemeral=True)


def _with(card: MessageContent, compute: str) -> MessageContent:
    """The card with what the job cost, where it cost anything."""
    if not compute:
        return card
    return replace(card, fields=(*card.fields, EmbedField("Compute", compute)))


ELSEWHERE: Final = (
    "This job was asked for somewhere else, so it is not shown here. Use /show where you asked "
    "for it, or in a direct message with me."
)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="show", description="Bring one of your results out again, here")
    @app_commands.describe(id="The id at the foot of its card; /history lists yours")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def show_job(
        interaction: discord.Interaction[discord.Client],
        id: str,  # what members read is the option's name
    ) -> None:
        member = actor_of(interaction, context.moderator_role)
        job = await find_job(context, id, member, interaction.guild_id)
        if not is_here(job, interaction.guild_id, member.id):
            # Its buttons would be refused here, and others would read what was asked for there.
            raise RequestError(ELSEWHERE)
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
