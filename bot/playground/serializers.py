"""Render channels, threads, the guild, messages and interactions as Discord's JSON.

Nothing is changed. Links to files are signed again each time, as Discord does.
"""

from __future__ import annotations

import copy

from bot.playground.state.files import attachment_payload
from bot.playground.state.guild import GuildState
from bot.playground.state.models import (
    COMMAND,
    COMPONENT,
    DIRECT,
    MODAL_SUBMIT,
    Attachment,
    Channel,
    Interaction,
    Json,
    Message,
    format_timestamp,
    iter_components,
)
from bot.playground.validation.components import FILE, MEDIA_GALLERY, THUMBNAIL
from bot.playground.validation.message_body import MAX_FILE_BYTES


def channel_payload(guild: GuildState, channel: Channel) -> Json:
    """Render ``GuildChannelResponse``, ``ThreadResponse`` or ``PrivateChannelResponse``."""
    last = None if channel.last_message_id is None else str(channel.last_message_id)
    body: Json = {"id": str(channel.id), "type": channel.type, "flags": 0, "last_message_id": last}
    if channel.type == DIRECT:
        return body | {"recipients": [user.payload() for user in channel.recipients]}
    body |= {
        "guild_id": str(channel.guild_id),
        "name": channel.name,
        "parent_id": None if channel.parent_id is None else str(channel.parent_id),
        "rate_limit_per_user": 0,
    }
    if channel.thread is None:
        return body | {
            "topic": channel.topic,
            "nsfw": channel.nsfw,
            "position": channel.position,
            "permission_overwrites": [one.payload() for one in channel.overwrites.values()],
        }
    thread = channel.thread
    return body | {
        "owner_id": str(thread.owner_id),
        "message_count": thread.messages_sent,
        "member_count": 1,
        "total_message_sent": thread.messages_sent,
        "thread_metadata": {
            "archived": thread.archived,
            "archive_timestamp": format_timestamp(thread.created_at),
            "auto_archive_duration": thread.auto_archive,
            "locked": thread.locked,
            "create_timestamp": format_timestamp(thread.created_at),
        },
    }


