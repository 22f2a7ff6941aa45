"""Upload limits that were found by trying: a refused file is made smaller and sent again.

Discord, or a proxy, may accept less than Discord says. Accepted sizes are kept for LIMIT_TTL.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from bot.domain.errors import ArtifactMissing
from bot.frontend.messages import TooLarge

log = logging.getLogger(__name__)

Content = TypeVar("Content")
Posted = TypeVar("Posted")

MIB: Final = 1024 * 1024
SIZE_STEPS: Final = (10 * MIB, 8 * MIB, 4 * MIB, 2 * MIB, MIB, MIB // 2, MIB // 4)
"""The sizes that are tried one after the other; in less than the last a grid is a blur."""

LIMIT_TTL: Final = timedelta(hours=1)


class SizeLimits:
    """Accepted file sizes in bytes, by server id; 0 is all direct messages."""

    def __init__(self) -> None:
        self._limits: dict[int, tuple[int, datetime]] = {}

    def limit(self, place: int, default: int, at: datetime) -> int:
        """Return the limit of one file in bytes: ``default``, or less if that is known."""
        known, until = self._limits.get(place, (default, at))
        if until <= at:
            self._limits.pop(place, None)
            return default
        return min(known, default)

    def learn(self, place: int, limit: int, at: datetime) -> None:
        """Store for LIMIT_TTL that files of at most ``limit`` bytes are accepted."""
        self._limits[place] = limit, at + LIMIT_TTL


async def upload_within_limit(
    limit: int,
    make: Callable[[int], Awaitable[tuple[Content, int]]],
    post: Callable[[Content], Awaitable[Posted]],
    *,
    learn: Callable[[int], None] = lambda _: None,
) -> Posted:
    """Post what ``make`` returns for a byte limit, smaller and smaller while refused.

    ``make`` also returns the size in bytes. ``learn`` gets a smaller limit that was accepted.
    Raises TooLarge if the smallest size was refused, and what ``make`` and ``post`` raise.
    """
    refused: TooLarge | None = None
    while True:
        try:
            content, size = await make(limit)
        except ArtifactMissing:
            if refused is None:
                raise
            raise refused from None  # it cannot be written that small
        try:
            posted = await post(content)
        except TooLarge as error:
            smaller = next((step for step in SIZE_STEPS if step < min(limit, size)), 0)
            if not smaller and refused is None:
                smaller = size // 2  # it is small already: one copy is tried all the same
            if not smaller:
                raise
            refused = error
            log.info("%d bytes are refused (%s); trying %d", size, error, smaller)
            limit = smaller
            continue
        if refused is not None:
            learn(limit)
        return posted
