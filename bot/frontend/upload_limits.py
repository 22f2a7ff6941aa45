"""Upload limits: Discord's, and those found by trying (``result_files.upload_within_limit``).

Discord, or a proxy, may accept less than Discord says. Accepted sizes are kept for LIMIT_TTL.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

MIB: Final = 1024 * 1024
DEFAULT_LIMIT: Final = 10 * MIB
REQUEST_LIMIT: Final = 24 * MIB
"""Of the 25 MiB that one request may weigh, some go to what surrounds the files."""

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
