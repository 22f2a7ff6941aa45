"""The things a Discord server is made of: users, roles, members, channels, files.

They hold state and render the parts of their JSON that need nothing else. Rules live elsewhere;
what needs the whole world to render (a channel, a signed link) is rendered by ``render.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

TEXT, DIRECT, FORUM = 0, 1, 15
PUBLIC_THREAD, PRIVATE_THREAD = 11, 12
THREADS = (10, PUBLIC_THREAD, PRIVATE_THREAD)


def format_timestamp(moment: datetime) -> str:
    """Return a moment as Discord writes it, ``2026-11-23T02:12:00.000000+00:00``."""
    return moment.isoformat(timespec="microseconds")


@dataclass(slots=True)
class User:
    """An account. The bot is one, too."""

    id: int
    username: str
    global_name: str | None = None
    bot: bool = False
    takes_dms: bool = True

    @property
    def name(self) -> str:
        """The name people see."""
        return self.global_name or self.username

    def payload(self) -> Json:
        """Render ``UserResponse``."""
        body: Json = {
            "id": str(self.id),
            "username": self.username,
            "discriminator": "0000" if self.bot else "0",
            "global_name": self.global_name,
            "avatar": None,
            "public_flags": 0,
            "flags": 0,
            "primary_guild": None,
        }
        if self.bot:
            body["bot"] = True
        return body


@dataclass(slots=True)
class Role:
    """A role; the one with the server's own id is @everyone."""

    id: int
    name: str
    permissions: int
    position: int = 0
    color: int = 0
    managed: bool = False
    mentionable: bool = False

    def payload(self) -> Json:
        """Render ``GuildRoleResponse``."""
        return {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(self.permissions),
            "position": self.position,
            "color": self.color,
            "colors": {
                "primary_color": self.color,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "managed": self.managed,
            "mentionable": self.mentionable,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }


@dataclass(slots=True)
class Member:
    """A user within the server."""

    user: User
    joined_at: datetime
    roles: list[int] = field(default_factory=list)
    nick: str | None = None

    @property
    def id(self) -> int:
        """The user's id."""
        return self.user.id

    def payload(self, *, with_user: bool = True) -> Json:
        """Render ``GuildMemberResponse``, or the partial form that accompanies a message."""
        body: Json = {
            "roles": [str(role) for role in self.roles],
            "nick": self.nick,
            "avatar": None,
            "banner": None,
            "joined_at": format_timestamp(self.joined_at),
            "premium_since": None,
            "communication_disabled_until": None,
            "pending": False,
            "mute": False,
            "deaf": False,
            "flags": 0,
        }
        if with_user:
            body["user"] = self.user.payload()
        return body


@dataclass(slots=True)
class Overwrite:
    """What one channel grants or denies to one role (kind 0) or member (kind 1)."""

    id: int
    kind: int
    allow: int = 0
    deny: int = 0

    def payload(self) -> Json:
        """Render ``ChannelPermissionOverwriteResponse``."""
        return {
            "id": str(self.id),
            "type": self.kind,
            "allow": str(self.allow),
            "deny": str(self.deny),
        }


@dataclass(slots=True)
class ThreadState:
    """What a thread has beyond a channel. ``auto_archive`` is in minutes."""

    owner_id: int
    created_at: datetime
    auto_archive: int = 1440
    archived: bool = False
    locked: bool = False
    invitable: bool = True
    messages_sent: int = 0


@dataclass(slots=True)
class Channel:
    """A text channel, a forum, a thread or a direct message, told apart by ``type``."""

    id: int
    type: int
    name: str = ""
    topic: str | None = None
    nsfw: bool = False
    position: int = 0
    parent_id: int | None = None
    guild_id: int | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    recipients: list[User] = field(default_factory=list)
    thread: ThreadState | None = None
    last_message_id: int | None = None

    @property
    def is_thread(self) -> bool:
        """Whether this is a thread of any sort."""
        return self.type in THREADS


@dataclass(slots=True)
class Upload:
    """One file of a multipart request, before it belongs to a message."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str | None = None


@dataclass(slots=True)
class Attachment:
    """A stored file. ``width`` and ``height`` are pixels, for pictures only."""

    id: int
    channel_id: int
    filename: str
    content: bytes = field(repr=False)
    content_type: str | None = None
    description: str | None = None
    ephemeral: bool = False
    width: int | None = None
    height: int | None = None
