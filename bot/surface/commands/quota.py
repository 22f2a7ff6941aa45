"""``/quota``: what the member has used and has left, when it comes back, and why it is so much."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.surface.accounts import account_card
from bot.surface.answers import whisper
from bot.surface.desk import Desk
from bot.surface.members import member_of


def build(desk: Desk) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="quota", description="How many images you have left, and until when")
    async def quota(interaction: discord.Interaction[discord.Client]) -> None:
        member = member_of(interaction, desk.moderator_role)
        account = await desk.allowances.show(interaction.guild_id or 0, member)
        await whisper(interaction, "", card=account_card(account, "Your quota"))

    return quota
