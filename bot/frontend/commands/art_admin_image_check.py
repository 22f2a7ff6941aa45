"""``/art-admin image-check``: what happens on this server to images that the check marks."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.frontend.command_options import guild_of, moderator_of
from bot.frontend.context import BotContext
from bot.frontend.formatting import as_sentence
from bot.frontend.moderation_embeds import IMAGE_ACTION_TEXTS
from bot.frontend.responses import send_ephemeral
from bot.services.moderation_records import require_manager

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"
NOT_SET_UP: Final = "The operator of this bot has not set up an image check."


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the subcommand."""
    moderation = context.moderation

    @app_commands.command(
        name="image-check", description="What happens to images that the check marks"
    )
    @app_commands.describe(
        action="For results from now on; default: what the operator has set (Manage Server)"
    )
    async def image_check(
        interaction: Interaction,
        action: Literal["allow", "spoiler", "hold", "block", "default"],
    ) -> None:
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        require_manager(by)
        if await moderation.image_action(guild_id) is None:
            raise RequestError(NOT_SET_UP)
        value = None if action == "default" else action
        if not await moderation.set_setting(guild_id, "image_action", value, by=by):
            raise RequestError("It is set like this already. See /art-admin status.")
        effective = await moderation.image_action(guild_id)
        assert effective is not None, "it is set up"
        text = as_sentence(IMAGE_ACTION_TEXTS[effective])
        if effective != "allow":
            text += " What cannot be checked waits for a moderator."
        await send_ephemeral(interaction, f"{text} This holds for results from now on.")

    return image_check
