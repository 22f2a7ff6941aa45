"""Decide which results' pictures are removed when they are too old, or take up too much space.

Favourites and gallery entries are removed last; what is still needed is never removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class RemovalCause(StrEnum):
    """Why the pictures of a result were removed."""

    AGE = "age"
    SIZE = "size"
    REMOVED = "removed"
    """by a moderator"""
    ERASED = "erased"
    """at the request of their author"""


@dataclass(frozen=True, slots=True)
class StoredPictures:
    """The pictures of one job on disk, ``size`` in bytes.

    ``starred``: a favourite or a gallery entry. ``needed``: the job has not ended, its result has
    not been delivered completely, or another job starts from it.
    """

    job_id: str
    ended_at: datetime
    size: int
    starred: bool = False
    needed: bool = False


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How long pictures are kept, and how many bytes of them; None is no limit."""

    age: timedelta | None = None
    size: int | None = None

    @property
    def is_unlimited(self) -> bool:
        """Return whether nothing is ever removed."""
        return self.age is None and self.size is None


@dataclass(frozen=True, slots=True)
class Removal:
    """The decision to remove a job's pictures."""

    job_id: str
    cause: RemovalCause


def plan_removals(
    stored: Iterable[StoredPictures], limits: RetentionLimits, now: datetime
) -> tuple[Removal, ...]:
    """Return what is to be removed, in this order: the oldest first, favourites after all others.

    Everything older than the age limit goes, then as much as is needed to keep the size limit.
    What is needed counts towards the size.
    """
    known = sorted(stored, key=lambda one: (one.starred, one.ended_at, one.job_id))
    return tuple(_plan(known, limits, now))


def _plan(known: list[StoredPictures], limits: RetentionLimits, now: datetime) -> Iterator[Removal]:
    total = sum(one.size for one in known)
    left = []
    for one in known:
        if limits.age is not None and not one.needed and one.ended_at + limits.age <= now:
            total -= one.size
            yield Removal(one.job_id, RemovalCause.AGE)
        elif not one.needed and one.size:
            left.append(one)
    for one in left:
        if limits.size is None or total <= limits.size:
            return
        total -= one.size
        yield Removal(one.job_id, RemovalCause.SIZE)
