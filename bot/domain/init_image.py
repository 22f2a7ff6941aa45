"""The picture that a request starts from (image to image), and how far to depart from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bot.domain.errors import InvalidRequest
from bot.domain.image_size import MAX_ASPECT_RATIO
from bot.domain.request_parsing import RawOption, is_flag
from bot.domain.text import truncate

DEFAULT_STRENGTH: Final = 0.75

MAX_SENT_STRENGTH: Final = 0.99
"""Stability's ``scripts/img2img.py`` fails at 1, which is as good as a new picture anyway."""

_DECIMAL = re.compile(r"[0-9]{0,3}(?:[.,][0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class InitImage:
    """A stored picture by its SHA-256 (64 lower-case hex digits), with its size in pixels.

    ``strength`` is how far the new picture departs from it: above 0, and 1 for a new picture.
    """

    sha256: str
    width: int
    height: int
    strength: float = DEFAULT_STRENGTH

    @property
    def sent_strength(self) -> str:
        """Return the strength as image engines take it."""
        return f"{min(self.strength, MAX_SENT_STRENGTH):g}"

    @property
    def aspect(self) -> tuple[int, int]:
        """Return width and height in proportion, as near as a picture can be made."""
        width, height = self.width, self.height
        return min(width, MAX_ASPECT_RATIO * height), min(height, MAX_ASPECT_RATIO * width)


def parse_strength(setting: RawOption) -> float:
    """Parse a strength, above 0 and at most 1. Raises InvalidRequest."""
    typed = setting.value.strip()
    number = float(typed.replace(",", ".")) if typed and _DECIMAL.fullmatch(typed) else 0.0
    if not 0 < number <= 1:
        received = f"not {truncate(setting.value)}" if typed else "and cannot be empty"
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be a number above 0 and at most 1, for example 0.5, {received}. "
            "A low number stays close to the picture, 1 leaves nothing of it.",
        )
    return number


def names_strength(text: str) -> bool:
    """Return whether a prompt with flags has the flag ``--strength``."""
    flags = (word.lstrip("-‒–—―").partition("=")[0] for word in text.split() if is_flag(word))
    return any(flag.lower() == "strength" for flag in flags)


def validate_steps(name: str, strength: float, steps: int) -> None:
    """Raise InvalidRequest if ``strength`` of ``steps`` is not even one step.

    ``name`` is the option's, as the member typed it.
    """
    if int(min(strength, MAX_SENT_STRENGTH) * steps) < 1:
        raise InvalidRequest(
            name,
            f"{name} {strength:g} of {steps} steps is less than one step, which would change "
            "nothing. Raise strength or steps.",
        )
