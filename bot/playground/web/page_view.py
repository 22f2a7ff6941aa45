"""Render the world as one member sees it, in the JSON of the page.

Links to files are relative, so that they work with any host name of the server.
"""

from __future__ import annotations

from typing import Any

from bot.playground.serializers import message_for_page
from bot.playground.state.guild import Event
from bot.playground.state.models import DIRECT, Channel, Json, User
from bot.playground.state.world import World

MAX_MESSAGES = 200
MESSAGE_EVENTS = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
FORWARDED_EVENTS = ("INTERACTION_FAILED", "MODAL", "BOT_STATUS")


class PageView:
    """Render a world for the page."""

    def __init__(self, world: World) -> None:
        self._world = world

    def world(self, user: User) -> Json:
        """Return the initial state of the page, without messages."""
        world = self._world
        return {
            "me": self._person(user),
            "members": [
                self._person(member.user)
                | {"bot": member.user.bot, "color": self._color(member.id)}
                for member in world.members.values()
            ],
            "guild": {"id": str(world.guild_id), "name": world.guild_name},
            "channels": [
                self._channel(one)
                for one in world.channels.values()
                if world.client.can_see_channel(user, one)
            ],
            "commands": world.client.visible_commands(user),
        }

    def messages(self, user: User, channel: Channel) -> list[Json]:
        """Return the latest messages that a user sees in a channel, oldest first."""
        world = self._world
        seen = [one for one in world.messages_in(channel) if world.client.can_see(user, one)]
        return [self._message(one) for one in seen[-MAX_MESSAGES:]]

    def event(self, user: User, event: Event) -> Json | None:
        """Return the event as a frame for the page, or None if the user does not see it."""
        world = self._world
        if event.only_for not in (None, user.id):
            return None
        if event.name in FORWARDED_EVENTS:
            return {"t": event.name, "d": event.data}
        if event.name == "INTERACTION_ACK":
            return {"t": event.name, "d": {"interaction_id": str(event.data["interaction"].id)}}
        if event.name == "COMMANDS_UPDATE":
            return {"t": event.name, "d": {"commands": world.client.visible_commands(user)}}
        channel = event.channel
        if channel is None:
            return None
        name = event.name.replace("THREAD_", "CHANNEL_")
        if name == "CHANNEL_DELETE":
            return {"t": name, "d": {"id": str(channel.id)}}
        can_see = world.client.can_see_channel(user, channel)
        if name in ("CHANNEL_CREATE", "CHANNEL_UPDATE"):
            if not can_see:
                return {"t": "CHANNEL_DELETE", "d": {"id": str(channel.id)}}
            return {"t": name, "d": self._channel(channel)}
        if not can_see:
            return None
        if name == "TYPING":
            return {"t": name, "d": event.data | {"channel_id": str(channel.id)}}
        message = event.message
        if message is None:
            return None
        if name == "MESSAGE_DELETE":
            return {"t": name, "d": {"id": str(message.id), "channel_id": str(channel.id)}}
        return {"t": name, "d": self._message(message)} if name in MESSAGE_EVENTS else None

    def _message(self, message: Any) -> Json:
        rendered: Json = _relative(message_for_page(self._world, message), self._world.site)
        return rendered

    def _person(self, user: User) -> Json:
        moderator = self._world.is_moderator(user.id)
        return {"id": str(user.id), "name": user.name, "moderator": moderator}

    def _color(self, user_id: int) -> str | None:
        roles = [self._world.roles[one] for one in self._world.members[user_id].roles]
        coloured = [role for role in roles if role.color]
        return f"#{coloured[-1].color:06x}" if coloured else None

    def _channel(self, channel: Channel) -> Json:
        direct = channel.type == DIRECT
        return {
            "id": str(channel.id),
            "name": self._world.bot.name if direct else channel.name,
            "topic": channel.topic,
            "nsfw": False if direct else self._world.is_age_restricted(channel),
            "type": channel.type,
            "parent_id": None if channel.parent_id is None else str(channel.parent_id),
        }


def _relative(value: Any, site: str) -> Any:
    if isinstance(value, dict):
        return {key: _relative(inner, site) for key, inner in value.items()}
    if isinstance(value, list):
        return [_relative(inner, site) for inner in value]
    if isinstance(value, str) and value.startswith(f"{site}/attachments/"):
        return value.removeprefix(site)
    return value
