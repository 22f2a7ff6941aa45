"""The picture server on a real port, with the result of a job to show."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from bot.bootstrap import load_templates
from bot.domain.job import Job
from bot.pictures.server import ServerLimits, serve_pictures
from bot.services.pictures import PictureLibrary, PictureLinks, ResultLinks, load_link_key
from bot.services.rendering import WorkflowTemplates
from bot.settings import Settings
from tests.unit.services.harness import Harness, open_harness

KEY = b"k" * 32


@dataclass
class Site:
    """A running server; ``links`` are those of ``job``. ``served`` has what was counted."""

    harness: Harness
    job: Job
    base: str
    maker: PictureLinks
    links: ResultLinks
    client: httpx.AsyncClient
    served: list[tuple[int, int]] = field(default_factory=list)

    @property
    def grid(self) -> str:
        return self.links.page + "grid.png"

    @property
    def folder(self) -> Path:
        return self.harness.fetcher.folder(self.job.id)

    async def another(self, **changes: Any) -> tuple[Job, ResultLinks]:
        """Make another result, and links to it."""
        (job,) = await self.harness.ended((await self.harness.submit(**changes)).id)
        return job, await self.maker.links(job)

    async def status(self, url: str, method: str = "GET", **headers: str) -> int:
        return (await self.client.request(method, url, headers=headers)).status_code


@cache
def templates() -> WorkflowTemplates:
    """The packaged templates, parsed once."""
    return load_templates(Settings())


@asynccontextmanager
async def open_site(
    folder: Path,
    *,
    prefix: str = "",
    keep: timedelta | None = None,
    limits: ServerLimits | None = None,
) -> AsyncIterator[Site]:
    # The client logs the addresses that it asks for; the server must not.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    async with open_harness(folder, templates=templates()) as harness:
        (job,) = await harness.ended((await harness.submit()).id)
        key = await load_link_key(harness.database, lambda count: KEY[:count])
        library = PictureLibrary(harness.database, harness.fetcher, key, now=harness.clock)
        served: list[tuple[int, int]] = []
        async with (
            serve_pictures(
                library,
                ("127.0.0.1", 0),
                prefix=prefix,
                limits=limits or ServerLimits(closing_s=0.2),
                on_served=lambda status, size: served.append((status, size)),
            ) as base,
            httpx.AsyncClient(timeout=10) as client,
        ):
            maker = PictureLinks(harness.database, key, base + prefix, keep=keep, now=harness.clock)
            links = await maker.links(job)
            yield Site(harness, job, base, maker, links, client, served)
