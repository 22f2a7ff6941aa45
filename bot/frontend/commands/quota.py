"""``/quota``: what the member has used and has left, when it comes back, and why it is so much."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.frontend.context import BotContext, get_context
from bot.frontend.pagination import Listing, answer, turning
from bot.frontend.permissions import actor_of
from bot.frontend.quota_embeds import account_listing

_NAME: Final = "quota"


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="quota", description="How many images you have left, and until when")
    async def quota(interaction: discord.Interaction[discord.Client]) -> None:
        await answer(interaction, _NAME, await _listing(interaction, ""))

    return quota


async def _listing(interaction: discord.Interaction[Any], _about: str) -> Listing:
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    account = await context.quotas.show(interaction.guild_id or 0, member)
    return account_listing(account, "Your quota")


ITEMS: Final = (turning(_NAME, _listing),)
