"""Hold one guild with its members, roles and channels; compute permissions and emit events.

Messages, interactions and commands have modules of their own. There is no I/O.
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
    """A change of state. ``only_for`` limits it to one user id (ephemeral messages, modals).

    ``message`` and ``channel`` are the objects, for listeners that serialize them; ``data`` holds
    the rest. ``name`` is a gateway event (MESSAGE_CREATE) or an own one (INTERACTION_FAILED).
    """

    name: str
    data: Json = field(default_factory=dict)
    channel: Channel | None = None
    message: Message | None = None
    only_for: int | None = None


Listener = Callable[[Event], None]


class GuildState:
    """One guild with its members, roles and channels, and the direct message channels."""

    def __init__(self, now: Callable[[], datetime], rng: random.Random) -> None:
        self.now = now
        self.rng = rng
        self.snowflakes = SnowflakeGenerator(now)
        # The time limit of the first response, and the lifetime of an interaction token.
        self.ack_life = timedelta(seconds=3)
        self.token_life = timedelta(minutes=15)
        # The lifetime of a signed link. Discord documents none; a day is what is observed.
        self.url_lifetime = timedelta(hours=24)
        self.url_secret = rng.randbytes(32)
        # The server's addresses; it sets them when it starts to listen.
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
        # Files uploaded for a command or modal, not part of any message.
        self.uploads: dict[int, Attachment] = {}
        self.listeners: list[Listener] = []

    # Events

    def emit(self, event: Event) -> None:
        """Call every listener; they must not block."""
        for listener in tuple(self.listeners):
            listener(event)

    # Lookup

    @property
    def bot(self) -> User:
        """Return the bot's user; its id is the application's."""
        return self.users[self.application_id]

    def channel(self, which: str | int | Channel) -> Channel:
        """Return a channel by name (with or without ``#``) or id. Raises ApiError 10003."""
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
        """Return a user by display name, username or id. Raises ApiError 10013."""
        if isinstance(which, User | Member):
            which = which.id
        for user in self.users.values():
            if user.id == which or user.name == which or user.username == which:
                return user
        raise api_error(10013)

    def member(self, which: str | int | User | Member) -> Member:
        """Return a member by name or id. Raises ApiError 10007, 10013."""
        found = self.members.get(self.user(which).id)
        if found is None:
            raise api_error(10007)
        return found

    def message(self, message_id: int, channel: Channel | None = None) -> Message:
        """Return a message by id, ephemeral ones included. Raises ApiError 10008."""
        found = self.messages.get(message_id)
        if found is None or (channel is not None and found.channel_id != channel.id):
            raise api_error(10008)
        return found

    def messages_in(self, which: str | int | Channel) -> list[Message]:
        """Return all messages of a channel, oldest first, ephemeral ones included."""
        channel = self.channel(which)
        return [message for message in self.messages.values() if message.channel_id == channel.id]

    # Permissions

    def permissions(self, who: str | int | User | Member, where: str | int | Channel) -> int:
        """Return the permission bits of a user in a channel; 0 if they are not a member."""
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

        return permissions.compute(
            base,
            pair(self.guild_id),
            [pair(role) for role in member.roles],
            pair(member.id),
            thread=channel.is_thread,
        )

    def base_permissions(self, member: Member) -> int:
        """Return the permission bits of all roles of a member, without channel overwrites."""
        base = self.roles[self.guild_id].permissions
        for role in member.roles:
            base |= self.roles[role].permissions
        return base

    def is_moderator(self, user_id: int) -> bool:
        """Return whether a member has Manage Server."""
        member = self.members.get(user_id)
        if member is None:
            return False
        wanted = permissions.MANAGE_GUILD | permissions.ADMINISTRATOR
        return bool(self.base_permissions(member) & wanted) or user_id == self.owner_id

    def require(self, channel: Channel, *names: str) -> None:
        """Raise ApiError if the bot cannot see the channel (50001), or lacks permission (50013)."""
        held = self.permissions(self.application_id, channel)
        if not held & permissions.VIEW_CHANNEL:
            raise api_error(50001)
        if permissions.bits(*names) & ~held:
            raise api_error(50013)

    def is_age_restricted(self, channel: Channel) -> bool:
        """Return whether a channel is age-restricted; a thread is if its parent is."""
        if channel.is_thread and channel.parent_id is not None:
            return self.channel(channel.parent_id).nsfw
        return channel.nsfw

    # Changes

    def add_user(self, username: str, name: str | None = None, *, bot: bool = False) -> User:
        """Create a user."""
        user = User(self.snowflakes.next_id(), username, name, bot)
        self.users[user.id] = user
        return user

    def add_member(self, username: str, name: str, *roles: Role) -> Member:
        """Create a user and add it to the guild."""
        user = self.add_user(username, name)
        member = Member(user, self.now(), [role.id for role in roles])
        self.members[user.id] = member
        return member

    def add_role(self, name: str, permission_bits: int, *, color: int = 0) -> Role:
        """Create a role."""
        role = Role(self.snowflakes.next_id(), name, permission_bits, len(self.roles), color)
        self.roles[role.id] = role
        return role

    def add_channel(
        self, name: str, *, kind: int = TEXT, topic: str | None = None, nsfw: bool = False
    ) -> Channel:
        """Create a channel of the guild; ``kind`` is Discord's channel type, 0 text or 15 forum."""
        channel = Channel(
            self.snowflakes.next_id(),
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
        """Set the permission overwrite of a role or member; both 0 removes it."""
        channel = self.channel(where)
        target = who if isinstance(who, Role) else self.member(who)
        channel.overwrites.pop(target.id, None)
        if allow or deny:
            kind = 0 if isinstance(target, Role) else 1
            channel.overwrites[target.id] = Overwrite(target.id, kind, allow, deny)
        self.emit(Event("CHANNEL_UPDATE", channel=channel))

    def add_deny_overwrite(self, where: str | int | Channel, *names: str) -> None:
        """Deny permissions to the bot in one channel by name, such as ATTACH_FILES."""
        self.overwrite(where, self.application_id, deny=permissions.bits(*names))

    def restore(self, where: str | int | Channel) -> None:
        """Remove the channel's permission overwrite for the bot."""
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
        """Remove a member from the guild; the user and its messages stay."""
        member = self.member(who)
        del self.members[member.id]
        self.emit(Event("GUILD_MEMBER_REMOVE", {"user_id": member.id}))

    def kick_bot(self) -> None:
        """Remove the bot from the guild. Idempotent."""
        if self.application_id in self.members:
            self.remove_member(self.application_id)

    def invite_bot(self) -> None:
        """Add the bot to the guild again, with its role. Idempotent."""
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
        """Lock, unlock, archive or unarchive a thread. Raises ApiError 50024 for other channels."""
        channel = self.channel(where)
        if channel.thread is None:
            raise api_error(50024)
        if locked is not None:
            channel.thread.locked = locked
        if archived is not None:
            channel.thread.archived = archived
        self.emit(Event("THREAD_UPDATE", channel=channel))

    def set_direct_messages(self, who: str | int | User | Member, *, accepted: bool) -> None:
        """Set whether a user accepts the bot's direct messages; if not, they fail with 50007."""
        self.user(who).takes_dms = accepted

    def direct_channel(self, who: str | int | User | Member) -> Channel:
        """Return the direct message channel of the bot and a user; create it if there is none."""
        user = self.user(who)
        for channel in self.channels.values():
            if channel.type == DIRECT and user in channel.recipients:
                return channel
        channel = Channel(self.snowflakes.next_id(), DIRECT, recipients=[user])
        self.channels[channel.id] = channel
        self.emit(Event("CHANNEL_CREATE", channel=channel, only_for=user.id))
        return channel
