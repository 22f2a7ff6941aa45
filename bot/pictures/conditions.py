"""Answer conditional and partial requests for a file, as RFC 9110 asks for. Pure.

aiohttp's FileResponse is not used: it refuses ranges in a unit that it does not know (RFC 9110
section 14.2 says to ignore them), ignores an entity tag in If-Range, and reads from the disk in the
event loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.I
)
_ETAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file as it is now: its size in bytes, and when it was written, in nanoseconds."""

    size: int
    mtime_ns: int

    @property
    def etag(self) -> str:
        """Return a strong entity tag. Results' files are replaced as a whole, never changed."""
        return f'"{self.mtime_ns:x}-{self.size:x}"'

    @property
    def modified(self) -> datetime:
        """Return when the file was written, in whole seconds as HTTP has them."""
        return datetime.fromtimestamp(self.mtime_ns // 1_000_000_000, UTC)

    @property
    def last_modified(self) -> str:
        """Return the value of Last-Modified."""
        return format_datetime(self.modified, usegmt=True)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to answer: ``status`` 200, 206, 304, 412 or 416, and the bytes of the body."""

    status: int
    start: int = 0
    length: int = 0


def select_bytes(method: str, headers: Mapping[str, str], version: FileVersion) -> Selection:
    """Return what to answer to GET or HEAD; conditions in the order of RFC 9110, 13.2.2.

    Several ranges, and ranges in other units, are ignored: the whole file is sent.
    """
    if "If-Match" in headers:
        if not _matches(headers["If-Match"], version.etag, weak=False):
            return Selection(412)
    elif (since := _date(headers.get("If-Unmodified-Since"))) and version.modified > since:
        return Selection(412)
    if "If-None-Match" in headers:
        if _matches(headers["If-None-Match"], version.etag, weak=True):
            return Selection(304)
    elif (since := _date(headers.get("If-Modified-Since"))) and version.modified <= since:
        return Selection(304)
    whole = Selection(200, 0, version.size)
    match = _RANGE.fullmatch(headers.get("Range", ""))
    if method != "GET" or match is None or not _is_same(headers.get("If-Range"), version):
        return whole
    if match[3] is not None:
        length = min(int(match[3]), version.size)
        start, stop = version.size - length, version.size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, version.size) if match[2] else version.size
        if match[2] and int(match[2]) < start:
            return whole  # not a valid range: RFC 9110, 14.1.1
    if start >= stop:
        return Selection(416)
    return Selection(206, start, stop - start)


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    tags = _ETAG.findall(header)
    return etag in ([tag.removeprefix("W/") for tag in tags] if weak else tags)


def _is_same(if_range: str | None, version: FileVersion) -> bool:
    """Return whether a range of this version is wanted, not the whole of a newer one."""
    if if_range is None:
        return True
    condition = if_range.strip()
    if condition.startswith(('"', "W/")):
        return condition == version.etag
    return _date(condition) == version.modified


def _date(text: str | None) -> datetime | None:
    """Return the date of a header; None for none, and for what is no date."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
