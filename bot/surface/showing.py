"""Bringing an earlier job out again: its result with working buttons, wherever it is asked for.

Who may do so was checked by the caller. A job without a result is described, and only privately.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import discord

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.job import Job, JobState
from bot.engine.spending import format_cost
from bot.surface.answers import defer, send_ephemeral
from bot.surface.card import EmbedField, MessageContent
from bot.surface.cards import QueueInfo, job_message
from bot.surface.desk import BotContext, client_of
from bot.surface.outcomes import PAUSES
from bot.surface.posting import DeliveryUnconfirmed, TooLarge, edit_answer
from bot.surface.results import ResultMessage, post_picture, without_picture
from bot.surface.submitting import interaction_ref

log = logging.getLogger(__name__)

GONE = (
    "The pictures of this job are not here any more. Its prompt and settings are: press Try again, "
    "or use /imagine with the same seed."
)


async def show_result(interaction: discord.Interaction[Any], desk: BotContext, job: Job) -> None:
    """Answer with the job as it is now, and what it cost. Raises RequestError if it is gone."""
    compute = format_cost(await desk.queue.jobs.credits(job.id))
    if job.state is not JobState.FINISHED:
        standing = await desk.queue.position(job)
        card = job_message(job, desk.now(), QueueInfo(standing, notice=desk.notice(), live=False))
        await send_ephemeral(interaction, "As it is at this moment:", card=_with(card, compute))
        return
    grid = desk.collector.result(job).grid
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
                await desk.sleep(pause)

    try:
        await post_picture(client_of(interaction), job, interaction.guild_id or 0, post)
    except TooLarge:
        await post(without_picture(desk, job))
    except ArtifactMissing:
        # Only a new message can be private now that everybody has seen "is thinking".
        await interaction.delete_original_response()
        await interaction.followup.send(GONE, ephemeral=True)


def _with(card: MessageContent, compute: str) -> MessageContent:
    """The card with what the job cost, where it cost anything."""
    if not compute:
        return card
    return replace(card, fields=(*card.fields, EmbedField("Compute", compute)))
