"""Make links to results on the picture server, and decide what a link shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bot.domain.grid import file_name
from bot.domain.job import Job
from bot.domain.picture_links import (
    KEY_BYTES,
    Access,
    PictureLink,
    decide_access,
    expiry,
    file_names,
    read_link,
    sign_link,
)
from bot.services.results import ResultFetcher
from bot.store.database import Database
from bot.store.pictures import PictureRepository, link_key
from bot.store.wait_limits import waits_limited

STORE_SECONDS = 5.0


async def load_link_key(database: Database, entropy: Callable[[int], bytes]) -> bytes:
    """Return the stored key that signs links, made from ``entropy`` the first time."""
    fresh = entropy(KEY_BYTES)
    return await database.write(lambda link: link_key(link, fresh))


@dataclass(frozen=True, slots=True)
class ResultLinks:
    """The addresses of one result: its page, and its rows by number."""

    page: str
    rows: dict[int, str]


class PictureLinks:
    """Make links. They last as long as pictures are kept; ``keep`` None is for ever."""

    def __init__(
        self,
        database: Database,
        key: bytes,
        public_url: str,
        *,
        keep: timedelta | None,
        now: Callable[[], datetime],
    ) -> None:
        self._reader = PictureRepository(database)
        self._key = key
        self._base = public_url.rstrip("/")
        self._keep = keep
        self._now = now

    async def links(self, job: Job) -> ResultLinks:
        """Return the links to a result."""
        generation = await self._reader.generation(job.id)
        ended = job.ended_at or self._now()
        ends = None if self._keep is None else ended + self._keep
        token = sign_link(self._key, PictureLink(job.id, generation, expiry(ends)))
        page = f"{self._base}/p/{token}/"
        return ResultLinks(
            page, {number: page + file_name("row", number) for number in job.fetched_rows}
        )


@dataclass(frozen=True, slots=True)
class LinkedResult:
    """What a link shows: ``job`` and its ``files`` by name, if ``access`` is ALLOWED."""

    access: Access
    job: Job | None = None
    files: dict[str, Path] = field(default_factory=dict)


class PictureLibrary:
    """Find what a link shows: the one place that decides whether pictures may be served."""

    def __init__(
        self,
        database: Database,
        results: ResultFetcher,
        key: bytes,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._reader = PictureRepository(database)
        self._results = results
        self._key = key
        self._now = now

    async def find(self, token: str) -> LinkedResult:
        """Return the result that a token links to. A forged token asks the store nothing.

        Raises StoreUnavailable if the store does not answer within seconds.
        """
        link = read_link(self._key, token)
        if link is None:
            return LinkedResult(Access.UNKNOWN)
        with waits_limited(STORE_SECONDS):
            facts = await self._reader.serving_facts(link.job_id)
        access = decide_access(link, facts, self._now())
        if facts is None or access is not Access.ALLOWED:
            return LinkedResult(access)
        folder = self._results.folder(facts.job.id)
        return LinkedResult(
            access, facts.job, {name: folder / name for name in file_names(facts.job)}
        )
