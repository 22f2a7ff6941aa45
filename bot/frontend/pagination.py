"""Lists that are longer than one message: page by page, with buttons that turn them.

A button carries the list's name, what it is about and the page, and the list is read anew; so pages
turn after a restart too, and nothing is remembered for them. What is listed is the command's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import discord

from bot.domain.text import truncate_utf16, utf16_length
from bot.frontend.embeds import BLUE
from bot.frontend.messages import (
    DESCRIPTION,
    FIELD_VALUE,
    ActionRow,
    ButtonSpec,
    EmbedField,
    MessageContent,
)
from bot.frontend.responses import send_ephemeral, turn_to, with_error_response

Interaction: TypeAlias = discord.Interaction[Any]

_NUMBER: Final = r"(?P<page>[0-9]{1,4})"
_ABOUT: Final = r"(?P<about>[a-z0-9-]{0,40})"


@dataclass(frozen=True, slots=True)
class Section:
    """One list of a listing. Without a ``name`` it stands at the top; ``none``: it is empty."""

    name: str
    lines: Sequence[str]
    none: str = "Nothing."


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list says on each page (``title``, ``head``, ``fields``), and what is turned."""

    title: str
    sections: Sequence[Section]
    head: str = ""
    fields: tuple[EmbedField, ...] = ()
    colour: int = BLUE


Read: TypeAlias = Callable[[Interaction, str], Awaitable[Listing]]
"""Reads a list for who asks. The text says what it is about; it is empty, or the list's own."""


def pages_of(lines: Sequence[str], most: int) -> list[list[str]]:
    """Return the lines in as few pages as hold them in ``most`` units each; at least one page."""
    pages: list[list[str]] = [[]]
    room = most
    for line in (truncate_utf16(line, most) for line in lines):
        if utf16_length(line) > room:
            pages.append([])
            room = most
        pages[-1].append(line)
        room -= utf16_length(line) + 1
    return pages


def page_card(listing: Listing, name: str, about: str, number: int) -> MessageContent:
    """Return page ``number``, from 1, or the last if there are fewer; with the buttons to turn."""
    named = [section for section in listing.sections if section.name]
    # One embed holds 6,000 in all: the fields, and what stands at the top in half of its room.
    top = (DESCRIPTION // 2 if named else DESCRIPTION) - utf16_length(listing.head) - 2
    parts = [
        (section, pages_of(section.lines, FIELD_VALUE if section.name else top))
        for section in listing.sections
    ]
    last = max((len(pages) for _, pages in parts), default=1)
    number = min(max(1, number), last)
    description = listing.head
    fields = list(listing.fields)
    for section, pages in parts:
        if number > len(pages):
            continue
        text = "\n".join(pages[number - 1]) or section.none
        if section.name:
            fields.append(EmbedField(section.name, text))
        else:
            description = "\n\n".join(part for part in (listing.head, text) if part)
    turns = [
        ButtonSpec(label, f"gb-page:{name}:{about}:{to}")
        for label, to in (("Previous", number - 1), ("Next", number + 1))
        if 1 <= to <= last
    ]
    controls: tuple[ActionRow, ...] = (tuple(turns),) if turns else ()
    footer = f"Page {number} of {last}" if last > 1 else ""
    return MessageContent(
        listing.title, description, listing.colour, tuple(fields), footer, controls=controls
    )


async def answer(interaction: Interaction, name: str, listing: Listing, about: str = "") -> None:
    """Answer privately with the first page of the list ``name``."""
    await send_ephemeral(interaction, "", card=page_card(listing, name, about, 1))


def turning(name: str, read: Read) -> type[discord.ui.DynamicItem[Any]]:
    """Return the buttons that turn the pages of the list ``name``, for a command's ITEMS."""

    class Turn(
        discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
        template=rf"gb-page:{name}:{_ABOUT}:{_NUMBER}",
    ):
        def __init__(self, item: Any, about: str, number: int) -> None:
            super().__init__(item)
            self._about, self._number = about, number

        @classmethod
        async def from_custom_id(
            cls, interaction: Interaction, item: Any, match: re.Match[str], /
        ) -> Turn:
            return cls(item, match["about"], int(match["page"]))

        async def callback(self, interaction: Interaction) -> None:
            await with_error_response(interaction, self._turn)

        async def _turn(self, interaction: Interaction) -> None:
            listing = await read(interaction, self._about)
            await turn_to(interaction, page_card(listing, name, self._about, self._number))

    return Turn
