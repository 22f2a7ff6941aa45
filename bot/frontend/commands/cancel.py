"""``/cancel``: one request by its id, some by their numbers in ``/queue``, or all of one's own."""

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
from bot.frontend.messages import CONTENT
from bot.frontend.pagination import pages_of
from bot.frontend.permissions import actor_of
from bot.frontend.responses import add, defer, safe_autocomplete, send_ephemeral
from bot.services.queue import Actor

ALL: Final = "all"
_NUMBERS: Final = re.compile(r"([0-9]{1,4})(?:\s*[-–—]\s*([0-9]{1,4}))?")
_PROMPT: Final = 60


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="cancel", description="Stop requests of yours and get images back")
    @app_commands.describe(what="An id, the numbers in /queue such as 2 or 2-4, or all")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def cancel(interaction: discord.Interaction[discord.Client], what: str) -> None:
        member = actor_of(interaction, context.moderator_role)
        # A backend may take longer to let go of a job than Discord waits for an answer.
        await defer(interaction, thinking=True)
        jobs = await chosen(context, what, member, interaction.guild_id)
        first, *others = pages_of(await stop(context, jobs, member), CONTENT)
        await send_ephemeral(interaction, "\n".join(first))
        for part in others:
            await add(interaction, "\n".join(part))

    @cancel.autocomplete("what")
    @safe_autocomplete
    async def suggest(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        mine = await context.queue.jobs.unfinished_of(interaction.user.id)
        choices = job_choices(mine, typed)
        if len(mine) > 1 and ALL.startswith(typed.strip().casefold()):
            everything = app_commands.Choice(name=f"all {len(mine)} of mine", value=ALL)
            return [everything, *choices[:24]]
        return choices

    return cancel


async def chosen(
    context: BotContext, what: str, member: Actor, guild_id: int | None
) -> tuple[Job, ...]:
    """The jobs that ``what`` names. Raises RequestError if that is none, or nonsense."""
    wanted = what.strip().casefold()
    mine = await context.queue.jobs.unfinished_of(member.id)
    if wanted in (ALL, "*"):
        if not mine:
            raise RequestError("You have nothing to cancel: no request of yours waits or runs.")
        return mine
    numbers = _NUMBERS.fullmatch(wanted)
    if numbers is None:
        return (await find_job(context, what, member, guild_id),)
    waiting = [job for job in mine if job.state is JobState.QUEUED]
    first = int(numbers[1])
    last = int(numbers[2] or first)
    if not waiting:
        raise RequestError("None of your requests is waiting. One that runs goes by its id.")
    if not 1 <= first <= last <= len(waiting):
        allowed = f"from 1 to {len(waiting)}" if len(waiting) > 1 else "1"
        raise InvalidRequest(
            "what",
            f"Your waiting requests have the numbers {allowed}; {truncate_utf16(wanted, 20)} does not fit. "
            "/queue shows them.",
        )
    return tuple(waiting[first - 1 : last])


async def stop(context: BotContext, jobs: Sequence[Job], member: Actor) -> list[str]:
    """Cancel them and say for each, in a line, what became of it."""
    # The last first, and those under way last of all: nothing that is to go gets a turn meanwhile.
    outcomes: dict[str, str] = {}
    for job in sorted(jobs, key=lambda job: (job.state is JobState.QUEUED, job.id), reverse=True):
        if job.state.terminal:
            outcomes[job.id] = f"had ended already ({job.state})."
            continue
        try:
            outcomes[job.id] = outcome(await context.queue.cancel(job.id, member))
        except RequestError as refusal:
            if len(jobs) == 1:
                raise
            outcomes[job.id] = str(refusal)
    return [
        f"`{short_id(job.id)}` {escape_user_text(job.request.prompt, _PROMPT)}: {outcomes[job.id]}"
        for job in jobs
    ]


def outcome(job: Job) -> str:
    """What became of a job that was to be cancelled."""
    if job.state is JobState.CANCELLED:
        returned = job.request.images - charged_images(job)
        return f"cancelled, {pluralize(returned, 'image')} given back."
    if job.state.terminal:
        return f"ended before it could be stopped ({job.state})."
    return "is being stopped; what is not painted yet is given back."
