"""Messages and interactions as they are kept, with the flags and kinds that go with them.

They hold state and answer simple questions about themselves. ``board.py`` and ``desk.py`` hold the
rules; what needs the whole world to render is rendered by ``render.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bot.playground.entities import Attachment, Json, User

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
