"""``/art-admin channels``: where requests are allowed, with which limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.moderation import ChannelRule
from bot.frontend.command_options import (
    ChannelPlace,
    guild_of,
    is_moderator,
    moderator_of,
    parse_duration_option,
    require_channel,
)
from bot.frontend.context import BotContext, get_context
from bot.frontend.listing import Listing
from bot.frontend.message_content import MAX_OPTIONS
from bot.frontend.moderation_embeds import channels_listing, format_channel_rule
from bot.frontend.responses import page_buttons, safe_autocomplete, send_ephemeral, send_listing
from bot.services.moderation_records import MAX_CHANNEL_SECONDS

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"
_NAME: Final = "mod-channels"
_CHANNEL: Final = "A channel, a thread, or a category for all of its channels"
_LIMITS: Final = app_commands.describe(
    channel=_CHANNEL,
    running="Requests that may run there at once",
    between="Time between two requests of a member, such as 30s or 5m",
    rows="Largest number of rows",
    samples="Largest number of images in a row",
)


@safe_autocomplete
async def _suggest_rules(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    """Suggest the channels that have a rule."""
    guild = interaction.guild
    if guild is None or not is_moderator(interaction):
        return []
    choices = []
    for rule in await get_context(interaction).moderation.channels(guild.id):
        channel = guild.get_channel_or_thread(rule.channel_id)
        name = f"#{channel.name}" if channel else f"a deleted channel, {rule.channel_id}"
        if typed.casefold() in name.casefold():
            choices.append(app_commands.Choice(name=name, value=str(rule.channel_id)))
    return choices[:MAX_OPTIONS]


class Channels(app_commands.Group):
    """The subcommands; each checks that the member is a moderator."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(name="channels", description="Where requests are allowed")
        self._moderation = context.moderation

    @app_commands.command(
        name="allow", description="Allow requests here; then only in allowed channels"
    )
    @_LIMITS
    async def allow(
        self,
        interaction: Interaction,
        channel: ChannelPlace,
        running: int | None = None,
        between: str | None = None,
        rows: int | None = None,
        samples: int | None = None,
    ) -> None:
        """Allow a channel, with limits of its own."""
        limits = _limits(channel, running, between, rows, samples)
        await self._set(interaction, channel, replace(limits, allowed=True))

    @app_commands.command(name="deny", description="Allow no requests here")
    @app_commands.describe(channel=_CHANNEL)
    async def deny(self, interaction: Interaction, channel: ChannelPlace) -> None:
        """Deny a channel."""
        await self._set(interaction, channel, ChannelRule(channel.id, allowed=False))

    @app_commands.command(name="limit", description="Set limits here, without allowing or denying")
    @_LIMITS
    async def limit(
        self,
        interaction: Interaction,
        channel: ChannelPlace,
        running: int | None = None,
        between: str | None = None,
        rows: int | None = None,
        samples: int | None = None,
    ) -> None:
        """Set limits of a channel."""
        limits = _limits(channel, running, between, rows, samples)
        if limits == ChannelRule(channel.id):
            raise RequestError(
                "Nothing to set: fill in at least one of running, between, rows and samples."
            )
        await self._set(interaction, channel, limits)

    @app_commands.command(name="remove", description="Remove the rule of a channel")
    @app_commands.describe(rule="The channel, also one that is deleted")
    async def remove(self, interaction: Interaction, rule: str) -> None:
        """Remove a channel's rule."""
        by = moderator_of(interaction)
        wanted = rule.strip().strip("<#>")
        if not (wanted.isascii() and wanted.isdecimal() and int(wanted) < 2**63):
            raise InvalidRequest("rule", "rule: choose a channel from the list.")
        gone = await self._moderation.remove_channel(guild_of(interaction), int(wanted), by=by)
        await send_ephemeral(interaction, f"Removed. It was {format_channel_rule(gone)}.")

    remove.autocomplete("rule")(_suggest_rules)

    @app_commands.command(name="list", description="All rules for channels of this server")
    async def list_rules(self, interaction: Interaction) -> None:
        """Show all channel rules."""
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    async def _set(
        self, interaction: Interaction, channel: ChannelPlace, change: ChannelRule
    ) -> None:
        """Save a rule with what ``change`` sets; the rest of an earlier rule stays."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        require_channel(interaction, channel)
        known = {rule.channel_id: rule for rule in await self._moderation.channels(guild_id)}
        before = known.get(channel.id, ChannelRule(channel.id))
        rule = ChannelRule(
            channel.id,
            before.allowed if change.allowed is None else change.allowed,
            before.running if change.running is None else change.running,
            before.between if change.between is None else change.between,
            before.max_rows if change.max_rows is None else change.max_rows,
            before.max_samples if change.max_samples is None else change.max_samples,
        )
        saved = await self._moderation.set_channel(guild_id, rule, by=by)
        await send_ephemeral(
            interaction,
            f"Set. {format_channel_rule(saved)}.\nUndo: `/art-admin channels remove`.",
        )


def build(context: BotContext) -> Channels:
    """Return the group of subcommands."""
    return Channels(context)


def _limits(
    channel: ChannelPlace,
    running: int | None,
    between: str | None,
    rows: int | None,
    samples: int | None,
) -> ChannelRule:
    pause = None
    if between is not None:
        pause = parse_duration_option("between", between, most=MAX_CHANNEL_SECONDS)
    return ChannelRule(channel.id, None, running, pause, rows, samples)


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    rules = await get_context(interaction).moderation.channels(guild_of(interaction))
    return channels_listing(rules)


ITEMS: Final = (page_buttons(_NAME, _listing),)
