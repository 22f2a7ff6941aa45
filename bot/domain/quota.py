"""How many images a member may make: a sliding window, grants on top, and rules that change both.

A charge is reserved when a request is accepted, given back when it fails, and counts until it is
one window old. Nothing here knows who the member is, where charges are kept, or what time it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

LONGEST_WINDOW: Final = timedelta(days=366)

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_WINDOW = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quota:
    """``images`` in any ``window``; so many jobs ``running`` and ``waiting`` at a time."""

    images: int
    window: timedelta
    running: int
    waiting: int

    def __post_init__(self) -> None:
        if min(self.images, self.running, self.waiting) < 0 or self.window <= timedelta():
            raise ValueError("a quota has counts from 0 and a window longer than nothing")


@dataclass(frozen=True, slots=True)
class QuotaCharge:
    """The images of one job, reserved or settled, counted from ``at``."""

    at: datetime
    images: int


@dataclass(frozen=True, slots=True)
class QuotaGrant:
    """A moderator's gift: the allowance is larger by ``images`` until ``expires_at``, or for good.

    At ``expires_at`` itself the grant is over.
    """

    images: int
    expires_at: datetime | None

    def is_active(self, now: datetime) -> bool:
        """Whether the grant has not expired."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True, slots=True)
class QuotaAllowed:
    """The request fits; ``left`` images remain after it."""

    left: int


@dataclass(frozen=True, slots=True)
class QuotaDenied:
    """The request does not fit into the ``left`` images.

    ``retry_at`` is the first moment at which it would, if nothing else is charged until then; None
    if no such moment comes.
    """

    retry_at: datetime | None
    left: int


QuotaDecision: TypeAlias = QuotaAllowed | QuotaDenied


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """What one member has been charged and granted in one server."""

    charges: tuple[QuotaCharge, ...] = ()
    grants: tuple[QuotaGrant, ...] = ()

    def used(self, quota: Quota, now: datetime) -> int:
        """The images charged in the window that ends at ``now``."""
        return sum(charge.images for charge in self._counted(quota, now))

    def allowance(self, quota: Quota, now: datetime) -> int:
        """The quota's images and those of the grants that hold."""
        return quota.images + sum(grant.images for grant in self.grants if grant.is_active(now))

    def left(self, quota: Quota, now: datetime) -> int:
        """The images that may still be charged at ``now``; never below 0.

        More can be charged than is allowed once a grant has expired or a rule was tightened.
        """
        return max(0, self.allowance(quota, now) - self.used(quota, now))

    def resets_at(self, quota: Quota, now: datetime) -> datetime | None:
        """When the oldest charge leaves the window and something comes back; None if none is."""
        oldest = min((charge.at for charge in self._counted(quota, now)), default=None)
        return None if oldest is None else oldest + quota.window

    def reserve(self, charge: QuotaCharge) -> QuotaUsage:
        """The usage with one more charge. Whether it fits was ``admit``'s to say."""
        return replace(self, charges=(*self.charges, charge))

    def refund(self, charge: QuotaCharge) -> QuotaUsage:
        """The usage without one such charge; the same if there is none, as after its window."""
        for index in reversed(range(len(self.charges))):
            if self.charges[index] == charge:
                rest = (*self.charges[:index], *self.charges[index + 1 :])
                return replace(self, charges=rest)
        return self

    def _counted(self, quota: Quota, now: datetime) -> list[QuotaCharge]:
        # A charge from the future (a clock was set back) counts: otherwise it would be free.
        return [charge for charge in self.charges if charge.at > now - quota.window]

    def _fits_at(self, quota: Quota, price: int, now: datetime) -> datetime | None:
        """The first moment after ``now`` with room for ``price``; the caller knows now has none.

        Room appears only when a charge leaves the window; a grant's end takes room away, so the
        allowance is asked for at each of those moments and not once.
        """
        used = self.used(quota, now)
        for charge in sorted(self._counted(quota, now), key=lambda charge: charge.at):
            used -= charge.images
            moment = charge.at + quota.window
            if used + price <= self.allowance(quota, moment):
                return moment
        return None


def check_quota(quota: Quota, usage: QuotaUsage, price: int, now: datetime) -> QuotaDecision:
    """Whether a request of ``price`` images (at least 1) fits at ``now``."""
    if price < 1:
        raise ValueError("a request makes at least one image")
    left = usage.left(quota, now)
    if price <= left:
        return QuotaAllowed(left - price)
    return QuotaDenied(usage._fits_at(quota, price, now), left)


@dataclass(frozen=True, slots=True)
class QuotaRule:
    """What a moderator has set for a server, a role or a member; None leaves a field as it is."""

    scope: Literal["server", "role", "member"]
    subject_id: int
    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def __post_init__(self) -> None:
        counts = (self.images, self.running, self.waiting)
        if any(count is not None and count < 0 for count in counts):
            raise ValueError("a rule's counts start at 0")
        if self.window is not None and self.window <= timedelta():
            raise ValueError("a rule's window is longer than nothing")


def effective_quota(
    default: Quota, rules: Iterable[QuotaRule], role_ids: Collection[int], member_id: int
) -> Quota:
    """The quota of one member under all of a server's ``rules``.

    The member's own rule wins, then the most generous of their roles', then the server's, then
    ``default``; each field by itself, except that images and window come from one rule together.
    What that rule leaves open of the two is taken from the level below.
    """
    given = tuple(rules)
    levels = (
        [rule for rule in given if rule.scope == "server"],
        [rule for rule in given if rule.scope == "role" and rule.subject_id in role_ids],
        [rule for rule in given if rule.scope == "member" and rule.subject_id == member_id],
    )
    quota = default
    for level in levels:
        quota = _most_generous(quota, level)
    return quota


def _most_generous(below: Quota, rules: Collection[QuotaRule]) -> Quota:
    """The best that ``rules`` of one level offer; what none of them sets is from ``below``."""
    offers = [
        (
            below.images if rule.images is None else rule.images,
            below.window if rule.window is None else rule.window,
        )
        for rule in rules
        if rule.images is not None or rule.window is not None
    ]
    images, window = max(offers, key=_generosity, default=(below.images, below.window))
    running = [rule.running for rule in rules if rule.running is not None]
    waiting = [rule.waiting for rule in rules if rule.waiting is not None]
    return Quota(
        images,
        window,
        max(running, default=below.running),
        max(waiting, default=below.waiting),
    )


def _generosity(offer: tuple[int, timedelta]) -> tuple[float, int, timedelta]:
    """Images per second; then, at equal pace, what allows the larger burst."""
    images, window = offer
    return images / window.total_seconds(), images, -window


def parse_window(text: str) -> timedelta:
    """``90m``, ``24h``, ``7d``, ``1h30m``: the length of a window, from a second to 366 days.

    Raises ValueError with a sentence that may be shown.
    """
    match = _WINDOW.fullmatch("".join(text.split()).lower())
    counts = match.groups() if match is not None else ()
    seconds = sum(
        int(count) * size for count, (_, size) in zip(counts, _UNITS, strict=False) if count
    )
    if not 0 < seconds <= LONGEST_WINDOW.total_seconds():
        raise ValueError(
            f"{text[:20]!r} is not a length of time. Write for example 90m, 24h, 7d or 1h30m; "
            "at least 1s and at most 366d."
        )
    return timedelta(seconds=seconds)


def format_window(window: timedelta) -> str:
    """The window in whole seconds, as ``parse_window`` reads it; below two days in hours."""
    seconds = int(window.total_seconds())
    parts = []
    for unit, size in _UNITS:
        if unit == "d" and seconds < 2 * size:
            continue
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
