"""``/styles``: the looks that can be added to a prompt, and the words that each of them adds."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.surface.accounts import bullets
from bot.surface.answers import whisper
from bot.surface.card import DESCRIPTION, Card
from bot.surface.cards import BLUE
from bot.surface.desk import Desk
from bot.surface.texts import inert

_WORDS = 400


def build(desk: Desk) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="styles", description="Looks that can be added to a prompt")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def styles(interaction: discord.Interaction[discord.Client]) -> None:
        known = desk.limits.styles
        lines = [f"**{inert(name, 64)}** {inert(known[name], _WORDS)}" for name in known]
        how = "Choose one as `style`, or write `--style NAME` in the prompt.\n\n" if known else ""
        none = "This bot has no styles; say the look you want in the prompt."
        listed = bullets(lines, DESCRIPTION - len(how), none)
        await whisper(interaction, "", card=Card("Styles", how + listed, BLUE))

    return styles
