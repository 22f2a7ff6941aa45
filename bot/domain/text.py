"""Text normalisation and truncation: one clean line of visible Unicode.

A prompt passes through a shell script, a job document, a log and a chat message; what breaks or
disguises text in any of them is removed here.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Final

# The flags of England, Scotland and Wales are a black flag followed by tag characters. Anywhere
# else tag characters are invisible text, which can hide instructions from a reader.
_TAG_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]{1,6}\U000e007f"

_INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # C0 and C1 controls that are not line breaks or tabs
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    "\u200b\u200c\u200e\u200f\u202a-\u202e"  # zero width, bidi marks, embeddings and overrides
    "\u2060-\u206f"  # word joiner, unseen operators, bidi isolates
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags and the supplement of variation selectors
    "\ud800-\udfff"  # lone surrogates, which UTF-8 cannot encode
    "\ufdd0-\ufdef"  # not characters, as are the last two of every plane:
    + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
)
_LINE_BREAKS = re.compile("[\t-\r\x85\u2028\u2029]")
_REMOVED = re.compile(f"({_TAG_FLAG})|[{_INVISIBLE}]")
_JOINER = "\u200d"
_SELECTORS = "\ufe00", "\ufe0f"
_IGNORABLE = re.compile(f"[{_INVISIBLE}\u200d\ufe00-\ufe0f]")

MAX_MARKS: Final = 8
"""Maximum combining marks on one character: the deepest stack in real use, a Tibetan one."""

BRAILLE_BLANK = "\u2800"
"""The empty Braille cell: Unicode counts it as a symbol, but it is blank."""


def normalize_text(text: str) -> str:
    """Return one line in NFC, single spaces inside and none around; idempotent.

    Line breaks and tabs become spaces. Controls, lone surrogates, bidi controls and zero-width
    characters are removed, except for the joiner, the variation selectors and the tags of emoji.
    Marks are bounded as in ``bound_marks``.
    """
    one_line = _LINE_BREAKS.sub(" ", text)
    visible = _REMOVED.sub(lambda match: match[1] or "", one_line)
    # Normalised before marks are counted, because that can split them, and after, because the
    # remaining marks can have another order.
    bounded = bound_marks(unicodedata.normalize("NFC", visible))
    return " ".join(unicodedata.normalize("NFC", bounded).split())


def bound_marks(text: str) -> str:
    """Return ``text`` with at most MAX_MARKS marks on each character; idempotent.

    Each character keeps at most one joiner and one variation selector.
    """
    if text.isascii():
        return text
    kept: list[str] = []
    marks = joiners = selectors = 0
    for char in text:
        if char == _JOINER:
            joiners += 1
            if joiners > 1:
                continue
        elif _SELECTORS[0] <= char <= _SELECTORS[1]:
            selectors += 1
            if selectors > 1:
                continue
        elif unicodedata.category(char)[0] == "M":
            marks += 1
            if marks > MAX_MARKS:
                continue
        else:
            marks = joiners = selectors = 0
        kept.append(char)
    return "".join(kept)


def has_visible_characters(text: str) -> bool:
    """Return whether a reader would see anything; joiners, marks and blanks do not count."""
    return any(_is_visible(char) for char in text)


def is_ignorable(char: str) -> bool:
    """Return whether a character is invisible and separates no words: comparisons skip it."""
    return _IGNORABLE.match(char) is not None or unicodedata.category(char) == "Cf"


def truncate(text: str, max_length: int = 40) -> str:
    """Shorten text to at most ``max_length`` characters, ending in an ellipsis."""
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units; Discord never counts more than that."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def truncate_utf16(text: str, max_units: int) -> str:
    """Shorten text to at most ``max_units`` UTF-16 units, ending in an ellipsis.

    Marks are bounded as in ``bound_marks``; no character is split.
    """
    text = bound_marks(text)
    if utf16_length(text) <= max_units:
        return text
    kept = text[: max_units - 1]
    while utf16_length(kept) > max_units - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def format_credits(credits: Decimal) -> str:
    """Return an amount of credits such as ``1,234.5``, to four decimals, without end zeros."""
    return f"{credits:,.4f}".rstrip("0").rstrip(".")


def _is_visible(char: str) -> bool:
    # Unassigned code points count: they are the emoji that this Python is too old to know.
    kind = unicodedata.category(char)
    return kind[0] not in "ZM" and kind not in {"Cc", "Cf", "Cs"} and char not in _FILLERS


_FILLERS = frozenset({BRAILLE_BLANK, "\u115f", "\u1160", "\u3164", "\uffa0"})
