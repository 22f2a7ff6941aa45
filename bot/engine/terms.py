"""What moderators may set: whom a rule is about, which values it takes, and the refusal of others.

Bounds on what people type, no more: which rule counts in the end is ``bot.domain.quota``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from bot.domain import quota as quotas
from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.text import normalize_text

Scope: TypeAlias = Literal["server", "role", "member"]

MAX_IMAGES: Final = 100_000
MAX_RUNNING: Final = 100
MAX_WAITING: Final = 1000
MAX_REASON_LENGTH: Final = 200

_BARRED = " To let them make nothing at all, set images to 0."


@dataclass(frozen=True, slots=True)
class QuotaSubject:
    """Whom a rule is about; the id of a server's rule is the server's own."""

    scope: Scope
    id: int

    def __str__(self) -> str:
        kind = "user" if self.scope == "member" else self.scope
        return f"{kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class QuotaRuleChange:
    """What a moderator wants changed in a rule; None leaves a field as it is."""

    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def check(self) -> None:
        """Raises InvalidRequest for a value out of range, or RequestError if nothing is said."""
        if self == QuotaRuleChange():
            raise RequestError(
                "Nothing to set: fill in at least one of images, window, running and waiting."
            )
        validate_count("images", self.images, 0, MAX_IMAGES)
        validate_count("running", self.running, 1, MAX_RUNNING, _BARRED)
        validate_count("waiting", self.waiting, 1, MAX_WAITING, _BARRED)
        if self.window is not None:
            validate_window("window", self.window)


def validate_window(field: str, length: timedelta) -> None:
    """Raises InvalidRequest unless ``length`` is from one second to the longest window."""
    if not timedelta(seconds=1) <= length <= quotas.LONGEST_WINDOW:
        longest = quotas.format_window(quotas.LONGEST_WINDOW)
        raise InvalidRequest(field, f"{field} must be from 1s to {longest}, for example 24h or 7d.")


def validate_count(field: str, count: int | None, low: int, high: int, more: str = "") -> None:
    """Raises InvalidRequest, with ``more`` behind it, unless ``count`` is None or in range."""
    if count is not None and not low <= count <= high:
        raise InvalidRequest(
            field, f"{field} must be a whole number from {low} to {high}, not {count}.{more}"
        )


def validate_reason(reason: str) -> str:
    """The reason as one clean line. Raises InvalidRequest if it is too long."""
    why = normalize_text(reason)
    if len(why) > MAX_REASON_LENGTH:
        raise InvalidRequest(
            "reason",
            f"reason has {len(why)} characters, and at most {MAX_REASON_LENGTH} are allowed. "
            "Please shorten it.",
        )
    return why
