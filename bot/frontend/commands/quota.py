"""``/quota``: images used and left, when more are free, and the rules."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.frontend.context import BotContext, get_context
from bot.frontend.listing import Listing
from bot.frontend.permissions import actor_of
from bot.frontend.quota_embeds import quota_listing
from bot.frontend.responses import page_buttons, send_listing

_NAME: Final = "quota"


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(
        name="quota", description="How many images you have left, and when more are free"
    )
    async def quota(interaction: discord.Interaction[discord.Client]) -> None:
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    return quota


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    account = await context.quotas.show(interaction.guild_id or 0, member)
    return quota_listing(account, "Your quota")


ITEMS: Final = (page_buttons(_NAME, _listing),)
