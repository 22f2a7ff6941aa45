"""``/history``: the member's jobs, page by page, and a select that shows one again (``show``).

A page is found by the last job id before it, which the custom id holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.frontend.context import BotContext, get_context
from bot.frontend.job_lines import format_job, job_select
from bot.frontend.listing import Listing, Section, bullet_list
from bot.frontend.message_content import (
    GREY,
    MAX_DESCRIPTION,
    ActionRow,
    ButtonSpec,
    MessageContent,
)
from bot.frontend.permissions import require_moderator
from bot.frontend.responses import (
    PersistentComponent,
    page_buttons,
    send_ephemeral,
    send_listing,
    update_message,
)

PAGE_SIZE: Final = 8
_REQUESTS: Final = "member-requests"
_MAX_REQUESTS: Final = 100


class HistoryPageButton(
    PersistentComponent, template=r"gb-history:(?:newest|before:(?P<before>[a-z2-7]{16}))"
):
    """Shows the page before a job, or the newest."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Replace this page by the other one."""
        page = await build_page(get_context(interaction), interaction, self.match["before"])
        await update_message(interaction, page)


async def _requests_listing(interaction: discord.Interaction[Any], subject: str) -> Listing:
    require_moderator(interaction, get_context(interaction).moderator_role)
    user_id = int(subject) if subject.isdecimal() else 0
    if not 0 < user_id < 2**63:
        raise RequestError("This button is from another version of the bot.")
    jobs = get_context(interaction).queue.jobs
    found: tuple[Job, ...] = await jobs.history(user_id, interaction.guild_id or 0, _MAX_REQUESTS)
    lines = [format_job(job) for job in found]
    return Listing(
        "Requests", (Section("", lines, "No requests on this server."),), f"<@{user_id}>"
    )


ITEMS: Final = (HistoryPageButton, page_buttons(_REQUESTS, _requests_listing))


def build(
    context: BotContext,
) -> tuple[app_commands.Command[Any, ..., None], app_commands.ContextMenu]:
    """Return the command, and the moderators' action on a member."""

    @app_commands.command(
        name="history", description="Your earlier requests, with links to the results"
    )
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def history(interaction: discord.Interaction[discord.Client]) -> None:
        await send_ephemeral(interaction, "", embed=await build_page(context, interaction, None))

    @app_commands.context_menu(name="Requests of this member")
    @app_commands.guild_only()
    @app_commands.default_permissions(moderate_members=True)
    async def requests(
        interaction: discord.Interaction[discord.Client], member: discord.User
    ) -> None:
        listing = await _requests_listing(interaction, str(member.id))
        await send_listing(interaction, _REQUESTS, listing, str(member.id))

    return history, requests


async def build_page(
    context: BotContext, interaction: discord.Interaction[Any], before: str | None
) -> MessageContent:
    """Return the member's jobs before ``before``, newest first: of this server or, in a DM, all."""
    jobs = await context.queue.jobs.history(
        interaction.user.id, interaction.guild_id, PAGE_SIZE + 1, before
    )
    shown, more = jobs[:PAGE_SIZE], len(jobs) > PAGE_SIZE
    where = "on this server" if interaction.guild_id is not None else "anywhere"
    none = (
        f"Nothing older {where}."
        if before
        else f"You have no requests {where} yet. Start with /imagine."
    )
    return MessageContent(
        title="Your history",
        description=bullet_list((format_job(job) for job in shown), MAX_DESCRIPTION, none),
        colour=GREY,
        controls=_controls(shown, before, more),
    )


def _controls(shown: Sequence[Job], before: str | None, more: bool) -> tuple[ActionRow, ...]:
    rows: list[ActionRow] = []
    if shown:
        rows.append((job_select("gb-history:show", shown),))
    turns = []
    if before is not None:
        turns.append(ButtonSpec("Newest", "gb-history:newest"))
    if more:
        turns.append(ButtonSpec("Older", f"gb-history:before:{shown[-1].id}"))
    if turns:
        rows.append(tuple(turns))
    return tuple(rows)
