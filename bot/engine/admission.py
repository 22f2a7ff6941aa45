"""Who is let in: the checks a request has to pass, inside the transaction that accepts it.

Each check reads what it decides on through the same connection, so that nothing can change in
between. What is refused is said in words a member can act on.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from bot.domain import quota as quotas
from bot.domain.errors import NotAllowed, QueueFull, QuotaExceeded
from bot.domain.quota import Quota, QuotaDenied, QuotaUsage
from bot.domain.request import Request
from bot.store import guilds, ledger, moderation
from bot.store import jobs as job_table


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as Discord says at this moment; ``moderator`` is already checked."""

    id: int
    name: str
    role_ids: frozenset[int] = frozenset()
    moderator: bool = False


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """A member's quota and what of it is used now."""

    quota: Quota
    usage: QuotaUsage
    at: datetime
    waiting: int = 0
    running: int = 0

    @property
    def left(self) -> int:
        """Images that may still be made now."""
        return self.usage.left(self.quota, self.at)

    @property
    def used(self) -> int:
        """Images charged in the window."""
        return self.usage.used(self.quota, self.at)

    @property
    def resets_at(self) -> datetime | None:
        """When the oldest charge leaves the window."""
        return self.usage.resets_at(self.quota, self.at)


def load_quota_status(
    link: sqlite3.Connection, default: Quota, guild_id: int, member: Actor, at: datetime
) -> QuotaStatus:
    """What a member may make on a server, ``default`` where no moderator has said otherwise."""
    rules = guilds.rules(link, guild_id)
    quota = quotas.effective_quota(default, rules, member.role_ids, member.id)
    used = ledger.usage(link, guild_id, member.id, at - quota.window)
    counts = job_table.counts(link, member.id)
    return QuotaStatus(quota, used, at, counts.waiting, counts.in_flight)


def check_not_blocked(link: sqlite3.Connection, request: Request, at: datetime) -> None:
    """Raises NotAllowed for a blocked member, QueueFull while moderators have paused."""
    guild = request.place.guild_id
    blocked = moderation.blocked(link, guild, request.author.id, at)
    if blocked is not None:
        until = f" until <t:{int(blocked.until.timestamp())}:f>" if blocked.until else ""
        raise NotAllowed(f"The moderators of this server have blocked you{until}.")
    paused = guilds.settings(link, guild).get("paused")
    if paused:
        why = f" ({paused})" if isinstance(paused, str) else ""
        raise QueueFull(f"The moderators have paused new requests{why}. Try again later.")


def check_queue_limits(link: sqlite3.Connection, member: Actor, quota: Quota, waiting: int) -> None:
    """Raises QueueFull: too many wait for this member, or ``waiting`` and more in all."""
    counts = job_table.counts(link, member.id)
    if counts.waiting >= quota.waiting:
        count = f"{quota.waiting} request{'s' if quota.waiting != 1 else ''}"
        raise QueueFull(
            f"You already have {counts.waiting} waiting; at most {count} may wait at a time. "
            "Cancel one with /cancel, or wait until one starts."
        )
    if counts.waiting_of_all >= waiting:
        raise QueueFull(
            f"The line is full: {counts.waiting_of_all} requests are waiting. "
            "Try again when some of them are done."
        )


def check_quota(allowance: QuotaStatus, request: Request) -> None:
    """Raises QuotaExceeded, saying when as many images are free."""
    verdict = quotas.check_quota(allowance.quota, allowance.usage, request.images, allowance.at)
    if not isinstance(verdict, QuotaDenied):
        return
    window = quotas.format_window(allowance.quota.window)
    have = f"You have {verdict.left} of {allowance.quota.images} images left per {window}"
    need = f"this needs {request.images}"
    if verdict.retry_at is None:
        raise QuotaExceeded(
            f"{have}, and {need}, which is more than your quota ever holds. "
            "Ask for fewer rows or samples.",
            retry_at=None,
        )
    moment = int(verdict.retry_at.timestamp()) + 1
    raise QuotaExceeded(
        f"{have}, and {need}. That much is free again <t:{moment}:R> (<t:{moment}:t>).",
        retry_at=verdict.retry_at,
    )
