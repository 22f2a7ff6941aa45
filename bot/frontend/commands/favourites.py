"""``/favourites``: what the member has starred, and a select that shows one again (``show``)."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.frontend.context import BotContext, get_context
from bot.frontend.job_lines import format_job, job_select
from bot.frontend.job_lookup import is_in_scope
from bot.frontend.listing import bullet_list
from bot.frontend.message_content import (
    GREY,
    MAX_DESCRIPTION,
    ActionRow,
    ButtonSpec,
    MessageContent,
)
from bot.frontend.responses import PersistentComponent, send_ephemeral, update_message

PAGE_SIZE: Final = 8


class FavouritesPageButton(
    PersistentComponent, template=r"gb-favourites:page:(?P<page>[0-9]{1,4})"
):
    """Shows another page, counted from 0."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Replace this page by the other one."""
        context, page = get_context(interaction), int(self.match["page"])
        await update_message(interaction, await build_page(context, interaction, page))


ITEMS: Final = (FavouritesPageButton,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(name="favourites", description="The results that you have starred")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def favourites(interaction: discord.Interaction[discord.Client]) -> None:
        await send_ephemeral(interaction, "", embed=await build_page(context, interaction, 0))

    return favourites


async def build_page(
    context: BotContext, interaction: discord.Interaction[Any], page: int
) -> MessageContent:
    """Return a page of the member's favourites: of this server or, in a DM, all."""
    user_id, guild_id = interaction.user.id, interaction.guild_id
    found = await context.gallery.favourites(user_id, guild_id, PAGE_SIZE + 1, page * PAGE_SIZE)
    shown, more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    lines = [f"{format_job(job)} by <@{job.request.author.id}>" for job in shown]
    rows: list[ActionRow] = []
    # In a direct message, the buttons of other members' results would be refused.
    if here := [job for job in shown if is_in_scope(job, guild_id, user_id)]:
        rows.append((job_select("gb-favourites:show", here),))
    turns = []
    if page:
        turns.append(ButtonSpec("Newer", f"gb-favourites:page:{page - 1}"))
    if more:
        turns.append(ButtonSpec("Older", f"gb-favourites:page:{page + 1}"))
    if turns:
        rows.append(tuple(turns))
    where = "on this server" if guild_id is not None else "anywhere"
    none = f"You have starred no results {where}. Press ⭐ Star below one that you like."
    return MessageContent(
        title="Your favourites",
        description=bullet_list(lines, MAX_DESCRIPTION, "Nothing older." if page else none),
        colour=GREY,
        controls=tuple(rows),
    )
