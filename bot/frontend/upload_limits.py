"""Files in the size that a place takes: what Discord refuses is made smaller and tried again.

What Discord says of its limits is not always what it, or a proxy before it, takes. What a place was
found to take is remembered for a while. Knows bytes and places; not what is posted there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from bot.domain.errors import ArtifactMissing
from bot.frontend.messages import TooLarge

log = logging.getLogger(__name__)

Made = TypeVar("Made")
Posted = TypeVar("Posted")

MIB: Final = 1024 * 1024
STEPS: Final = (10 * MIB, 8 * MIB, 4 * MIB, 2 * MIB, MIB, MIB // 2, MIB // 4)
"""The sizes that are tried one after the other; in less than the last a grid is a blur."""

REMEMBERED: Final = timedelta(hours=1)


class SizeLimits:
    """How many bytes places were found to take. A place is a server's id, 0 for all DMs."""

    def __init__(self) -> None:
        self._learnt: dict[int, tuple[int, datetime]] = {}

    def limit(self, place: int, believed: int, at: datetime) -> int:
        """Return the bytes that one file may have there: ``believed``, or less if that is known."""
        learnt, until = self._learnt.get(place, (believed, at))
        if until <= at:
            self._learnt.pop(place, None)
            return believed
        return min(learnt, believed)

    def learn(self, place: int, limit: int, at: datetime) -> None:
        """Remember for a while that files of at most ``limit`` bytes are taken there."""
        self._learnt[place] = limit, at + REMEMBERED


async def upload_within_limit(
    limit: int,
    make: Callable[[int], Awaitable[tuple[Made, int]]],
    post: Callable[[Made], Awaitable[Posted]],
    *,
    learn: Callable[[int], None] = lambda _: None,
) -> Posted:
    """Post what ``make`` makes of at most ``limit`` bytes, smaller and smaller while it is refused.

    ``make`` also tells how many bytes it came to. ``learn`` is told a smaller limit that was found
    to hold. Raises TooLarge when the smallest step was refused, too, and what ``make`` and ``post``
    raise.
    """
    refused: TooLarge | None = None
    while True:
        try:
            made, weight = await make(limit)
        except ArtifactMissing:
            if refused is None:
                raise
            raise refused from None  # it cannot be written that small
        try:
            posted = await post(made)
        except TooLarge as error:
            smaller = next((step for step in STEPS if step < min(limit, weight)), 0)
            if not smaller and refused is None:
                smaller = weight // 2  # it is small already: one copy is tried all the same
            if not smaller:
                raise
            refused = error
            log.info("%d bytes are refused (%s); trying %d", weight, error, smaller)
            limit = smaller
            continue
        if refused is not None:
            learn(limit)
        return posted
