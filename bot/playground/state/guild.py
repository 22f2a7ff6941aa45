"""The state of the little Discord: one server, its people and places, and who may do what where.

It keeps and finds things, computes permissions and tells listeners what changed. Messages,
interactions and commands have their own modules on top of it; the network has no part in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.playground.state import permissions
from bot.playground.state.models import (
    DIRECT,
    TEXT,
    Attachment,
    Channel,
    Json,
    Member,
    Message,
    Overwrite,
    Role,
    SnowflakeGenerator,
    User,
)
from bot.playground.validation.errors import api_error


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. ``only_for`` limits it to one member (ephemeral messages, modals).

    ``message`` and ``channel`` are the things themselves, for listeners that render; ``data`` holds
    what is left to say. Names are the gateway's (MESSAGE_CREATE) or our own (INTERACTION_FAILED).
    """

    name: str
    data: Json = field(default_factory=dict)
    channel: Channel | None = None
    message: Message | None = None
    only_for: int | None = None


Listener = Callable[[Event], None]


class GuildState:
    """One server with its members and channels; the direct messages around it, too."""

    def __init__(self, now: Callable[[], datetime], rng: random.Random) -> None:
        self.now = now
        self.rng = rng
        self.mint = SnowflakeGenerator(now)
        # How long an interaction may stay unanswered, and how long its token lives.
        self.ack_life = timedelta(seconds=3)
        self.token_life = timedelta(minutes=15)
        # How long a signed link works. Discord gives no number; a day is what people see.
        self.url_life = timedelta(hours=24)
        self.url_secret = rng.randbytes(32)
        # Where the server is reached; it fills these in when it starts to listen.
        self.site = "http://127.0.0.1"
        self.gateway_url = "ws://127.0.0.1/gateway"
        self.guild_id = 0
        self.guild_name = ""
        self.owner_id = 0
        self.application_id = 0
        self.token = ""
        self.privileged_intents = 0
        self.users: dict[int, User] = {}
        self.members: dict[int, Member] = {}
        self.roles: dict[int, Role] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Message] = {}
        # Files people have uploaded for a command or a form, not part of any message.
        self.stash: dict[int, Attachment] = {}
        self.listeners: list[Listener] = []

    # Telling

    def emit(self, event: Event) -> None:
        """Tell every listener; they must not block."""
        for listener in tuple(self.listeners):
            listener(event)

    # Finding

    @property
    def bot(self) -> User:
        """The bot's account; its id is the application's."""
        return self.users[self.application_id]

    def channel(self, which: str | int | Channel) -> Channel:
        """Return a channel by name (``imagine`` or ``#imagine``) or id; 10003 if there is none."""
        wanted = which.id if isinstance(which, Channel) else which
        if isinstance(wanted, int):
            found = self.channels.get(wanted)
        else:
            name = wanted.removeprefix("#")
            named = [channel for channel in self.channels.values() if channel.name == name]
            found = named[0] if named else None
        if found is None:
            raise api_error(10003)
        return found

    def user(self, which: str | int | User | Member) -> User:
        """Return an account by the name people see, or id; 10013 if there is none."""
        if isinstance(which, User | Member):
            which = which.id
        for user in self.users.values():
            if user.id == which or user.name == which or user.username == which:
                return user
        raise api_error(10013)

    def member(self, which: str | int | User | Member) -> Member:
        """Return a member by name or id; 10007 if they are not (or no longer) here."""
        found = self.members.get(self.user(which).id)
        if found is None:
            raise api_error(10007)
        return found

    def message(self, message_id: int, channel: Channel | None = None) -> Message:
        """Return a message by id, ephemeral ones included; 10008 if there is none there."""
        found = self.messages.get(message_id)
        if found is None or (channel is not None and found.channel_id != channel.id):
            raise api_error(10008)
        return found

    def messages_in(self, which: str | int | Channel) -> list[Message]:
        """Return every message of a channel, oldest first, ephemeral ones included."""
        channel = self.channel(which)
        return [message for message in self.messages.values() if message.channel_id == channel.id]

    # Judging

    def permissions(self, who: str | int | User | Member, where: str | int | Channel) -> int:
        """Return the permission bits a user has in a channel, 0 for strangers."""
        user, channel = self.user(who), self.channel(where)
        if channel.type == DIRECT:
            inside = user in channel.recipients or user.id == self.application_id
            return permissions.DIRECT if inside else 0
        member = self.members.get(user.id)
        if member is None:
            return 0
        if user.id == self.owner_id:
            return permissions.ALL
        base = self.base_permissions(member)
        if channel.is_thread and channel.parent_id is not None:
            overwrites = self.channel(channel.parent_id).overwrites
        else:
            overwrites = channel.overwrites

        def pair(target: int) -> tuple[int, int]:
            overwrite = overwrites.get(target)
            return (overwrite.allow, overwrite.deny) if overwrite else (0, 0)

        return permissions.effective(
            base,
            pair(self.guild_id),
            [pair(role) for role in member.roles],
            pair(member.id),
            thread=channel.is_thread,
        )

    def base_permissions(self, member: Member) -> int:
        """Return the union of a member's roles, before any channel has its say."""
        base = self.roles[self.guild_id].permissions
        for role in member.roles:
            base |= self.roles[role].permissions
        return base

    def moderator(self, user_id: int) -> bool:
        """Whether a member has Manage Server."""
        member = self.members.get(user_id)
        if member is None:
            return False
        wanted = permissions.MANAGE_GUILD | permissions.ADMINISTRATOR
        return bool(self.base_permissions(member) & wanted) or user_id == self.owner_id

    def require(self, channel: Channel, *names: str) -> None:
        """Refuse the bot: 50001 if it cannot see the channel, 50013 if it lacks a permission."""
        held = self.permissions(self.application_id, channel)
        if not held & permissions.VIEW_CHANNEL:
            raise api_error(50001)
        if permissions.bits(*names) & ~held:
            raise api_error(50013)

    def age_restricted(self, channel: Channel) -> bool:
        """Whether a channel is; threads inherit it from their parent."""
        if channel.is_thread and channel.parent_id is not None:
            return self.channel(channel.parent_id).nsfw
        return channel.nsfw

    # Changing

    def add_user(self, username: str, name: str | None = None, *, bot: bool = False) -> User:
        """Make an account."""
        user = User(self.mint.next_id(), username, name, bot)
        self.users[user.id] = user
        return user

    def add_member(self, username: str, name: str, *roles: Role) -> Member:
        """Make an account and let it join the server."""
        user = self.add_user(username, name)
        member = Member(user, self.now(), [role.id for role in roles])
        self.members[user.id] = member
        return member

    def add_role(self, name: str, permission_bits: int, *, color: int = 0) -> Role:
        """Make a role."""
        role = Role(self.mint.next_id(), name, permission_bits, len(self.roles), color)
        self.roles[role.id] = role
        return role

    def add_channel(
        self, name: str, *, kind: int = TEXT, topic: str | None = None, nsfw: bool = False
    ) -> Channel:
        """Make a channel of the server; ``kind`` is Discord's number, 0 text or 15 forum."""
        channel = Channel(
            self.mint.next_id(),
            kind,
            name,
            topic=topic,
            nsfw=nsfw,
            position=len(self.channels),
            guild_id=self.guild_id,
        )
        self.channels[channel.id] = channel
        self.emit(Event("CHANNEL_CREATE", channel=channel))
        return channel

    def overwrite(
        self,
        where: str | int | Channel,
        who: str | int | User | Member | Role,
        *,
        allow: int = 0,
        deny: int = 0,
    ) -> None:
        """Set a channel's overwrite for a role or member; both zero removes it."""
        channel = self.channel(where)
        target = who if isinstance(who, Role) else self.member(who)
        channel.overwrites.pop(target.id, None)
        if allow or deny:
            kind = 0 if isinstance(target, Role) else 1
            channel.overwrites[target.id] = Overwrite(target.id, kind, allow, deny)
        self.emit(Event("CHANNEL_UPDATE", channel=channel))

    def add_deny_overwrite(self, where: str | int | Channel, *names: str) -> None:
        """Take permissions from the bot in one channel, ``deny("imagine", "ATTACH_FILES")``."""
        self.overwrite(where, self.application_id, deny=permissions.bits(*names))

    def restore(self, where: str | int | Channel) -> None:
        """Drop what the channel denies or grants to the bot."""
        self.overwrite(where, self.application_id)

    def delete_channel(self, where: str | int | Channel) -> None:
        """Delete a channel with its threads and messages."""
        channel = self.channel(where)
        threads = [one for one in self.channels.values() if one.parent_id == channel.id]
        for thread in threads:
            self.delete_channel(thread)
        del self.channels[channel.id]
        for message in [one for one in self.messages.values() if one.channel_id == channel.id]:
            del self.messages[message.id]
        name = "THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE"
        self.emit(Event(name, channel=channel))

    def remove_member(self, who: str | int | User | Member) -> None:
        """Let a member leave; their account and messages stay."""
        member = self.member(who)
        del self.members[member.id]
        self.emit(Event("GUILD_MEMBER_REMOVE", {"user_id": member.id}))

    def kick_bot(self) -> None:
        """Take the bot off the server; doing it twice does nothing."""
        if self.application_id in self.members:
            self.remove_member(self.application_id)

    def invite_bot(self) -> None:
        """Let the bot join the server again, with its role; doing it twice does nothing."""
        if self.application_id not in self.members:
            roles = [role.id for role in self.roles.values() if role.managed]
            self.members[self.application_id] = Member(self.bot, self.now(), roles)
            self.emit(Event("GUILD_MEMBER_ADD", {"user_id": self.application_id}))

    def set_thread(
        self,
        where: str | int | Channel,
        *,
        locked: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Lock or archive a thread, or undo it; 50024 for any other channel."""
        channel = self.channel(where)
        if channel.thread is None:
            raise api_error(50024)
        if locked is not None:
            channel.thread.locked = locked
        if archived is not None:
            channel.thread.archived = archived
        self.emit(Event("THREAD_UPDATE", channel=channel))

    def set_direct_messages(self, who: str | int | User | Member, *, accepted: bool) -> None:
        """Let a user take the bot's direct messages or not (50007)."""
        self.user(who).takes_dms = accepted

    def direct_channel(self, who: str | int | User | Member) -> Channel:
        """Return the direct messages between the bot and a user, opened if need be."""
        user = self.user(who)
        for channel in self.channels.values():
            if channel.type == DIRECT and user in channel.recipients:
                return channel
        channel = Channel(self.mint.next_id(), DIRECT, recipients=[user])
        self.channels[channel.id] = channel
        self.emit(Event("CHANNEL_CREATE", channel=channel, only_for=user.id))
        return channel
