"""The world as one person's screen shows it, in the JSON the page understands.

Links to files come out relative to the page, whatever name the browser knows this server by.
"""

from __future__ import annotations

from typing import Any

from bot.playground.serializers import message_for_page
from bot.playground.state.guild import Event
from bot.playground.state.models import DIRECT, Channel, Json, User
from bot.playground.state.world import World

MOST_MESSAGES = 200
POSTS = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
PASSED_ON = ("INTERACTION_FAILED", "MODAL", "BOT_STATUS")


class PageView:
    """Renders a world for the page."""

    def __init__(self, world: World) -> None:
        self._world = world

    def world(self, user: User) -> Json:
        """Return everything a page needs at first, apart from messages."""
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
                if world.client.sees_channel(user, one)
            ],
            "commands": world.client.visible_commands(user),
        }

    def messages(self, user: User, channel: Channel) -> list[Json]:
        """Return the newest messages that a person sees in a channel, oldest first."""
        world = self._world
        seen = [one for one in world.messages_in(channel) if world.client.sees(user, one)]
        return [self._message(one) for one in seen[-MOST_MESSAGES:]]

    def event(self, user: User, event: Event) -> Json | None:
        """Return an event as a frame for the page, or None if this person does not see it."""
        world = self._world
        if event.only_for not in (None, user.id):
            return None
        if event.name in PASSED_ON:
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
        sees = world.client.sees_channel(user, channel)
        if name in ("CHANNEL_CREATE", "CHANNEL_UPDATE"):
            if not sees:
                return {"t": "CHANNEL_DELETE", "d": {"id": str(channel.id)}}
            return {"t": name, "d": self._channel(channel)}
        if not sees:
            return None
        if name == "TYPING":
            return {"t": name, "d": event.data | {"channel_id": str(channel.id)}}
        message = event.message
        if message is None:
            return None
        if name == "MESSAGE_DELETE":
            return {"t": name, "d": {"id": str(message.id), "channel_id": str(channel.id)}}
        return {"t": name, "d": self._message(message)} if name in POSTS else None

    def _message(self, message: Any) -> Json:
        rendered: Json = _relative(message_for_page(self._world, message), self._world.site)
        return rendered

    def _person(self, user: User) -> Json:
        moderator = self._world.moderator(user.id)
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
            "nsfw": False if direct else self._world.age_restricted(channel),
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
