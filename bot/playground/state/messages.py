"""Post, edit and delete messages, resolve their mentions, and open threads.

Bodies are validated before; permissions are checked by the REST endpoints.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta

from bot.playground.state import files, permissions
from bot.playground.state.guild import Event, GuildState
from bot.playground.state.models import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    PUBLIC_THREAD,
    SUPPRESS_EMBEDS,
    Attachment,
    Channel,
    Interaction,
    Json,
    Message,
    ThreadState,
    User,
)
from bot.playground.validation.components import number_components
from bot.playground.validation.errors import ErrorCollector, api_error
from bot.playground.validation.mentions import DEFAULT_INTERACTION, DEFAULT_MESSAGE, find_mentions
from bot.playground.validation.message_body import ExistingMessage, MessageBody

# Discord remembers a nonce for "the past few minutes".
NONCE_LIFETIME = timedelta(minutes=5)
ORDINARY, REPLY_TYPE, COMMAND_TYPE, MENU_TYPE = 0, 19, 20, 23


class MessageBoard:
    """Post, edit and delete messages of one guild, and open threads."""

    def __init__(self, guild: GuildState) -> None:
        self._guild = guild
        self._nonces: dict[tuple[int, int, str], tuple[datetime, int]] = {}

    def say(self, author: User, channel: Channel, content: str) -> Message:
        """Post a member's plain message; all mentions are allowed."""
        payload = MessageBody(present_keys=frozenset({"content"}), content=content)
        return self.post(channel, author, payload)

    def post(
        self,
        channel: Channel,
        author: User,
        payload: MessageBody,
        *,
        interaction: Interaction | None = None,
        flags: int = 0,
        kind: int | None = None,
    ) -> Message:
        """Post a message; with ``enforce_nonce``, a repeated nonce returns the first message."""
        guild = self._guild
        key = (channel.id, author.id, str(payload.nonce))
        if payload.enforce_nonce and key in self._nonces:
            posted_at, known = self._nonces[key]
            if guild.now() - posted_at < NONCE_LIFETIME and known in guild.messages:
                return guild.messages[known]
        self._validate_reference(channel, payload)
        flags |= payload.flags
        ephemeral = bool(flags & EPHEMERAL)
        message = Message(
            guild.snowflakes.next_id(),
            channel.id,
            author,
            guild.now(),
            REPLY_TYPE if payload.reference_id is not None else ORDINARY,
            content=payload.content,
            embeds=copy.deepcopy(payload.embeds),
            components=number_components(payload.components),
            flags=flags,
            tts=payload.tts,
            nonce=payload.nonce,
            reference_id=payload.reference_id,
            interaction=interaction,
            ephemeral_for=interaction.user.id if interaction and ephemeral else None,
        )
        if kind is not None:
            message.type = kind
        message.attachments = self._new_files(payload, message)
        self._set_mentions(message, payload.allowed_mentions, channel)
        guild.messages[message.id] = message
        channel.last_message_id = message.id
        if channel.thread is not None:
            channel.thread.messages_sent += 1
            channel.thread.archived = False
        if payload.enforce_nonce:
            self._nonces[key] = (guild.now(), message.id)
        self._emit("MESSAGE_CREATE", message, channel)
        return message

    def existing(self, message: Message) -> ExistingMessage:
        """Return the facts about a message that validate an edit of it."""
        return ExistingMessage(
            tuple(message.attachments),
            message.flags,
            bool(message.content),
            bool(message.embeds),
            bool(message.components),
        )

    def edit(self, message: Message, payload: MessageBody) -> Message:
        """Change the keys that the body has; ``attachments``, if present, lists every kept file."""
        guild = self._guild
        if "content" in payload.present_keys:
            message.content = payload.content
        if "embeds" in payload.present_keys:
            message.embeds = copy.deepcopy(payload.embeds)
        if "components" in payload.present_keys:
            message.components = number_components(payload.components)
        if "flags" in payload.present_keys:
            message.flags = (message.flags & ~SUPPRESS_EMBEDS) | payload.flags
        message.attachments = self._kept_files(payload, message) + self._new_files(payload, message)
        channel = guild.channel(message.channel_id)
        self._set_mentions(message, payload.allowed_mentions, channel)
        if message.loading:
            # The first edit of a deferred response sends it and does not mark it as edited.
            message.flags &= ~LOADING
        else:
            message.edited_at = guild.now()
        message.edits += 1
        self._emit("MESSAGE_UPDATE", message, channel)
        return message

    def delete(self, message: Message) -> None:
        """Delete a message and its files."""
        del self._guild.messages[message.id]
        channel = self._guild.channels.get(message.channel_id)
        if channel is not None:
            self._emit("MESSAGE_DELETE", message, channel)

    def open_thread(
        self,
        parent: Channel,
        owner: User,
        name: str,
        *,
        kind: int = PUBLIC_THREAD,
        auto_archive: int = 1440,
        message: Message | None = None,
    ) -> Channel:
        """Open a thread; one from a message has its id. Raises ApiError 160004 for a second."""
        guild = self._guild
        if message is not None and message.id in guild.channels:
            raise api_error(160004)
        thread = Channel(
            message.id if message is not None else guild.snowflakes.next_id(),
            kind,
            name,
            parent_id=parent.id,
            guild_id=guild.guild_id,
            thread=ThreadState(owner.id, guild.now(), auto_archive),
        )
        guild.channels[thread.id] = thread
        guild.emit(Event("THREAD_CREATE", channel=thread))
        if message is not None:
            message.thread_id = thread.id
            self._emit("MESSAGE_UPDATE", message, parent)
        return thread

    def _emit(self, name: str, message: Message, channel: Channel) -> None:
        self._guild.emit(
            Event(name, channel=channel, message=message, only_for=message.ephemeral_for)
        )

    def _validate_reference(self, channel: Channel, payload: MessageBody) -> None:
        if payload.reference_id is None:
            return
        target = self._guild.messages.get(payload.reference_id)
        if target is not None and target.channel_id == channel.id:
            return
        if payload.reference_required:
            form = ErrorCollector()
            form.at("message_reference").add_error("MESSAGE_REFERENCE_UNKNOWN", "Unknown message")
            form.raise_errors()
        payload.reference_id = None

    def _new_files(self, payload: MessageBody, message: Message) -> list[Attachment]:
        listed = {entry.id: entry for entry in payload.listed or ()}
        stored = []
        for number, upload in sorted(payload.uploads.items()):
            entry = listed.get(number)
            if entry is not None and entry.filename:
                upload.filename = entry.filename
            stored.append(
                files.create_attachment(
                    self._guild,
                    upload,
                    message.channel_id,
                    description=entry.description if entry else None,
                    ephemeral=message.ephemeral,
                )
            )
        return stored

    def _kept_files(self, payload: MessageBody, message: Message) -> list[Attachment]:
        if payload.listed is None:
            return message.attachments
        listed = {entry.id: entry for entry in payload.listed}
        kept = [one for one in message.attachments if one.id in listed]
        for attachment in kept:
            if listed[attachment.id].description is not None:
                attachment.description = listed[attachment.id].description
        return kept

    def _set_mentions(self, message: Message, allowed: Json | None, channel: Channel) -> None:
        """Set the mentions that notify; an edit without ``allowed_mentions`` uses the default."""
        guild = self._guild
        message.allowed_mentions = allowed
        default = DEFAULT_MESSAGE if message.interaction is None else DEFAULT_INTERACTION
        held = guild.permissions(message.author, channel)
        text = message.text if message.flags & COMPONENTS_V2 else message.content
        mentions = find_mentions(text, default if allowed is None else allowed)
        may_mention_everyone = bool(held & permissions.MENTION_EVERYONE)
        message.mentions = [one for one in mentions.users if one in guild.users]
        message.mention_roles = [
            one
            for one in mentions.roles
            if one in guild.roles and (may_mention_everyone or guild.roles[one].mentionable)
        ]
        message.mention_everyone = mentions.everyone and may_mention_everyone
        replied = guild.messages.get(message.reference_id or 0)
        wants_reply = (allowed or DEFAULT_MESSAGE).get("replied_user", False)
        if replied is not None and wants_reply and replied.author.id not in message.mentions:
            message.mentions.append(replied.author.id)


def message_type(interaction: Interaction) -> int:
    """Return the type of the message that responds to an interaction."""
    if interaction.kind != 2:
        return ORDINARY
    return COMMAND_TYPE if interaction.data.get("type", 1) == 1 else MENU_TYPE
