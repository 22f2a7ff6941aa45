"""``/art-admin gallery``: the channel where the results with the most stars are posted."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest
from bot.frontend.command_options import (
    LOG_PERMISSIONS,
    Channel,
    guild_of,
    moderator_of,
    require_channel,
)
from bot.frontend.context import BotContext
from bot.frontend.formatting import pluralize
from bot.frontend.responses import send_ephemeral
from bot.services.moderation_records import require_manager

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the subcommand."""

    @app_commands.command(
        name="gallery", description="Post results with many stars in a channel (Manage Server)"
    )
    @app_commands.describe(
        channel="The gallery; leave both options empty to switch it off",
        threshold="How many members must star a result, the author not counted: 1 to 100",
    )
    async def gallery(
        interaction: Interaction, channel: Channel | None = None, threshold: int | None = None
    ) -> None:
        by = moderator_of(interaction)
        require_manager(by)
        if channel is not None:
            if channel.type is discord.ChannelType.forum:
                raise InvalidRequest(
                    "channel", "channel: a forum has only threads. Choose a text channel."
                )
            require_channel(interaction, channel, LOG_PERMISSIONS)
        channel_id, stars = await context.gallery.set_gallery(
            guild_of(interaction), None if channel is None else channel.id, threshold, by=by
        )
        text = "There is no gallery now. Its posts stay."
        if channel_id:
            text = (
                f"A result with {pluralize(stars, 'star')} of other members is posted in "
                f"<#{channel_id}>. This holds for stars from now on."
            )
        await send_ephemeral(interaction, text)

    return gallery
