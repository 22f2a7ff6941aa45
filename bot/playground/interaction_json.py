"""INTERACTION_CREATE as the gateway sends it.

It reads the world and changes nothing; the shape is Discord's "Interaction Object".
"""

from __future__ import annotations

from bot.playground.entities import Json
from bot.playground.posts import Interaction
from bot.playground.realm import GuildState
from bot.playground.render import channel_payload, integration_owners, message_payload

FILE_LIMIT = 10 * 1024 * 1024
GUILD, BOT_DM = 0, 1


def interaction_payload(realm: GuildState, interaction: Interaction) -> Json:
    """Render an interaction; the keys differ between the server and direct messages."""
    channel = realm.channel(interaction.channel_id)
    held = realm.permissions(interaction.user, channel)
    body: Json = {
        "id": str(interaction.id),
        "application_id": str(realm.application_id),
        "type": interaction.kind,
        "token": interaction.token,
        "version": 1,
        "data": interaction.data,
        "channel_id": str(channel.id),
        "channel": channel_payload(realm, channel) | {"permissions": str(held)},
        "locale": "en-US",
        "app_permissions": str(realm.permissions(realm.application_id, channel)),
        "attachment_size_limit": FILE_LIMIT,
        "entitlements": [],
        "authorizing_integration_owners": integration_owners(interaction),
        "context": BOT_DM if interaction.guild_id is None else GUILD,
    }
    if interaction.guild_id is None:
        body["user"] = interaction.user.payload()
    else:
        member = realm.member(interaction.user)
        body["guild_id"] = str(interaction.guild_id)
        body["guild_locale"] = "en-US"
        body["guild"] = {"id": str(interaction.guild_id), "locale": "en-US", "features": []}
        body["member"] = member.payload() | {"permissions": str(held)}
    if interaction.message_id is not None and interaction.message_id in realm.messages:
        body["message"] = message_payload(realm, realm.messages[interaction.message_id])
    return body
