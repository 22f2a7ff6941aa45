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
from bot.domain.text import truncate_utf16
from bot.frontend.commands.show import show_result
from bot.frontend.context import BotContext, get_context
from bot.frontend.embeds import GREY
from bot.frontend.formatting import escape_user_text, jump_link, pluralize, short_id, timestamp
from bot.frontend.job_lookup import find_job
from bot.frontend.messages import (
    DESCRIPTION,
    OPTION_TEXT,
    ActionRow,
    ButtonSpec,
    MessageContent,
    SelectOption,
    SelectSpec,
)
from bot.frontend.permissions import actor_of
from bot.frontend.quota_embeds import bullet_list
from bot.frontend.responses import send_ephemeral, turn_to, with_error_response

PAGE: Final = 8
_PROMPT: Final = 120


class HistoryPageButton(
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
    ) -> HistoryPageButton:
        """The button as it was pressed."""
        assert isinstance(item, discord.ui.Button)
        return cls(item, match["before"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Put the other page in the place of this one."""
        await with_error_response(interaction, self._turn)

    async def _turn(self, interaction: discord.Interaction[Any]) -> None:
        await turn_to(interaction, await page(get_context(interaction), interaction, self._before))


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
        await with_error_response(interaction, self._show)

    async def _show(self, interaction: discord.Interaction[Any]) -> None:
        context = get_context(interaction)
        member = actor_of(interaction, context.moderator_role)
        chosen = next(iter(self.item.values), "")
        job = await find_job(context, chosen, member, interaction.guild_id)
        await show_result(interaction, context, job)


ITEMS: Final = (HistoryPageButton, Choose)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="history", description="Your earlier pictures and where they are")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def history(interaction: discord.Interaction[discord.Client]) -> None:
        await send_ephemeral(interaction, "", card=await page(context, interaction, None))

    return history


async def page(
    context: BotContext, interaction: discord.Interaction[Any], before: str | None
) -> MessageContent:
    """The member's jobs before a certain one, the newest first: here, or (in a DM) everywhere."""
    jobs = await context.queue.jobs.history(
        interaction.user.id, interaction.guild_id, PAGE + 1, before
    )
    shown, more = jobs[:PAGE], len(jobs) > PAGE
    where = "on this server" if interaction.guild_id is not None else "anywhere"
    none = f"Nothing older {where}." if before else f"You have made nothing {where} yet: /imagine."
    return MessageContent(
        title="Your history",
        description=bullet_list((line(job) for job in shown), DESCRIPTION, none),
        colour=GREY,
        controls=_controls(shown, before, more),
    )


def line(job: Job) -> str:
    """A job in one line, with the way to its result."""
    made = f"{timestamp(job.created_at)} `{short_id(job.id)}` {escape_user_text(job.request.prompt, _PROMPT)}"
    return f"{made}: {_end(job)}"


def _end(job: Job) -> str:
    if job.state is not JobState.FINISHED:
        return "not ended yet" if not job.state.terminal else str(job.state)
    images = pluralize(len(job.fetched_rows) * job.request.samples, "image")
    if job.result is None:
        return f"{images}, kept for you"
    guild = 0 if job.delivery_method == "direct" else job.request.place.guild_id
    link = jump_link(guild, job.result.channel_id, job.result.message_id)
    return f"[{images}]({link})"


def _controls(shown: Sequence[Job], before: str | None, more: bool) -> tuple[ActionRow, ...]:
    rows: list[ActionRow] = []
    if shown:
        options = tuple(
            SelectOption(
                truncate_utf16(f"{short_id(job.id)} · {job.request.prompt}", OPTION_TEXT), job.id
            )
            for job in shown
        )
        rows.append((SelectSpec("gb-history:show", "Bring one out again, here …", options),))
    turns = []
    if before is not None:
        turns.append(ButtonSpec("Newest", "gb-history:newest"))
    if more:
        turns.append(ButtonSpec("Older", f"gb-history:before:{shown[-1].id}"))
    if turns:
        rows.append(tuple(turns))
    return tuple(rows)
