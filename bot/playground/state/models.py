"""Define Discord's objects: users, roles, members, channels, files, messages, interactions.

Objects whose JSON depends on others are rendered in ``serializers.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

TEXT, DIRECT, FORUM = 0, 1, 15
PUBLIC_THREAD, PRIVATE_THREAD = 11, 12
THREADS = (10, PUBLIC_THREAD, PRIVATE_THREAD)


def format_timestamp(moment: datetime) -> str:
    """Format a time as Discord does, ``2026-11-23T02:12:00.000000+00:00``."""
    return moment.isoformat(timespec="microseconds")


@dataclass(slots=True)
class User:
    """A user account; the bot has one, too."""

    id: int
    username: str
    global_name: str | None = None
    bot: bool = False
    takes_dms: bool = True

    @property
    def name(self) -> str:
        """Return the display name."""
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
    """A role; the one with the guild's id is @everyone."""

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
    """A user in the guild."""

    user: User
    joined_at: datetime
    roles: list[int] = field(default_factory=list)
    nick: str | None = None

    @property
    def id(self) -> int:
        """Return the user's id."""
        return self.user.id

    def payload(self, *, with_user: bool = True) -> Json:
        """Render ``GuildMemberResponse``, or the partial member of a message event."""
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
    """A permission overwrite of a channel for a role (kind 0) or member (kind 1)."""

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
    """The fields that only a thread has. ``auto_archive`` is in minutes."""

    owner_id: int
    created_at: datetime
    auto_archive: int = 1440
    archived: bool = False
    locked: bool = False
    invitable: bool = True
    messages_sent: int = 0


@dataclass(slots=True)
class Channel:
    """A text channel, forum, thread or direct message channel, by ``type``."""

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
        """Return whether this is a thread of any type."""
        return self.type in THREADS


@dataclass(slots=True)
class Upload:
    """One file of a multipart request, before it belongs to a message."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str | None = None


@dataclass(slots=True)
class Attachment:
    """A stored file. ``width`` and ``height`` are in pixels, None if it is no image."""

    id: int
    channel_id: int
    filename: str
    content: bytes = field(repr=False)
    content_type: str | None = None
    description: str | None = None
    ephemeral: bool = False
    width: int | None = None
    height: int | None = None


SUPPRESS_EMBEDS = 1 << 2
EPHEMERAL = 1 << 6
LOADING = 1 << 7
SUPPRESS_NOTIFICATIONS = 1 << 12
COMPONENTS_V2 = 1 << 15

# Types of interaction, and types of interaction callback.
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9


# The component types that contain others, and the keys of single children.
CHILD_LISTS = (1, 9, 17)
SINGLE_CHILDREN = {9: "accessory", 18: "component"}


def iter_components(components: list[Json]) -> list[Json]:
    """Return all components in reading order, nested ones and accessories included."""
    found: list[Json] = []
    for node in components:
        found.append(node)
        if node["type"] in CHILD_LISTS:
            found += iter_components(node["components"])
        if node["type"] in SINGLE_CHILDREN:
            found += iter_components([node[SINGLE_CHILDREN[node["type"]]]])
    return found


@dataclass(slots=True)
class Interaction:
    """A command, a component interaction or a submitted modal.

    ``callback`` is the type of the first response, None before it.
    """

    id: int
    token: str
    kind: int
    user: User
    channel_id: int
    created_at: datetime
    data: Json
    guild_id: int | None = None
    message_id: int | None = None
    parent: Interaction | None = None
    callback: int | None = None
    original_id: int | None = None
    followup_ids: list[int] = field(default_factory=list)
    modal: Json | None = None
    choices: list[Json] | None = None
    ephemeral: bool = False
    failed: bool = False

    @property
    def command_name(self) -> str | None:
        """Return the command's name with group and subcommand; None for other interactions."""
        if self.kind != COMMAND:
            return None
        words = [str(self.data["name"])]
        options = self.data.get("options") or []
        while options and options[0]["type"] in (1, 2):
            words.append(str(options[0]["name"]))
            options = options[0].get("options") or []
        return " ".join(words)


@dataclass(slots=True)
class Message:
    """A posted message.

    ``mentions``, ``mention_roles`` and ``mention_everyone`` are who is notified, after
    ``allowed_mentions`` (stored as the bot sent it) was applied.
    """

    id: int
    channel_id: int
    author: User
    timestamp: datetime
    type: int = 0
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: int = 0
    tts: bool = False
    edited_at: datetime | None = None
    allowed_mentions: Json | None = None
    mentions: list[int] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    nonce: str | int | None = None
    reference_id: int | None = None
    interaction: Interaction | None = field(default=None, repr=False)
    ephemeral_for: int | None = None
    thread_id: int | None = None
    edits: int = 0

    @property
    def ephemeral(self) -> bool:
        """Return whether only one user can see the message."""
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Return whether the message is a deferred response that was not sent yet."""
        return bool(self.flags & LOADING)

    @property
    def text(self) -> str:
        """Return all visible text: content, embeds and text displays, one per line."""
        lines = [self.content] if self.content else []
        for embed in self.embeds:
            parts = [embed.get("title"), embed.get("description")]
            parts += [
                part
                for entry in embed.get("fields", [])
                for part in (entry["name"], entry["value"])
            ]
            parts.append((embed.get("footer") or {}).get("text"))
            lines += [part for part in parts if part]
        lines += [
            node["content"] for node in iter_components(self.components) if node["type"] == 10
        ]
        return "\n".join(lines)

    def controls(self) -> list[Json]:
        """Return the buttons and selects in reading order."""
        return [
            node for node in iter_components(self.components) if node["type"] in (2, 3, 5, 6, 7, 8)
        ]


EPOCH_MS = 1_420_070_400_000


class SnowflakeGenerator:
    """Generate increasing ids, also while the clock of a test does not advance."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0

    def next_id(self) -> int:
        """Return an id larger than all before it."""
        earliest = (int(self._now().timestamp() * 1000) - EPOCH_MS) << 22
        self._last = max(earliest, self._last + 1)
        return self._last
