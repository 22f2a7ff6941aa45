"""A job's pictures as files of a message: of a finished one the result, of a running one a preview.

Small enough for the place they go to. Shared by the courier, who brings a result, by whoever shows
it again, and by the reporter. Knows limits on bytes; does not post.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import discord

from bot.domain.grid import LONGEST_ALT_TEXT, alt_text
from bot.domain.job import Job, JobState
from bot.surface.card import Card
from bot.surface.cards import PREVIEW_FILE, result
from bot.surface.controls import Link, public_links
from bot.surface.desk import Desk
from bot.surface.posting import Upload
from bot.surface.texts import cut, short_id

DEFAULT_LIMIT: Final = 10 * 1024 * 1024
# Of the 25 MiB that one request may weigh, some go to what surrounds the files.
REQUEST_LIMIT: Final = 24 * 1024 * 1024

_PREVIEWED = frozenset({JobState.RUNNING, JobState.COLLECTING, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Picture:
    """A result, ready to be posted; ``shrunk``: the file is not the grid at full size."""

    card: Card
    upload: Upload
    links: tuple[Link, ...]
    shrunk: bool


def byte_limit(client: discord.Client, guild_id: int) -> int:
    """How many bytes one file may have on this server."""
    guild = client.get_guild(guild_id) if guild_id else None
    return min(guild.filesize_limit if guild else DEFAULT_LIMIT, REQUEST_LIMIT)


async def picture_of(
    desk: Desk, job: Job, limit: int, *, links: Sequence[Link] = (), note: str = ""
) -> Picture:
    """The result of a job that was collected. Raises ArtifactMissing if its files are gone.

    ``links`` are used where the rows are not public by themselves.
    """
    path = await desk.prints.grid(job, limit)
    known = tuple(links) or _published(desk, job)
    name = f"gridbrush-{short_id(job.id)}{path.suffix}"
    card = result(job, image=name, links=known, upscaling=desk.upscaling, note=note)
    # The collector's own file has its own name; whatever was made to fit has another.
    shrunk = path != desk.collector.package(job).grid
    return Picture(card, Upload(path, name, alt_text(job.request)), known, shrunk)


def _published(desk: Desk, job: Job) -> tuple[Link, ...]:
    return () if desk.rows == "attachments" else public_links(job, plain=desk.rows == "links")


async def preview_of(desk: Desk, job: Job) -> Upload | None:
    """The rows so far in one small picture; None if there is nothing to see."""
    if job.state not in _PREVIEWED or not job.ready_rows:
        return None
    path = await desk.prints.preview(job)
    if path is None:
        return None
    return Upload(path, PREVIEW_FILE, cut(f"So far: {alt_text(job.request)}", LONGEST_ALT_TEXT))


def wants_rows(desk: Desk, job: Job, picture: Picture) -> bool:
    """Whether the full-size rows must be posted as files, for want of links to them."""
    if desk.rows == "links" or len(picture.links) == len(job.collected):
        return False
    return len(job.collected) > 1 or picture.shrunk
