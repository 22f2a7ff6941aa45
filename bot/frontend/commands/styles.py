"""``/styles``: styles that can be added to a prompt, and their text."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import escape_user_text
from bot.frontend.listing import Listing, Section
from bot.frontend.responses import page_buttons, send_listing

_NAME: Final = "styles"
_MAX_WORDS: Final = 400


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(name="styles", description="Styles that you can add to a prompt")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def styles(interaction: discord.Interaction[discord.Client]) -> None:
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    return styles


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    known = get_context(interaction).limits.styles
    lines = [
        f"**{escape_user_text(name, 64)}** {escape_user_text(known[name], _MAX_WORDS)}"
        for name in known
    ]
    how = "Choose one as option `style`, or write `--style NAME` in the prompt." if known else ""
    empty_text = "This bot has no styles. Describe the style you want in the prompt."
    return Listing("Styles", (Section("", lines, empty_text),), how)


ITEMS: Final = (page_buttons(_NAME, _listing),)
