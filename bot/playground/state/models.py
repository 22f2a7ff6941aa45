"""The things a Discord server is made of: users, roles, members, channels, files.

They hold state and render the parts of their JSON that need nothing else. Rules live elsewhere;
what needs the whole world to render (a channel, a signed link) is rendered by ``render.py``.
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


SUPPRESS_EMBEDS = 1 << 2
EPHEMERAL = 1 << 6
LOADING = 1 << 7
SUPPRESS_NOTIFICATIONS = 1 << 12
COMPONENTS_V2 = 1 << 15

# Kinds of interaction, and kinds of response to one.
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9


# Which components hold others, and under which key; anything else there is not looked into.
LISTS = (1, 9, 17)
SINGLES = {9: "accessory", 18: "component"}


def iter_components(components: list[Json]) -> list[Json]:
    """Return every component, nested ones and accessories included, in reading order."""
    found: list[Json] = []
    for node in components:
        found.append(node)
        if node["type"] in LISTS:
            found += iter_components(node["components"])
        if node["type"] in SINGLES:
            found += iter_components([node[SINGLES[node["type"]]]])
    return found


@dataclass(slots=True)
class Interaction:
    """One press, one command, one submitted form: 3 s to answer, 15 min to follow up.

    ``callback`` is the kind of the first response, None until it came.
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
        """The command's name, with group and subcommand, for the line above the answer."""
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
    """A posted message, with whom it was allowed to call and whom it called.

    ``mentions``, ``mention_roles`` and ``mention_everyone`` say who was really notified, after
    ``allowed_mentions`` (kept as the bot sent it) had its say.
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
        """Whether only one member can see it."""
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether it still says that the bot is thinking."""
        return bool(self.flags & LOADING)

    @property
    def text(self) -> str:
        """Everything there is to read in it: content, embeds and text displays, by lines."""
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
        """Return its buttons and selects, in reading order."""
        return [
            node for node in iter_components(self.components) if node["type"] in (2, 3, 5, 6, 7, 8)
        ]


EPOCH_MS = 1_420_070_400_000


class SnowflakeGenerator:
    """Makes ids that grow even when the clock stands still, as a test's clock does."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0

    def next_id(self) -> int:
        """Return an id larger than every one before it."""
        born = (int(self._now().timestamp() * 1000) - EPOCH_MS) << 22
        self._last = max(born, self._last + 1)
        return self._last
