"""Options of moderators' commands: lengths of time, channels, and who uses them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest
from bot.domain.moderation import MAX_PAUSE, MIN_PAUSE, format_seconds
from bot.domain.quota import MAX_WINDOW, parse_window
from bot.frontend.checks import REQUIRED_PERMISSIONS
from bot.frontend.context import get_context
from bot.frontend.permissions import actor_of, require_moderator
from bot.services.queue import Actor

AnyChannel: TypeAlias = app_commands.AppCommandChannel | app_commands.AppCommandThread

_CHANNELS: Final = (
    discord.ChannelType.text,
    discord.ChannelType.news,
    discord.ChannelType.voice,
    discord.ChannelType.forum,
)
_CONTAINERS: Final = (
    discord.ChannelType.category,
    discord.ChannelType.public_thread,
    discord.ChannelType.private_thread,
    discord.ChannelType.news_thread,
)


class _ChannelOption(app_commands.Transformer):
    """An option for a channel that has messages, or has channels with them."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """Return the type of the option."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Return what Discord lets a moderator choose."""
        return [*_CHANNELS]

    async def transform(self, interaction: discord.Interaction[Any], value: Any, /) -> Any:
        """Return the channel as Discord has sent it."""
        return value


class _PlaceOption(_ChannelOption):
    """The same with categories and threads."""

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Return what Discord lets a moderator choose."""
        return [*_CHANNELS, *_CONTAINERS]


Channel: TypeAlias = app_commands.Transform[app_commands.AppCommandChannel, _ChannelOption]
"""A channel, as an option."""
ChannelPlace: TypeAlias = app_commands.Transform[AnyChannel, _PlaceOption]
"""A channel, a thread or a category, as an option."""

LOG_PERMISSIONS: Final = (
    *("view_channel", "send_messages", "embed_links", "attach_files"),
    "read_message_history",  # an entry is searched for before it is posted again
)


def moderator_of(interaction: discord.Interaction[Any]) -> Actor:
    """Return the moderator who uses a command. Raises NotAllowed for everybody else."""
    return require_moderator(interaction, get_context(interaction).moderator_role)


def is_moderator(interaction: discord.Interaction[Any]) -> bool:
    """Return whether a moderator types into a command."""
    return actor_of(interaction, get_context(interaction).moderator_role).moderator


def guild_of(interaction: discord.Interaction[Any]) -> int:
    """Return the id of the server, 0 for direct messages."""
    return interaction.guild_id or 0


def parse_duration_option(
    field: str, text: str, least: timedelta = timedelta(seconds=1), most: timedelta = MAX_WINDOW
) -> timedelta:
    """Parse a duration option. Raises InvalidRequest, which names the field and its range.

    What is a length of time, but out of the range, is left to the service.
    """
    try:
        return parse_window(text)
    except ValueError as error:
        raise InvalidRequest(
            field,
            f"{field}: {text[:20]!r} is not a length of time. Write for example 90m, 24h, 7d or "
            f"1h30m; {field} can be {format_seconds(least)} to {format_seconds(most)}.",
        ) from error


def parse_end_option(field: str, text: str | None) -> timedelta | None:
    """Return how long a pause or a block lasts, None for until it is ended.

    Raises InvalidRequest for what is no length of time.
    """
    return None if text is None else parse_duration_option(field, text, MIN_PAUSE, MAX_PAUSE)


def require_channel(
    interaction: discord.Interaction[Any],
    channel: AnyChannel,
    needed: Iterable[str] = ("view_channel",),
) -> None:
    """Raise InvalidRequest unless the bot has the ``needed`` permissions in a channel."""
    missing = missing_permissions(interaction.guild, channel.id, needed, _parent_of(channel))
    if missing:
        raise InvalidRequest(
            "channel",
            f"channel: I need {', '.join(missing)} in #{channel.name}. Allow it for my role in the "
            "channel's settings, Permissions.",
        )


def missing_permissions(
    guild: discord.Guild | None, channel_id: int, needed: Iterable[str], parent_id: int = 0
) -> list[str]:
    """Return the permissions that the bot lacks in a channel, as Discord's settings call them.

    A channel that the bot does not know counts as one that it cannot see.
    """
    found = guild and (guild.get_channel_or_thread(channel_id) or guild.get_channel(parent_id))
    if not guild or not found:
        return [REQUIRED_PERMISSIONS["view_channel"]]
    granted = found.permissions_for(guild.me)
    return [REQUIRED_PERMISSIONS[name] for name in needed if not getattr(granted, name)]


def is_age_restricted(client: discord.Client, channel_id: int, parent_id: int = 0) -> bool:
    """Return whether a channel is age-restricted, as far as the bot knows.

    A thread has its parent's flag. Of a channel that the bot does not see it is not known; that
    counts as age-restricted.
    """
    for known in (channel_id, parent_id):
        channel = client.get_channel(known)
        if channel is not None:
            return bool(getattr(channel, "is_nsfw", lambda: False)())
    return True


def _parent_of(channel: AnyChannel) -> int:
    return channel.parent_id if isinstance(channel, app_commands.AppCommandThread) else 0
