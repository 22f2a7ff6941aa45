"""``/cancel``: cancel requests by id, by numbers in ``/queue``, or all of the member."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.job import Job, JobState
from bot.domain.text import truncate_utf16
from bot.frontend.cancelling import cancel_jobs
from bot.frontend.context import BotContext
from bot.frontend.job_lookup import find_job, job_choices
from bot.frontend.listing import split_pages
from bot.frontend.message_content import MAX_CONTENT, MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.permissions import actor_of
from bot.frontend.responses import defer, safe_autocomplete, send_ephemeral, send_follow_up
from bot.services.queue import Actor

ALL: Final = "all"
_NUMBERS: Final = re.compile(r"([0-9]{1,4})(?:\s*[-–—]\s*([0-9]{1,4}))?")
_SET: Final = re.compile(r"set:([0-9]{1,19})")


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
        sets = await context.sets.unfinished_of(interaction.user.id)
        choices = [*set_choices(sets, mine, typed), *job_choices(mine, typed)][:MAX_OPTIONS]
        if len(mine) > 1 and ALL.startswith(typed.strip().casefold()):
            everything = app_commands.Choice(name=f"all {len(mine)} of my requests", value=ALL)
            return [everything, *choices[:24]]
        return choices

    return cancel


def set_choices(
    sets: Mapping[int, Sequence[str]], jobs: Sequence[Job], typed: str
) -> list[app_commands.Choice[str]]:
    """Return autocomplete choices for the sets that have several of these jobs."""
    wanted = typed.strip().casefold()
    choices = []
    for set_id, ids in sets.items():
        prompts = [job.request.prompt for job in jobs if job.id in ids]
        name = f"all {len(prompts)} of {', '.join(dict.fromkeys(prompts))}"
        if len(prompts) > 1 and wanted in name.casefold():
            name = truncate_utf16(name, MAX_OPTION_TEXT)
            choices.append(app_commands.Choice(name=name, value=f"set:{set_id}"))
    return choices


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
    if a_set := _SET.fullmatch(wanted):
        ids = (await context.sets.unfinished_of(member.id)).get(int(a_set[1]), ())
        if not ids:
            raise RequestError("None of these grids is waiting or running any more.")
        return tuple(job for job in mine if job.id in ids)
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
