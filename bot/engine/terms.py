"""What moderators may set: whom a rule is about, which values it takes, and the refusal of others.

Bounds on what people type, no more: which rule counts in the end is ``bot.domain.quota``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from bot.domain import quota as quotas
from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.text import clean

Scope: TypeAlias = Literal["server", "role", "member"]

MOST_IMAGES: Final = 100_000
MOST_RUNNING: Final = 100
MOST_WAITING: Final = 1000
LONGEST_REASON: Final = 200

_BARRED = " To let them make nothing at all, set images to 0."


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a rule is about; the id of a server's rule is the server's own."""

    scope: Scope
    id: int

    def __str__(self) -> str:
        kind = "user" if self.scope == "member" else self.scope
        return f"{kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a moderator wants changed in a rule; None leaves a field as it is."""

    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def check(self) -> None:
        """Raises InvalidRequest for a value out of range, or RequestError if nothing is said."""
        if self == Terms():
            raise RequestError(
                "Nothing to set: fill in at least one of images, window, running and waiting."
            )
        check_count("images", self.images, 0, MOST_IMAGES)
        check_count("running", self.running, 1, MOST_RUNNING, _BARRED)
        check_count("waiting", self.waiting, 1, MOST_WAITING, _BARRED)
        if self.window is not None:
            check_length("window", self.window)


def check_length(field: str, length: timedelta) -> None:
    """Raises InvalidRequest unless ``length`` is from one second to the longest window."""
    if not timedelta(seconds=1) <= length <= quotas.LONGEST_WINDOW:
        longest = quotas.show_window(quotas.LONGEST_WINDOW)
        raise InvalidRequest(field, f"{field} must be from 1s to {longest}, for example 24h or 7d.")


def check_count(field: str, count: int | None, low: int, high: int, more: str = "") -> None:
    """Raises InvalidRequest, with ``more`` behind it, unless ``count`` is None or in range."""
    if count is not None and not low <= count <= high:
        raise InvalidRequest(
            field, f"{field} must be a whole number from {low} to {high}, not {count}.{more}"
        )


def checked_reason(reason: str) -> str:
    """The reason as one clean line. Raises InvalidRequest if it is too long."""
    why = clean(reason)
    if len(why) > LONGEST_REASON:
        raise InvalidRequest(
            "reason",
            f"reason has {len(why)} characters, and at most {LONGEST_REASON} are allowed. "
            "Please shorten it.",
        )
    return why
