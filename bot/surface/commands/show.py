"""``/show``: an earlier job's result, brought out again here."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.surface.belonging import is_here
from bot.surface.desk import BotContext
from bot.surface.finding import find_job, job_choices
from bot.surface.guarding import safe_autocomplete
from bot.surface.members import actor_of
from bot.surface.showing import show_result

ELSEWHERE: Final = (
    "This job was asked for somewhere else, so it is not shown here. Use /show where you asked "
    "for it, or in a direct message with me."
)


def build(desk: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="show", description="Bring one of your results out again, here")
    @app_commands.describe(id="The id at the foot of its card; /history lists yours")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def show_job(
        interaction: discord.Interaction[discord.Client],
        id: str,  # what members read is the option's name
    ) -> None:
        member = actor_of(interaction, desk.moderator_role)
        job = await find_job(desk, id, member, interaction.guild_id)
        if not is_here(job, interaction.guild_id, member.id):
            # Its buttons would be refused here, and others would read what was asked for there.
            raise RequestError(ELSEWHERE)
        await show_result(interaction, desk, job)

    @show_job.autocomplete("id")
    @safe_autocomplete
    async def suggest(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        mine = await desk.queue.jobs.history(interaction.user.id, interaction.guild_id, limit=100)
        return job_choices(mine, typed)

    return show_job
