"""Sign the links of the picture server, and decide what a link may show.

The path of a link is ``p/<token>/<file>``; ``<token>`` is
``<job id>.<generation>.<expiry>.<signature>``: numbers in hexadecimal, the expiry in seconds since
1970 (0: never), and an HMAC-SHA256 of all that, cut to 24 bytes, in base64url. Who has a link sees
the files of this one result.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.domain.grid import file_name
from bot.domain.job import Job, JobState

KEY_BYTES: Final = 32
_MAC_BYTES: Final = 24
_NUMBER: Final = r"(0|[1-9a-f][0-9a-f]{0,9})"
_TOKEN: Final = re.compile(
    rf"([a-z0-9][a-z0-9_-]{{0,63}})\.{_NUMBER}\.{_NUMBER}\.([A-Za-z0-9_-]{{32}})"
)
_PURPOSE: Final = b"gridbrush picture link\0"


@dataclass(frozen=True, slots=True)
class PictureLink:
    """What a token names: a job's result, until ``expires`` (seconds since 1970; 0 is for ever).

    When a member deletes a result, its links end: those made later have the next ``generation``.
    """

    job_id: str
    generation: int = 0
    expires: int = 0

    @property
    def text(self) -> str:
        """Return what is signed, and stands before the signature."""
        return f"{self.job_id}.{self.generation:x}.{self.expires:x}"

    def is_expired(self, at: datetime) -> bool:
        """Return whether the link has ended at ``at``."""
        return 0 < self.expires <= at.timestamp()


def expiry(ends: datetime | None) -> int:
    """Return an expiry for links that last until ``ends`` (None: for ever), rounded up to a day.

    Rounded, so that the links of one result are mostly the same.
    """
    if ends is None:
        return 0
    day = timedelta(days=1).total_seconds()
    return int(math.ceil(ends.timestamp() / day) * day)


def sign_link(key: bytes, link: PictureLink) -> str:
    """Return the token of a link."""
    return f"{link.text}.{_signature(key, link)}"


def read_link(key: bytes, token: str) -> PictureLink | None:
    """Return the link of a token, or None if it was not signed with ``key``.

    The signature is compared in constant time.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    link = PictureLink(match[1], int(match[2], 16), int(match[3], 16))
    return link if hmac.compare_digest(match[4], _signature(key, link)) else None


def _signature(key: bytes, link: PictureLink) -> str:
    digest = hmac.new(key, _PURPOSE + link.text.encode(), hashlib.sha256).digest()[:_MAC_BYTES]
    return base64.urlsafe_b64encode(digest).decode()


class Access(StrEnum):
    """Whether a link shows its result: yes, not (yet), or not any more."""

    ALLOWED = "allowed"
    UNKNOWN = "unknown"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ServingFacts:
    """What is stored about a job that decides whether its pictures may be served.

    ``held``: a moderator has not approved it. ``removed``: a moderator or the retention has taken
    its pictures away. ``erased``: its author had it erased.
    """

    job: Job
    generation: int = 0
    held: bool = False
    removed: bool = False
    erased: bool = False


def decide_access(link: PictureLink, facts: ServingFacts | None, at: datetime) -> Access:
    """Return whether pictures may be served through a link; ``facts`` None: there is no such job.

    A result that waits for a moderator, or that was refused, is as unknown as one that never was.
    """
    if facts is None:
        return Access.UNKNOWN
    is_outdated = link.generation != facts.generation or link.is_expired(at)
    if is_outdated or facts.erased or facts.removed:
        return Access.GONE
    is_ready = facts.job.state in (JobState.DELIVERING, JobState.FINISHED)
    if facts.held or facts.job.is_withheld or not is_ready or not facts.job.fetched_rows:
        return Access.UNKNOWN
    return Access.ALLOWED


def file_names(job: Job) -> tuple[str, ...]:
    """Return the files of a result that may be served: the grid, then its rows."""
    return (file_name("grid"), *(file_name("row", number) for number in job.fetched_rows))
