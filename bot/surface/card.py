"""A message as a value: what it says, shows and offers. Knows Discord's limits, and no job.

Cards are compared, so that a message that would not change is not edited. ``posting`` turns them
into what discord.py sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

MAX_TITLE: Final = 256
DESCRIPTION: Final = 4096
FIELDS: Final = 25
FIELD_NAME: Final = 256
FIELD_VALUE: Final = 1024
FOOTER: Final = 2048
EMBED: Final = 6000
CONTENT: Final = 2000
CONTROL_ROWS: Final = 5
BUTTONS_IN_ROW: Final = 5
OPTIONS: Final = 25
LABEL: Final = 80
OPTION_TEXT: Final = 100
CUSTOM_ID: Final = 100
URL: Final = 512

Style: TypeAlias = Literal["primary", "secondary", "success", "danger"]


@dataclass(frozen=True, slots=True)
class ButtonSpec:
    """Something to press: it either tells the bot (``custom_id``) or opens ``url``."""

    label: str
    custom_id: str = ""
    url: str = ""
    style: Style = "secondary"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One line of a menu; ``value`` is what the bot is told."""

    label: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SelectSpec:
    """A select that takes one of its options."""

    custom_id: str
    placeholder: str
    options: tuple[SelectOption, ...]


Control: TypeAlias = ButtonSpec | SelectSpec
ActionRow: TypeAlias = tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class EmbedField:
    """A small heading and a text below it."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One embed with controls below. ``image`` names a file that is attached to the message."""

    title: str
    description: str
    colour: int
    fields: tuple[EmbedField, ...] = ()
    footer: str = ""
    image: str = ""
    controls: tuple[ActionRow, ...] = ()

    @property
    def length(self) -> int:
        """Characters that count towards EMBED."""
        texts = [self.title, self.description, self.footer]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        return sum(utf16_length(text) for text in texts)


def utf16_length(text: str) -> int:
    """UTF-16 units: however Discord counts, it does not count more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
