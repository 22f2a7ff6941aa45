"""``/queue``: positions of the member's requests, and the requests in this channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.job import ACTIVE_STATES, TERMINAL, Job, JobState
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import (
    as_sentence,
    escape_user_text,
    format_duration,
    pluralize,
    short_id,
)
from bot.frontend.listing import Listing, Section
from bot.frontend.message_content import GREY
from bot.frontend.responses import page_buttons, send_listing
from bot.frontend.status_embeds import SOON_S
from bot.services.queue import QueuePosition

_UNFINISHED: Final = tuple(state for state in JobState if state not in TERMINAL)
_NAME: Final = "queue"
_MAX_PROMPT: Final = 70


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(
        name="queue", description="Your position in the queue, and all requests in this channel"
    )
    async def queue(interaction: discord.Interaction[discord.Client]) -> None:
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    return queue


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    context = get_context(interaction)
    jobs = context.queue.jobs
    mine = await jobs.unfinished_of(interaction.user.id)
    here = await jobs.of_channel(interaction.channel_id or 0, _UNFINISHED)
    positions = await context.queue.positions()
    counts = await jobs.counts(interaction.user.id)
    in_all = f"{counts.waiting_of_all} waiting, {counts.in_flight_of_all} running"
    lines = [f"In all channels: {in_all}."]
    pause = await context.moderation.active_pause(interaction.guild_id or 0)
    notices = (
        context.queue.gate.closed_reason or context.notice(),
        pause.notice if pause else "",
    )
    lines += [as_sentence(notice) for notice in notices if notice]
    if any(job.state is JobState.QUEUED for job in mine):
        lines.append("Use the numbers below with `/cancel`, for example 2 or 2-4.")
    return Listing(
        "Queue",
        (
            Section("Your requests", format_own_requests(mine, positions), "None."),
            Section("In this channel", format_channel_requests(here, positions), "None."),
        ),
        "\n".join(lines),
        colour=GREY,
    )


ITEMS: Final = (page_buttons(_NAME, _listing),)


def format_own_requests(jobs: Sequence[Job], positions: Mapping[str, QueuePosition]) -> list[str]:
    """Return a member's unfinished requests: running ones first, then waiting ones, numbered.

    This response is never edited, so it says how long, not when.
    """
    under_way = [job for job in jobs if job.state is not JobState.QUEUED]
    waiting = [job for job in jobs if job.state is JobState.QUEUED]
    lines = [f"• {_format_request(job)}: {_format_progress(job)}" for job in under_way]
    for number, job in enumerate(waiting, 1):
        position = positions.get(job.id)
        line = f"{number}. {_format_request(job)}"
        if position is not None:
            line += f": {position.reason}"
            if position.starts_in is not None:
                seconds = position.starts_in.total_seconds()
                soon = seconds < SOON_S
                when = "at any moment" if soon else f"in about {format_duration(seconds)}"
                line += f"; should start {when}"
        lines.append(line)
    return lines


def format_channel_requests(
    jobs: Sequence[Job], positions: Mapping[str, QueuePosition]
) -> list[str]:
    """Return a channel's unfinished requests: author, size and progress."""

    def place(job: Job) -> tuple[bool, int, str]:
        position = positions.get(job.id)
        return (job.state is JobState.QUEUED, position.position if position else 0, job.id)

    lines = []
    for job in sorted(jobs, key=place):
        position = positions.get(job.id)
        how_far = position.reason.partition(":")[0] if position else _format_progress(job)
        size = pluralize(job.request.images, "image")
        if job.request.cost > 1:
            size += f" (counted as {job.request.quota_images})"
        lines.append(f"<@{job.request.author.id}>: {size}, {how_far}")
    return lines


def _format_request(job: Job) -> str:
    return f"`{short_id(job.id)}` {escape_user_text(job.request.prompt, _MAX_PROMPT)}"


def _format_progress(job: Job) -> str:
    if job.state is JobState.QUEUED:
        return "waiting"
    if job.is_held:
        return "waits for a moderator"
    return f"{job.percent} % done" if job.state in ACTIVE_STATES else "starting"
