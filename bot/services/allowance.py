"""Check what a member may still request: quota, waiting jobs, blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain import quota as quotas
from bot.domain.errors import NotAllowed, QueueFull, QuotaExceeded
from bot.domain.quota import Quota, QuotaDenied, QuotaUsage
from bot.domain.request import Request
from bot.store import guilds, job_queries, ledger, moderation


@dataclass(frozen=True, slots=True)
class Actor:
    """The member who acts, with the permissions that Discord gave them at this moment.

    ``moderator``: Manage Server, Moderate Members or the configured role; ``manager``: Manage
    Server.
    """

    id: int
    name: str
    role_ids: frozenset[int] = frozenset()
    moderator: bool = False
    manager: bool = False


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """A member's quota and what is used of it at one moment."""

    quota: Quota
    usage: QuotaUsage
    at: datetime
    waiting: int = 0
    running: int = 0

    @property
    def left(self) -> int:
        """Return the images that may still be made now."""
        return self.usage.left(self.quota, self.at)

    @property
    def used(self) -> int:
        """Return the images charged in the window."""
        return self.usage.used(self.quota, self.at)

    @property
    def resets_at(self) -> datetime | None:
        """Return when the oldest charge leaves the window."""
        return self.usage.resets_at(self.quota, self.at)


def load_quota_status(
    link: sqlite3.Connection, default: Quota, guild_id: int, member: Actor, at: datetime
) -> QuotaStatus:
    """Return a member's quota status; ``default`` holds where no moderator has set a rule."""
    rules = guilds.rules(link, guild_id)
    quota = quotas.effective_quota(default, rules, member.role_ids, member.id)
    used = ledger.usage(guild_id, member.id, at - quota.window).run(link)
    counts = job_queries.counts(member.id).run(link)
    return QuotaStatus(quota, used, at, counts.waiting, counts.in_flight)


def check_not_blocked(link: sqlite3.Connection, request: Request, at: datetime) -> None:
    """Raise NotAllowed for a blocked member."""
    guild = request.place.guild_id
    blocked = moderation.blocked(link, guild, request.author.id, at)
    if blocked is not None:
        until = f" until <t:{int(blocked.until.timestamp())}:f>" if blocked.until else ""
        why = f": {blocked.reason}" if blocked.reason else "."
        raise NotAllowed(f"The moderators of this server have blocked you{until}{why}")


def check_queue_limits(
    link: sqlite3.Connection, member: Actor, quota: Quota, waiting: int, count: int = 1
) -> None:
    """Raise QueueFull if ``count`` more jobs are too many for the member, or for the whole queue.

    In all, ``waiting`` may wait.
    """
    counts = job_queries.counts(member.id).run(link)
    if counts.waiting + count > quota.waiting:
        most = f"{quota.waiting} request{'s' if quota.waiting != 1 else ''}"
        if count > 1:
            raise QueueFull(
                f"These are {count} grids, and you have {counts.waiting} waiting; at most {most} "
                "may wait at a time. Ask for fewer grids, or cancel some with /cancel."
            )
        raise QueueFull(
            f"You already have {counts.waiting} waiting; at most {most} may wait at a time. "
            "Cancel one with /cancel, or wait until one starts."
        )
    if counts.waiting_of_all + count > waiting:
        more = f", and these are {count} more; at most {waiting} may wait" if count > 1 else ""
        raise QueueFull(
            f"The queue is full: {counts.waiting_of_all} requests are waiting{more}. "
            "Try again when some of them are done."
        )


def check_quota(allowance: QuotaStatus, requests: Sequence[Request]) -> None:
    """Raise QuotaExceeded if the quota is too small; it says when that many images are free."""
    images = sum(request.quota_images for request in requests)
    outcome = quotas.check_quota(allowance.quota, allowance.usage, images, allowance.at)
    if not isinstance(outcome, QuotaDenied):
        return
    window = quotas.format_window(allowance.quota.window)
    have = f"You have {outcome.left} of {allowance.quota.images} images left per {window}"
    several = len(requests) > 1
    need = f"these {len(requests)} grids need {images}" if several else f"this needs {images}"
    costs = {request.cost for request in requests}
    if len(costs) > 1:
        need += f" (a picture counts as up to {max(costs)})"
    elif costs != {1}:
        need += f" (each picture of this model counts as {costs.pop()})"
    if outcome.retry_at is None:
        raise QuotaExceeded(
            f"{have}, and {need}. That is more than your whole quota. "
            f"Ask for fewer {'grids, ' if several else ''}rows or samples.",
            retry_at=None,
        )
    moment = int(outcome.retry_at.timestamp()) + 1
    raise QuotaExceeded(
        f"{have}, and {need}. That much is free again <t:{moment}:R> (<t:{moment}:t>).",
        retry_at=outcome.retry_at,
    )
