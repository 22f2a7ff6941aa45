"""How a moment is written down. Knows text and datetime, and no clock.

A moment is ISO 8601 text in UTC with microseconds, ``2025-01-31T09:30:00.000000+00:00``: always 32
characters, so it sorts and compares as text, reads well in a SQLite shell, and loses nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def to_timestamp(moment: datetime) -> str: ...
@overload
def to_timestamp(moment: datetime | None) -> str | None: ...
def to_timestamp(moment: datetime | None) -> str | None:
    """The moment as the database keeps it; raises ValueError if it has no time zone."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"a moment without a time zone: {moment!r}")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@overload
def parse_timestamp(text: str) -> datetime: ...
@overload
def parse_timestamp(text: str | None) -> datetime | None: ...
def parse_timestamp(text: str | None) -> datetime | None:
    """The aware UTC moment that ``to_text`` wrote."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
