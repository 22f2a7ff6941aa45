"""Messages and threads: posted, edited, deleted, with mentions worked out and repeats recognised.

It applies checked drafts to the realm. Who may do so is asked by the REST calls; interactions have
their own desk, which posts through here.
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
NONCE_LIFE = timedelta(minutes=5)
ORDINARY, REPLY_TYPE, COMMAND_TYPE, MENU_TYPE = 0, 19, 20, 23


class MessageBoard:
    """Posts, edits and deletes messages of one realm, and opens threads."""

    def __init__(self, guild: GuildState) -> None:
        self._guild = guild
        self._nonces: dict[tuple[int, int, str], tuple[datetime, int]] = {}

    def say(self, author: User, channel: Channel, content: str) -> Message:
        """Post a person's plain message; every mention counts."""
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
        """Post a draft; the same nonce in the same channel within minutes is the first message."""
        guild = self._guild
        key = (channel.id, author.id, str(payload.nonce))
        if payload.enforce_nonce and key in self._nonces:
            posted_at, known = self._nonces[key]
            if guild.now() - posted_at < NONCE_LIFE and known in guild.messages:
                return guild.messages[known]
        self._check_reference(channel, payload)
        flags |= payload.flags
        ephemeral = bool(flags & EPHEMERAL)
        message = Message(
            guild.mint.next_id(),
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
        self._call(message, payload.allowed_mentions, channel)
        guild.messages[message.id] = message
        channel.last_message_id = message.id
        if channel.thread is not None:
            channel.thread.messages_sent += 1
            channel.thread.archived = False
        if payload.enforce_nonce:
            self._nonces[key] = (guild.now(), message.id)
        self._tell("MESSAGE_CREATE", message, channel)
        return message

    def existing(self, message: Message) -> ExistingMessage:
        """Return what an edit of a message would find."""
        return ExistingMessage(
            tuple(message.attachments),
            message.flags,
            bool(message.content),
            bool(message.embeds),
            bool(message.components),
        )

    def edit(self, message: Message, payload: MessageBody) -> Message:
        """Change what the draft gives; ``attachments``, if given, lists every file that stays."""
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
        self._call(message, payload.allowed_mentions, channel)
        if message.loading:
            # The first edit of a deferred answer is its arrival, not a change.
            message.flags &= ~LOADING
        else:
            message.edited_at = guild.now()
        message.edits += 1
        self._tell("MESSAGE_UPDATE", message, channel)
        return message

    def delete(self, message: Message) -> None:
        """Delete a message and its files."""
        del self._guild.messages[message.id]
        channel = self._guild.channels.get(message.channel_id)
        if channel is not None:
            self._tell("MESSAGE_DELETE", message, channel)

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
        """Open a thread; one from a message has the message's id, and 160004 for a second."""
        guild = self._guild
        if message is not None and message.id in guild.channels:
            raise api_error(160004)
        thread = Channel(
            message.id if message is not None else guild.mint.next_id(),
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
            self._tell("MESSAGE_UPDATE", message, parent)
        return thread

    def _tell(self, name: str, message: Message, channel: Channel) -> None:
        self._guild.emit(
            Event(name, channel=channel, message=message, only_for=message.ephemeral_for)
        )

    def _check_reference(self, channel: Channel, payload: MessageBody) -> None:
        if payload.reference_id is None:
            return
        target = self._guild.messages.get(payload.reference_id)
        if target is not None and target.channel_id == channel.id:
            return
        if payload.reference_required:
            form = ErrorCollector()
            form.at("message_reference").add_error("MESSAGE_REFERENCE_UNKNOWN", "Unknown message")
            form.settle()
        payload.reference_id = None

    def _new_files(self, payload: MessageBody, message: Message) -> list[Attachment]:
        listed = {entry.id: entry for entry in payload.listed or ()}
        stored = []
        for number, upload in sorted(payload.uploads.items()):
            entry = listed.get(number)
            if entry is not None and entry.filename:
                upload.filename = entry.filename
            stored.append(
                files.store(
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

    def _call(self, message: Message, allowed: Json | None, channel: Channel) -> None:
        """Work out whom the message notifies; an edit falls back to the default each time."""
        guild = self._guild
        message.allowed_mentions = allowed
        default = DEFAULT_MESSAGE if message.interaction is None else DEFAULT_INTERACTION
        held = guild.permissions(message.author, channel)
        text = message.text if message.flags & COMPONENTS_V2 else message.content
        called = find_mentions(text, default if allowed is None else allowed)
        may_call_all = bool(held & permissions.MENTION_EVERYONE)
        message.mentions = [one for one in called.users if one in guild.users]
        message.mention_roles = [
            one
            for one in called.roles
            if one in guild.roles and (may_call_all or guild.roles[one].mentionable)
        ]
        message.mention_everyone = called.everyone and may_call_all
        replied = guild.messages.get(message.reference_id or 0)
        wants_reply = (allowed or DEFAULT_MESSAGE).get("replied_user", False)
        if replied is not None and wants_reply and replied.author.id not in message.mentions:
            message.mentions.append(replied.author.id)


def message_type(interaction: Interaction) -> int:
    """Return the type of the message that answers an interaction."""
    if interaction.kind != 2:
        return ORDINARY
    return COMMAND_TYPE if interaction.data.get("type", 1) == 1 else MENU_TYPE
