"""``/cancel``: cancel requests by id, by numbers in ``/queue``, or all of the member."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.job import Job, JobState, charged_images
from bot.domain.text import truncate_utf16
from bot.frontend.context import BotContext
from bot.frontend.formatting import escape_user_text, pluralize, short_id
from bot.frontend.job_lookup import find_job, job_choices
from bot.frontend.listing import split_pages
from bot.frontend.message_content import MAX_CONTENT
from bot.frontend.permissions import actor_of
from bot.frontend.responses import defer, safe_autocomplete, send_ephemeral, send_follow_up
from bot.services.cancelling import cancel_job
from bot.services.queue import Actor

ALL: Final = "all"
_NUMBERS: Final = re.compile(r"([0-9]{1,4})(?:\s*[-–—]\s*([0-9]{1,4}))?")
_MAX_PROMPT: Final = 60


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(
        name="cancel", description="Cancel your requests and get the images refunded"
    )
    @app_commands.describe(what="A job id, numbers from /queue such as 2 or 2-4, or all")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def cancel(interaction: discord.Interaction[discord.Client], what: str) -> None:
        member = actor_of(interaction, context.moderator_role)
        # A backend may take longer to let go of a job than Discord waits for an answer.
        await defer(interaction, thinking=True)
        jobs = await select_jobs(context, what, member, interaction.guild_id)
        first, *others = split_pages(await cancel_jobs(context, jobs, member), MAX_CONTENT)
        await send_ephemeral(interaction, "\n".join(first))
        for part in others:
            await send_follow_up(interaction, "\n".join(part))

    @cancel.autocomplete("what")
    @safe_autocomplete
    async def suggest(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        mine = await context.queue.jobs.unfinished_of(interaction.user.id)
        choices = job_choices(mine, typed)
        if len(mine) > 1 and ALL.startswith(typed.strip().casefold()):
            everything = app_commands.Choice(name=f"all {len(mine)} of my requests", value=ALL)
            return [everything, *choices[:24]]
        return choices

    return cancel


async def select_jobs(
    context: BotContext, what: str, member: Actor, guild_id: int | None
) -> tuple[Job, ...]:
    """Return the jobs that ``what`` names. Raises RequestError if there are none."""
    wanted = what.strip().casefold()
    mine = await context.queue.jobs.unfinished_of(member.id)
    if wanted in (ALL, "*"):
        if not mine:
            raise RequestError(
                "You have nothing to cancel: none of your requests is waiting or running."
            )
        return mine
    numbers = _NUMBERS.fullmatch(wanted)
    if numbers is None:
        return (await find_job(context, what, member, guild_id),)
    waiting = [job for job in mine if job.state is JobState.QUEUED]
    first = int(numbers[1])
    last = int(numbers[2] or first)
    if not waiting:
        raise RequestError("None of your requests is waiting. Use the id to cancel a running one.")
    if not 1 <= first <= last <= len(waiting):
        allowed = f"from 1 to {len(waiting)}" if len(waiting) > 1 else "1"
        raise InvalidRequest(
            "what",
            f"Your waiting requests have the numbers {allowed}, not {truncate_utf16(wanted, 20)}. "
            "/queue shows them.",
        )
    return tuple(waiting[first - 1 : last])


async def cancel_jobs(context: BotContext, jobs: Sequence[Job], member: Actor) -> list[str]:
    """Cancel the jobs and return a line about each."""
    # The last first, and those under way last of all: nothing that is to go gets a turn meanwhile.
    outcomes: dict[str, str] = {}
    for job in sorted(jobs, key=lambda job: (job.state is JobState.QUEUED, job.id), reverse=True):
        if job.state.terminal:
            outcomes[job.id] = f"already ended ({job.state})."
            continue
        try:
            outcomes[job.id] = describe_outcome(
                await cancel_job(context.queue, job.id, member, at=context.now())
            )
        except RequestError as refusal:
            if len(jobs) == 1:
                raise
            outcomes[job.id] = str(refusal)
    return [f"{_format_job(job)}: {outcomes[job.id]}" for job in jobs]


def _format_job(job: Job) -> str:
    return f"`{short_id(job.id)}` {escape_user_text(job.request.prompt, _MAX_PROMPT)}"


def describe_outcome(job: Job) -> str:
    """Return what happened to a job that was to be cancelled."""
    if job.state is JobState.CANCELLED:
        returned = job.request.quota_images - charged_images(job)
        return f"cancelled, {pluralize(returned, 'image')} refunded."
    if job.state.terminal:
        return f"ended before it could be cancelled ({job.state})."
    return "is being stopped; images that are not generated yet will be refunded."
