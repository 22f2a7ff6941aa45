"""Lists with pages: their content, split into embeds with buttons. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.text import truncate_utf16, utf16_length
from bot.frontend.message_content import (
    BLUE,
    MAX_DESCRIPTION,
    MAX_FIELD_VALUE,
    ActionRow,
    ButtonSpec,
    EmbedField,
    MessageContent,
)


@dataclass(frozen=True, slots=True)
class Section:
    """One list of a listing. Without ``name`` it is in the description."""

    name: str
    lines: Sequence[str]
    empty_text: str = "Nothing."


@dataclass(frozen=True, slots=True)
class Listing:
    """A list with title, introduction, fixed fields and sections."""

    title: str
    sections: Sequence[Section]
    head: str = ""
    fields: tuple[EmbedField, ...] = ()
    colour: int = BLUE


def split_pages(lines: Sequence[str], max_length: int) -> list[list[str]]:
    """Split lines into pages of ``max_length`` UTF-16 units; at least one page."""
    pages: list[list[str]] = [[]]
    remaining = max_length
    for line in (truncate_utf16(line, max_length) for line in lines):
        if utf16_length(line) > remaining:
            pages.append([])
            remaining = max_length
        pages[-1].append(line)
        remaining -= utf16_length(line) + 1
    return pages


def build_page(listing: Listing, name: str, subject: str, page: int) -> MessageContent:
    """Return page ``page`` (from 1, at most the last) with its buttons."""
    has_named = [section for section in listing.sections if section.name]
    # One embed holds 6,000 in all: the fields, and what stands at the top in half of its room.
    top = (MAX_DESCRIPTION // 2 if has_named else MAX_DESCRIPTION) - utf16_length(listing.head) - 2
    parts = [
        (section, split_pages(section.lines, MAX_FIELD_VALUE if section.name else top))
        for section in listing.sections
    ]
    last = max((len(pages) for _, pages in parts), default=1)
    page = min(max(1, page), last)
    description = listing.head
    fields = list(listing.fields)
    for section, pages in parts:
        if page > len(pages):
            continue
        text = "\n".join(pages[page - 1]) or section.empty_text
        if section.name:
            fields.append(EmbedField(section.name, text))
        else:
            description = "\n\n".join(part for part in (listing.head, text) if part)
    buttons = [
        ButtonSpec(label, f"gb-page:{name}:{subject}:{to}")
        for label, to in (("Previous", page - 1), ("Next", page + 1))
        if 1 <= to <= last
    ]
    controls: tuple[ActionRow, ...] = (tuple(buttons),) if buttons else ()
    footer = f"Page {page} of {last}" if last > 1 else ""
    return MessageContent(
        listing.title, description, listing.colour, tuple(fields), footer, controls=controls
    )


def bullet_list(
    lines: Iterable[str], max_length: int = MAX_FIELD_VALUE, empty_text: str = "Nothing."
) -> str:
    """Return as many lines as fit into ``max_length`` UTF-16 units, and count the rest."""
    all_lines = list(lines)
    if not all_lines:
        return empty_text
    shown: list[str] = []
    remaining = max_length - utf16_length(f"\n… and {len(all_lines)} more")
    for line in all_lines:
        remaining -= utf16_length(line) + 1
        if remaining < 0:
            break
        shown.append(line)
    left = len(all_lines) - len(shown)
    return "\n".join([*shown, *([f"… and {left} more"] if left else [])])
