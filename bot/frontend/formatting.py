"""Text formatting for Discord: escaping, truncation, durations, timestamps.

Members' text is shown exactly as typed: it never pings, links, formats or opens an invitation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from bot.domain.job import SHORT_ID, Job
from bot.domain.text import bound_marks, truncate_utf16, utf16_length

MAX_PROMPT: Final = 1000

# Every sign that begins something in Discord's markdown. The colon and the dot are among them
# because a bare address or invitation becomes a link by itself.
_MARKDOWN: Final = re.compile(r"[\\`*_~|>#\-.:/<@\[\]()]")

# The same, but for what ordinary sentences are full of: enough to disarm a quotation among them.
_UNSAFE_MARKDOWN: Final = re.compile(r"[\\`*_~|<@\[\]#]|:(?=//)|(?<=\w)/")

TimestampStyle = Literal["R", "t", "f"]


def escape_user_text(text: str, max_length: int) -> str:
    """Escape markdown and truncate to ``max_length`` UTF-16 units, escapes included.

    Combining marks are bounded, for text stored before they were.
    """
    text = bound_marks(text)
    escaped = _MARKDOWN.sub(r"\\\g<0>", text)
    if utf16_length(escaped) <= max_length:
        return escaped
    kept: list[str] = []
    remaining = max_length - 1
    for character in text:
        piece = _MARKDOWN.sub(r"\\\g<0>", character)
        remaining -= utf16_length(piece)
        if remaining < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + "…"


def escape_message(text: str) -> str:
    """Escape what could link, ping or format in a sentence that quotes a member."""
    return _UNSAFE_MARKDOWN.sub(r"\\\g<0>", bound_marks(text))


def code_block(text: str, max_length: int) -> str:
    """Return ``text`` as a code block of at most ``max_length`` UTF-16 units.

    A zero-width space between backticks keeps them from ending the block; requests drop it again.
    """
    inside = re.sub("`(?=`)", "`\u200b", text)
    return f"```\n{truncate_utf16(inside, max_length - 8)}\n```"


def parse_code_block(block: str) -> str:
    """Return the text inside a block made by ``code_block``, or ""."""
    inside = re.fullmatch(r"```\n(.*)\n```", block, re.DOTALL)
    return inside[1].replace("`\u200b", "`") if inside else ""


def pluralize(number: int, noun: str) -> str:
    """Return ``1 image``, ``12 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def timestamp(at: datetime, style: TimestampStyle = "R") -> str:
    """Return a Discord timestamp; style ``R`` is relative ("in 3 minutes")."""
    return f"<t:{int(at.timestamp())}:{style}>"


def format_duration(seconds: float) -> str:
    """Return ``45 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def join_numbers(numbers: tuple[int, ...]) -> str:
    """Return ``1``, ``1 and 3``, ``1, 2 and 4``."""
    words = [str(number) for number in numbers]
    return " and ".join(([", ".join(words[:-1])] if words[:-1] else []) + words[-1:])


def as_sentence(text: str) -> str:
    """Return the text with a capital letter and a full stop."""
    stripped = text.strip()
    end = "" if stripped.endswith((".", "!", "?", "…")) else "."
    return stripped[:1].upper() + stripped[1:] + end if stripped else ""


def short_id(job_id: str, among: Iterable[str] = ()) -> str:
    """Return the start of a job id, as shown to people: long enough to tell it from ``among``."""
    others = [other for other in among if other != job_id]
    length = SHORT_ID
    while any(other.startswith(job_id[:length]) for other in others):
        length += 1
    return job_id[:length]


def jump_link(guild_id: int, channel_id: int, message_id: int) -> str:
    """Return the URL of a message; guild 0 is a direct message."""
    return f"https://discord.com/channels/{guild_id or '@me'}/{channel_id}/{message_id}"


def format_prompt(job: Job) -> str:
    """Return the prompt as a job's messages begin with it."""
    return f"**{escape_user_text(job.request.prompt, MAX_PROMPT)}**"


def format_footer(job: Job) -> str:
    """Return the footer of a job's message."""
    return f"{short_id(job.id)} · /help"
