"""Content of messages as values that can be compared, and Discord's limits for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from bot.domain.text import utf16_length

MAX_TITLE: Final = 256
MAX_DESCRIPTION: Final = 4096
MAX_FIELDS: Final = 25
MAX_FIELD_NAME: Final = 256
MAX_FIELD_VALUE: Final = 1024
MAX_FOOTER: Final = 2048
MAX_EMBED: Final = 6000
MAX_CONTENT: Final = 2000
MAX_ACTION_ROWS: Final = 5
MAX_BUTTONS_PER_ROW: Final = 5
MAX_OPTIONS: Final = 25
MAX_LABEL: Final = 80
MAX_OPTION_TEXT: Final = 100
MAX_CUSTOM_ID: Final = 100
MAX_URL: Final = 512

GREY: Final = 0x8A94A6
BLUE: Final = 0x6C8CFF
GREEN: Final = 0x57A773
AMBER: Final = 0xE0A458
RED: Final = 0xD1495B

Style: TypeAlias = Literal["primary", "secondary", "success", "danger"]


@dataclass(frozen=True, slots=True)
class ButtonSpec:
    """A button: with a ``custom_id``, or a link to ``url``."""

    label: str
    custom_id: str = ""
    url: str = ""
    style: Style = "secondary"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One option of a select; ``value`` is sent to the bot."""

    label: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SelectSpec:
    """A select for one option."""

    custom_id: str
    placeholder: str
    options: tuple[SelectOption, ...]


Control: TypeAlias = ButtonSpec | SelectSpec
ActionRow: TypeAlias = tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class EmbedField:
    """A field of an embed."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One embed with components. ``image`` is the name of an attached file."""

    title: str
    description: str
    colour: int
    fields: tuple[EmbedField, ...] = ()
    footer: str = ""
    image: str = ""
    controls: tuple[ActionRow, ...] = ()

    @property
    def length(self) -> int:
        """Return the UTF-16 units that count towards MAX_EMBED."""
        texts = [self.title, self.description, self.footer]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        return sum(utf16_length(text) for text in texts)


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file to attach; ``alt`` is its description for screen readers."""

    path: Path
    name: str
    alt: str = ""
