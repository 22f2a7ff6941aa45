"""Serialize events for the gateway: name, payload, required intent, redaction of content."""

from __future__ import annotations

from bot.playground.serializers import (
    channel_payload,
    guild_create_payload,
    interaction_payload,
    message_payload,
)
from bot.playground.state.guild import Event
from bot.playground.state.models import DIRECT, Json
from bot.playground.state.world import World

GUILDS = 1 << 0
GUILD_MEMBERS = 1 << 1
GUILD_PRESENCES = 1 << 8
GUILD_MESSAGES = 1 << 9
DIRECT_MESSAGES = 1 << 12
MESSAGE_CONTENT = 1 << 15
PRIVILEGED = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT
CHANNEL_EVENTS = {
    "CHANNEL_CREATE",
    "CHANNEL_UPDATE",
    "CHANNEL_DELETE",
    "THREAD_CREATE",
    "THREAD_UPDATE",
    "THREAD_DELETE",
}
MESSAGE_EVENTS = {"MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"}


def serialize_event(world: World, event: Event) -> tuple[str, Json, int] | None:
    """Return name, payload and required intent (0: none), or None if bots do not get the event."""
    channel = event.channel
    if event.name == "INTERACTION_CREATE":
        return event.name, interaction_payload(world, event.data["interaction"]), 0
    if event.name == "GUILD_MEMBER_ADD":
        member = world.members[event.data["user_id"]]
        if member.id == world.application_id:
            return "GUILD_CREATE", guild_create_payload(world), GUILDS
        guild = {"guild_id": str(world.guild_id)}
        return event.name, member.payload() | guild, GUILD_MEMBERS
    if event.name == "GUILD_MEMBER_REMOVE":
        if event.data["user_id"] == world.application_id:
            return "GUILD_DELETE", {"id": str(world.guild_id)}, GUILDS
        user = world.users[event.data["user_id"]].payload()
        return event.name, {"guild_id": str(world.guild_id), "user": user}, GUILD_MEMBERS
    if channel is None:
        return None
    direct = channel.type == DIRECT
    if event.name in CHANNEL_EVENTS and not direct:
        return event.name, channel_payload(world, channel), GUILDS
    message = event.message
    if event.name not in MESSAGE_EVENTS or message is None or message.ephemeral:
        return None
    needed = DIRECT_MESSAGES if direct else GUILD_MESSAGES
    where: Json = {} if direct else {"guild_id": str(world.guild_id)}
    if event.name == "MESSAGE_DELETE":
        return event.name, where | {"id": str(message.id), "channel_id": str(channel.id)}, needed
    author = world.members.get(message.author.id)
    if author is not None and not direct:
        where["member"] = author.payload(with_user=False)
    return event.name, message_payload(world, message) | where, needed


def redact(world: World, event: Event, data: Json, intents: int) -> Json:
    """Remove content that a session without the message content intent must not see."""
    message = event.message
    if (
        message is None
        or event.channel is None
        or event.channel.type == DIRECT
        or message.author is world.bot
        or intents & MESSAGE_CONTENT
        or world.application_id in message.mentions
        or "content" not in data
    ):
        return data
    return data | {"content": "", "embeds": [], "attachments": [], "components": []}