def guild_payload(guild: GuildState) -> Json:
    """Render ``GuildResponse`` with member counts."""
    null_keys = (
        "icon description home_header splash discovery_splash banner application_id afk_channel_id "
        "system_channel_id widget_channel_id vanity_url_code rules_channel_id "
        "safety_alerts_channel_id public_updates_channel_id max_presences incidents_data"
    )
    zero_keys = (
        "system_channel_flags verification_level default_message_notifications mfa_level "
        "explicit_content_filter premium_tier premium_subscription_count nsfw_level"
    )
    body: Json = dict.fromkeys(null_keys.split()) | dict.fromkeys(zero_keys.split(), 0)
    return body | {
        "id": str(guild.guild_id),
        "name": guild.guild_name,
        "owner_id": str(guild.owner_id),
        "roles": [role.payload() for role in guild.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        "region": "deprecated",
        "preferred_locale": "en-US",
        "afk_timeout": 300,
        "widget_enabled": False,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "premium_progress_bar_enabled": False,
        "nsfw": False,
        "approximate_member_count": len(guild.members),
        "approximate_presence_count": len(guild.members),
    }


def guild_create_payload(guild: GuildState) -> Json:
    """Render GUILD_CREATE: the guild with its channels, threads and the bot's member.

    Without the privileged members intent, only the bot itself is certain to be listed.
    """
    channels = [one for one in guild.channels.values() if one.guild_id == guild.guild_id]
    return guild_payload(guild) | {
        "joined_at": format_timestamp(guild.members[guild.application_id].joined_at),
        "large": False,
        "unavailable": False,
        "member_count": len(guild.members),
        "members": [guild.members[guild.application_id].payload()],
        "channels": [channel_payload(guild, one) for one in channels if not one.is_thread],
        "threads": [channel_payload(guild, one) for one in channels if one.is_thread],
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def message_payload(guild: GuildState, message: Message) -> Json:
    """Render ``MessageResponse``."""
    named = {one.filename: one for one in message.attachments}
    embeds = [_embed(guild, embed, named) for embed in message.embeds]
    shown_in_embeds = {
        str(embed[key].get("url")).removeprefix("attachment://")
        for embed in message.embeds
        for key in ("image", "thumbnail")
        if embed.get(key)
    }
    body: Json = {
        "id": str(message.id),
        "channel_id": str(message.channel_id),
        "type": message.type,
        "author": message.author.payload(),
        "content": message.content,
        "timestamp": format_timestamp(message.timestamp),
        "edited_timestamp": None
        if message.edited_at is None
        else format_timestamp(message.edited_at),
        "tts": message.tts,
        "pinned": False,
        "flags": message.flags,
        "mention_everyone": message.mention_everyone,
        "mentions": [guild.users[one].payload() for one in message.mentions],
        "mention_roles": [str(one) for one in message.mention_roles],
        # Discord does not list an image that an embed shows.
        "attachments": [
            attachment_payload(guild, one)
            for one in message.attachments
            if one.filename not in shown_in_embeds
        ],
        "embeds": embeds,
        "components": _components(guild, message, named),
    }
    if message.nonce is not None:
        body["nonce"] = message.nonce
    if message.reference_id is not None:
        body["message_reference"] = {
            "type": 0,
            "channel_id": str(message.channel_id),
            "message_id": str(message.reference_id),
        }
        referenced = guild.messages.get(message.reference_id)
        body["referenced_message"] = (
            None if referenced is None else message_payload(guild, referenced)
        )
        if referenced is not None:
            body["referenced_message"].pop("referenced_message", None)
    if message.interaction is not None:
        body["application_id"] = body["webhook_id"] = str(guild.application_id)
        body["interaction_metadata"] = interaction_metadata(message.interaction)
        if message.interaction.kind == COMMAND:
            body["interaction"] = {
                "id": str(message.interaction.id),
                "type": COMMAND,
                "name": message.interaction.command_name,
                "user": message.interaction.user.payload(),
            }
    if message.thread_id is not None and message.thread_id in guild.channels:
        body["thread"] = channel_payload(guild, guild.channels[message.thread_id])
    return body


def message_for_page(guild: GuildState, message: Message) -> Json:
    """Render a message for the page: Discord's JSON and the user id of an ephemeral message."""
    only = None if message.ephemeral_for is None else str(message.ephemeral_for)
    return message_payload(guild, message) | {"ephemeral_for": only}


def interaction_metadata(interaction: Interaction) -> Json:
    """Render ``interaction_metadata``: who started the interaction."""
    body: Json = {
        "id": str(interaction.id),
        "type": interaction.kind,
        "user": interaction.user.payload(),
        "authorizing_integration_owners": integration_owners(interaction),
    }
    if interaction.kind == COMPONENT:
        body["interacted_message_id"] = str(interaction.message_id)
    if interaction.kind == MODAL_SUBMIT and interaction.parent is not None:
        body["triggering_interaction_metadata"] = interaction_metadata(interaction.parent)
    return body


def integration_owners(interaction: Interaction) -> Json:
    """Render that the guild installed the application; "0" stands for direct messages."""
    return {"0": str(interaction.guild_id or 0)}


def _embed(guild: GuildState, embed: Json, named: dict[str, Attachment]) -> Json:
    body: Json = {"type": "rich"} | copy.deepcopy(embed)
    for key in ("image", "thumbnail"):
        attachment = named.get(str((body.get(key) or {}).get("url")).removeprefix("attachment://"))
        if attachment is not None:
            stored = attachment_payload(guild, attachment)
            body[key] = {
                part: stored[part]
                for part in ("url", "proxy_url", "width", "height", "content_type", "description")
                if part in stored
            }
    for entry in body.get("fields", ()):
        entry.setdefault("inline", False)
    return {key: value for key, value in body.items() if value is not None}


def _components(guild: GuildState, message: Message, named: dict[str, Attachment]) -> list[Json]:
    components = copy.deepcopy(message.components)
    for node in iter_components(components):
        if node["type"] in (THUMBNAIL, MEDIA_GALLERY):
            for holder in node["items"] if node["type"] == MEDIA_GALLERY else [node]:
                holder["media"] = _unfurled(guild, holder["media"], named)
        if node["type"] == FILE:
            attachment = named.get(_attachment_name(node["file"]))
            node["file"] = _unfurled(guild, node["file"], named)
            node["name"] = attachment.filename if attachment else None
            node["size"] = len(attachment.content) if attachment else None
    return components


def _unfurled(guild: GuildState, media: Json, named: dict[str, Attachment]) -> Json:
    url = str(media["url"])
    attachment = named.get(_attachment_name(media))
    if attachment is None:
        return {"id": "0", "url": url, "proxy_url": url, "width": None, "height": None}
    stored = attachment_payload(guild, attachment)
    return {
        "id": stored["id"],
        "attachment_id": stored["id"],
        "url": stored["url"],
        "proxy_url": stored["proxy_url"],
        "width": attachment.width,
        "height": attachment.height,
        "content_type": attachment.content_type,
    }


def _attachment_name(media: Json) -> str:
    """Return the file name of an ``attachment://`` URL; other URLs unchanged."""
    return str(media["url"]).removeprefix("attachment://")


GUILD, BOT_DM = 0, 1


def interaction_payload(guild: GuildState, interaction: Interaction) -> Json:
    """Render INTERACTION_CREATE; the keys differ between guild and direct messages."""
    channel = guild.channel(interaction.channel_id)
    granted = guild.permissions(interaction.user, channel)
    body: Json = {
        "id": str(interaction.id),
        "application_id": str(guild.application_id),
        "type": interaction.kind,
        "token": interaction.token,
        "version": 1,
        "data": interaction.data,
        "channel_id": str(channel.id),
        "channel": channel_payload(guild, channel) | {"permissions": str(granted)},
        "locale": "en-US",
        "app_permissions": str(guild.permissions(guild.application_id, channel)),
        "attachment_size_limit": MAX_FILE_BYTES,
        "entitlements": [],
        "authorizing_integration_owners": integration_owners(interaction),
        "context": BOT_DM if interaction.guild_id is None else GUILD,
    }
    if interaction.guild_id is None:
        body["user"] = interaction.user.payload()
    else:
        member = guild.member(interaction.user)
        body["guild_id"] = str(interaction.guild_id)
        body["guild_locale"] = "en-US"
        body["guild"] = {"id": str(interaction.guild_id), "locale": "en-US", "features": []}
        body["member"] = member.payload() | {"permissions": str(granted)}
    if interaction.message_id is not None and interaction.message_id in guild.messages:
        body["message"] = message_payload(guild, guild.messages[interaction.message_id])
    return body
