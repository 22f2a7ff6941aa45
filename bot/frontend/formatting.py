"""Words for cards: members' text made inert, and small phrases. Knows markdown and no job.

What a member typed is shown letter for letter: it never pings, never links, never formats, and
never opens an invitation.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, Literal

from bot.domain.text import bound_marks, truncate_utf16, utf16_length

# Every sign that begins something in Discord's markdown. The colon and the dot are among them
# because a bare address or invitation becomes a link by itself.
_SIGNS: Final = re.compile(r"[\\`*_~|>#\-.:/<@\[\]()]")

# The same, but for what ordinary sentences are full of: enough to disarm a quotation among them.
_QUOTED: Final = re.compile(r"[\\`*_~|<@\[\]#]|:(?=//)|(?<=\w)/")

MomentStyle = Literal["R", "t", "f"]


def escape_user_text(text: str, most: int) -> str:
    """``text`` as it was typed, in at most ``most`` UTF-16 units once it is escaped.

    Piled up marks are bounded, for what was stored before they were.
    """
    text = bound_marks(text)
    escaped = _SIGNS.sub(r"\\\g<0>", text)
    if utf16_length(escaped) <= most:
        return escaped
    kept: list[str] = []
    room = most - 1
    for character in text:
        piece = _SIGNS.sub(r"\\\g<0>", character)
        room -= utf16_length(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + "…"


def escape_message(text: str) -> str:
    """A plain sentence that may quote what somebody typed: nothing in it links, pings, formats."""
    return _QUOTED.sub(r"\\\g<0>", bound_marks(text))


def code_block(text: str, most: int) -> str:
    """``text`` to be copied, in ``most`` units; no two backticks touch, which would end the block.

    Requests drop characters without width, so what is pasted back is what was shown.
    """
    inside = re.sub("`(?=`)", "`\u200b", text)
    return f"```\n{truncate_utf16(inside, most - 8)}\n```"


def uncoded(block: str) -> str:
    """Return the text that ``code_block`` made a block of; empty if it is no block."""
    inside = re.fullmatch(r"```\n(.*)\n```", block, re.DOTALL)
    return inside[1].replace("`\u200b", "`") if inside else ""


def pluralize(number: int, noun: str) -> str:
    """``1 image``, ``12 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def timestamp(at: datetime, style: MomentStyle = "R") -> str:
    """A moment in each reader's own time zone and language; ``R`` is relative, "in 3 minutes"."""
    return f"<t:{int(at.timestamp())}:{style}>"


def format_duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def join_numbers(numbers: tuple[int, ...]) -> str:
    """``1``, ``1 and 3``, ``1, 2 and 4``."""
    words = [str(number) for number in numbers]
    return " and ".join(([", ".join(words[:-1])] if words[:-1] else []) + words[-1:])


def as_sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    stripped = text.strip()
    end = "" if stripped.endswith((".", "!", "?", "…")) else "."
    return stripped[:1].upper() + stripped[1:] + end if stripped else ""


def short_id(job_id: str) -> str:
    """The part of a job's id that people read out; it tells when the job was accepted."""
    return job_id[:8]


def jump_link(guild_id: int, channel_id: int, message_id: int) -> str:
    """A message's address, good as long as the message exists."""
    return f"https://discord.com/channels/{guild_id or '@me'}/{channel_id}/{message_id}"
