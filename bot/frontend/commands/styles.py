"""``/styles``: the looks that can be added to a prompt, and the words that each of them adds."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import escape_user_text
from bot.frontend.pagination import Listing, Section, answer, turning

_NAME: Final = "styles"
_WORDS: Final = 400


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="styles", description="Looks that can be added to a prompt")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def styles(interaction: discord.Interaction[discord.Client]) -> None:
        await answer(interaction, _NAME, await _listing(interaction, ""))

    return styles


async def _listing(interaction: discord.Interaction[Any], _about: str) -> Listing:
    known = get_context(interaction).limits.styles
    lines = [
        f"**{escape_user_text(name, 64)}** {escape_user_text(known[name], _WORDS)}"
        for name in known
    ]
    how = "Choose one as `style`, or write `--style NAME` in the prompt." if known else ""
    none = "This bot has no styles; say the look you want in the prompt."
    return Listing("Styles", (Section("", lines, none),), how)


ITEMS: Final = (turning(_NAME, _listing),)
