"""``/history``: the member's own jobs, page by page, and a menu that brings one out again.

Pages are found by the id of the last job shown, which the button carries; so they turn after a
restart too, and nothing is remembered for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.job import Job, JobState
from bot.surface.accounts import bullets
from bot.surface.answers import turn_to, whisper
from bot.surface.card import DESCRIPTION, OPTION_TEXT, Button, Card, ControlRow, Menu, Option
from bot.surface.cards import GREY
from bot.surface.desk import Desk, desk_of
from bot.surface.finding import find_job
from bot.surface.guarding import guarded
from bot.surface.members import member_of
from bot.surface.showing import show
from bot.surface.texts import count, cut, inert, jump_link, moment, short_id

PAGE: Final = 8
_PROMPT: Final = 120


class Turn(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"gb-history:(?:newest|before:(?P<before>[a-z2-7]{16}))",
):
    """Turns to the page before a job, or to the newest."""

    def __init__(self, item: discord.ui.Button[discord.ui.View], before: str | None) -> None:
        super().__init__(item)
        self._before = before

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Turn:
        """The button as it was pressed."""
        assert isinstance(item, discord.ui.Button)
        return cls(item, match["before"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Put the other page in the place of this one."""
        await guarded(interaction, self._turn)

    async def _turn(self, interaction: discord.Interaction[Any]) -> None:
        await turn_to(interaction, await page(desk_of(interaction), interaction, self._before))


class Choose(
    discord.ui.DynamicItem[discord.ui.Select[discord.ui.View]], template=r"gb-history:show"
):
    """Brings the chosen job out again."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Choose:
        """The menu as it was used."""
        assert isinstance(item, discord.ui.Select)
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the job, if it is still the member's to show."""
        await guarded(interaction, self._show)

    async def _show(self, interaction: discord.Interaction[Any]) -> None:
        desk = desk_of(interaction)
        member = member_of(interaction, desk.moderator_role)
        chosen = next(iter(self.item.values), "")
        job = await find_job(desk, chosen, member, interaction.guild_id)
        await show(interaction, desk, job)


ITEMS: Final = (Turn, Choose)


def build(desk: Desk) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="history", description="Your earlier pictures and where they are")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def history(interaction: discord.Interaction[discord.Client]) -> None:
        await whisper(interaction, "", card=await page(desk, interaction, None))

    return history


async def page(desk: Desk, interaction: discord.Interaction[Any], before: str | None) -> Card:
    """The member's jobs before a certain one, the newest first: here, or (in a DM) everywhere."""
    jobs = await desk.queue.jobs.history(
        interaction.user.id, interaction.guild_id, PAGE + 1, before
    )
    shown, more = jobs[:PAGE], len(jobs) > PAGE
    where = "on this server" if interaction.guild_id is not None else "anywhere"
    none = f"Nothing older {where}." if before else f"You have made nothing {where} yet: /imagine."
    return Card(
        title="Your history",
        description=bullets((line(job) for job in shown), DESCRIPTION, none),
        colour=GREY,
        controls=_controls(shown, before, more),
    )


def line(job: Job) -> str:
    """A job in one line, with the way to its result."""
    made = f"{moment(job.created_at)} `{short_id(job.id)}` {inert(job.request.prompt, _PROMPT)}"
    return f"{made}: {_end(job)}"


def _end(job: Job) -> str:
    if job.state is not JobState.FINISHED:
        return "not ended yet" if not job.state.terminal else str(job.state)
    images = count(len(job.collected) * job.request.samples, "image")
    if job.result is None:
        return f"{images}, kept for you"
    guild = 0 if job.rung == "direct" else job.request.place.guild_id
    link = jump_link(guild, job.result.channel_id, job.result.message_id)
    return f"[{images}]({link})"


def _controls(shown: Sequence[Job], before: str | None, more: bool) -> tuple[ControlRow, ...]:
    rows: list[ControlRow] = []
    if shown:
        options = tuple(
            Option(cut(f"{short_id(job.id)} · {job.request.prompt}", OPTION_TEXT), job.id)
            for job in shown
        )
        rows.append((Menu("gb-history:show", "Bring one out again, here …", options),))
    turns = []
    if before is not None:
        turns.append(Button("Newest", "gb-history:newest"))
    if more:
        turns.append(Button("Older", f"gb-history:before:{shown[-1].id}"))
    if turns:
        rows.append(tuple(turns))
    return tuple(rows)
