"""Image quota of a member: a sliding window, grants, and the moderators' rules.

A charge is reserved when a request is accepted, refunded when it fails, and counts until it is one
window old.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

MAX_WINDOW: Final = timedelta(days=366)

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_WINDOW = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quota:
    """Limit of ``images`` in any ``window``, and of ``running`` and ``waiting`` jobs at a time."""

    images: int
    window: timedelta
    running: int
    waiting: int

    def __post_init__(self) -> None:
        if min(self.images, self.running, self.waiting) < 0 or self.window <= timedelta():
            raise ValueError("a quota needs counts of 0 or more and a window longer than 0")


@dataclass(frozen=True, slots=True)
class QuotaCharge:
    """Images of one job, reserved or settled, charged at ``at``."""

    at: datetime
    images: int


@dataclass(frozen=True, slots=True)
class QuotaGrant:
    """Extra ``images`` from a moderator until ``expires_at`` (exclusive); without end if None."""

    images: int
    expires_at: datetime | None

    def is_active(self, now: datetime) -> bool:
        """Return whether the grant has not expired."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True, slots=True)
class QuotaAllowed:
    """The request is within the quota; ``left`` images remain after it."""

    left: int


@dataclass(frozen=True, slots=True)
class QuotaDenied:
    """The request needs more than the ``left`` images.

    ``retry_at`` is the earliest time at which it would fit if nothing else is charged until then;
    None if it never will.
    """

    retry_at: datetime | None
    left: int


QuotaDecision: TypeAlias = QuotaAllowed | QuotaDenied


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """Charges and grants of one member in one server."""

    charges: tuple[QuotaCharge, ...] = ()
    grants: tuple[QuotaGrant, ...] = ()

    def used(self, quota: Quota, now: datetime) -> int:
        """Return the images charged in the window that ends at ``now``."""
        return sum(charge.images for charge in self._charges_in_window(quota, now))

    def allowance(self, quota: Quota, now: datetime) -> int:
        """Return the quota's images plus those of active grants."""
        return quota.images + sum(grant.images for grant in self.grants if grant.is_active(now))

    def left(self, quota: Quota, now: datetime) -> int:
        """Return the images that may still be charged at ``now``; never below 0.

        More may be charged than is allowed after a grant has expired or a rule was lowered.
        """
        return max(0, self.allowance(quota, now) - self.used(quota, now))

    def resets_at(self, quota: Quota, now: datetime) -> datetime | None:
        """Return when the oldest charge leaves the window; None if there is no charge."""
        oldest = min((charge.at for charge in self._charges_in_window(quota, now)), default=None)
        return None if oldest is None else oldest + quota.window

    def reserve(self, charge: QuotaCharge) -> QuotaUsage:
        """Return the usage with one more charge; ``check_quota`` decides whether it fits."""
        return replace(self, charges=(*self.charges, charge))

    def refund(self, charge: QuotaCharge) -> QuotaUsage:
        """Return the usage without one such charge; unchanged if there is none."""
        for index in reversed(range(len(self.charges))):
            if self.charges[index] == charge:
                rest = (*self.charges[:index], *self.charges[index + 1 :])
                return replace(self, charges=rest)
        return self

    def _charges_in_window(self, quota: Quota, now: datetime) -> list[QuotaCharge]:
        # A charge from the future (a clock was set back) counts: otherwise it would be free.
        return [charge for charge in self.charges if charge.at > now - quota.window]

    def _first_fit(self, quota: Quota, price: int, now: datetime) -> datetime | None:
        """Return the first time after ``now`` at which ``price`` images fit; None if there is none.

        Room appears only when a charge leaves the window. Grants may expire before that, so the
        allowance is computed for each of those times.
        """
        used = self.used(quota, now)
        for charge in sorted(self._charges_in_window(quota, now), key=lambda charge: charge.at):
            used -= charge.images
            time = charge.at + quota.window
            if used + price <= self.allowance(quota, time):
                return time
        return None


def check_quota(quota: Quota, usage: QuotaUsage, price: int, now: datetime) -> QuotaDecision:
    """Decide whether a request of ``price`` images (at least 1) fits at ``now``."""
    if price < 1:
        raise ValueError("a request makes at least one image")
    left = usage.left(quota, now)
    if price <= left:
        return QuotaAllowed(left - price)
    return QuotaDenied(usage._first_fit(quota, price, now), left)


@dataclass(frozen=True, slots=True)
class QuotaRule:
    """Rule of a moderator for a server, role or member; a field of None is not changed."""

    scope: Literal["server", "role", "member"]
    subject_id: int
    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def __post_init__(self) -> None:
        counts = (self.images, self.running, self.waiting)
        if any(count is not None and count < 0 for count in counts):
            raise ValueError("a rule needs counts of 0 or more")
        if self.window is not None and self.window <= timedelta():
            raise ValueError("a rule needs a window longer than 0")


def effective_quota(
    default: Quota, rules: Iterable[QuotaRule], role_ids: Collection[int], member_id: int
) -> Quota:
    """Return the quota of one member under all of a server's ``rules``.

    The member's own rule wins, then the most generous of their roles', then the server's, then
    ``default``; each field by itself, except that images and window come from one rule together.
    If that rule sets only one of the two, the other is taken from the level below.
    """
    all_rules = tuple(rules)
    levels = (
        [rule for rule in all_rules if rule.scope == "server"],
        [rule for rule in all_rules if rule.scope == "role" and rule.subject_id in role_ids],
        [rule for rule in all_rules if rule.scope == "member" and rule.subject_id == member_id],
    )
    quota = default
    for level in levels:
        quota = _most_generous(quota, level)
    return quota


def _most_generous(below: Quota, rules: Collection[QuotaRule]) -> Quota:
    """Return the most generous quota of one level's rules; unset fields are from ``below``."""
    candidates = [
        (
            below.images if rule.images is None else rule.images,
            below.window if rule.window is None else rule.window,
        )
        for rule in rules
        if rule.images is not None or rule.window is not None
    ]
    images, window = max(candidates, key=_generosity, default=(below.images, below.window))
    running = [rule.running for rule in rules if rule.running is not None]
    waiting = [rule.waiting for rule in rules if rule.waiting is not None]
    return Quota(
        images,
        window,
        max(running, default=below.running),
        max(waiting, default=below.waiting),
    )


def _generosity(offer: tuple[int, timedelta]) -> tuple[float, int, timedelta]:
    """Return the sort key: images per second, then the larger number of images."""
    images, window = offer
    return images / window.total_seconds(), images, -window


def parse_window(text: str) -> timedelta:
    """Parse a window such as ``90m``, ``24h``, ``7d`` or ``1h30m``; from 1 second to 366 days.

    Raises ValueError with a message that may be shown to members.
    """
    match = _WINDOW.fullmatch("".join(text.split()).lower())
    counts = match.groups() if match is not None else ()
    seconds = sum(
        int(count) * size for count, (_, size) in zip(counts, _UNITS, strict=False) if count
    )
    if not 0 < seconds <= MAX_WINDOW.total_seconds():
        raise ValueError(
            f"{text[:20]!r} is not a length of time. Write for example 90m, 24h, 7d or 1h30m; "
            "from 1s to 366d."
        )
    return timedelta(seconds=seconds)


def format_window(window: timedelta) -> str:
    """Return a window as ``parse_window`` reads it, in whole seconds; in hours below two days."""
    seconds = int(window.total_seconds())
    parts = []
    for unit, size in _UNITS:
        if unit == "d" and seconds < 2 * size:
            continue
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
