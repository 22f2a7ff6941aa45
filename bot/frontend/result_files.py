"""A job's pictures as files of a message: of a finished one the result, of a running one a preview.

Small enough for the place they go to. Shared by the courier, who brings a result, by whoever shows
it again, and by the reporter. Knows limits on bytes; does not post.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from bot.domain.grid import MAX_ALT_TEXT_LENGTH, alt_text
from bot.domain.job import Job, JobState
from bot.domain.text import truncate_utf16
from bot.frontend.components import Link, public_links
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.embeds import PREVIEW_FILE, result
from bot.frontend.formatting import short_id
from bot.frontend.messages import FileUpload, MessageContent, TooLarge
from bot.frontend.upload_limits import upload_within_limit

Posted = TypeVar("Posted")

DEFAULT_LIMIT: Final = 10 * 1024 * 1024
# Of the 25 MiB that one request may weigh, some go to what surrounds the files.
REQUEST_LIMIT: Final = 24 * 1024 * 1024

_PREVIEWED = frozenset({JobState.RUNNING, JobState.COLLECTING, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """A result, ready to be posted; ``shrunk``: the file is not the grid at full size.

    ``upload`` is None where Discord takes no picture at all; the card says what to do then.
    """

    card: MessageContent
    upload: FileUpload | None
    links: tuple[Link, ...]
    shrunk: bool
    size: int = 0

    @property
    def uploads(self) -> list[FileUpload]:
        """The picture as the files of a message."""
        return [self.upload] if self.upload is not None else []


def byte_limit(client: ContextClient, guild_id: int) -> int:
    """How many bytes one file may have on this server; 0 is a direct message."""
    guild = client.get_guild(guild_id) if guild_id else None
    believed = min(guild.filesize_limit if guild else DEFAULT_LIMIT, REQUEST_LIMIT)
    return client.context.sizes.limit(guild_id, believed, client.context.now())


async def post_picture(
    client: ContextClient,
    job: Job,
    guild_id: int,
    post: Callable[[ResultMessage], Awaitable[Posted]],
) -> Posted:
    """Post the result of a job as large as the place takes it, or else with links in its stead.

    Raises TooLarge where it takes neither the smallest picture nor are there links, ArtifactMissing
    if the files are gone, and what ``post`` raises.
    """
    context = client.context

    async def make(limit: int) -> tuple[ResultMessage, int]:
        picture = await build_result(context, job, limit)
        return picture, picture.size

    try:
        return await upload_within_limit(
            byte_limit(client, guild_id), make, post, learn=learning(context, guild_id)
        )
    except TooLarge:
        if not _published(context, job):
            raise
        return await post(without_picture(context, job))


def learning(context: BotContext, guild_id: int) -> Callable[[int], None]:
    """What remembers a limit that was found to hold on a server; 0 is all direct messages."""
    return lambda limit: context.sizes.learn(guild_id, limit, context.now())


def without_picture(context: BotContext, job: Job) -> ResultMessage:
    """The result as a card without a picture, for a place that takes no file."""
    links = _published(context, job)
    how = "open its rows with the buttons below" if links else "open its images with the menu below"
    note = f"Discord does not take the grid here, however small: {how}."
    card = result(job, image="", links=links, upscaling=context.upscaling, note=note)
    return ResultMessage(card, None, links, shrunk=True)


async def build_result(
    context: BotContext, job: Job, limit: int, *, links: Sequence[Link] = (), note: str = ""
) -> ResultMessage:
    """The result of a job that was collected. Raises ArtifactMissing if its files are gone.

    ``links`` are used where the rows are not public by themselves.
    """
    path = await context.renditions.grid(job, limit)
    known = tuple(links) or _published(context, job)
    name = f"gridbrush-{short_id(job.id)}{path.suffix}"
    card = result(job, image=name, links=known, upscaling=context.upscaling, note=note)
    # The collector's own file has its own name; whatever was made to fit has another.
    shrunk = path != context.fetcher.result(job).grid
    size = (await asyncio.to_thread(path.stat)).st_size
    return ResultMessage(card, FileUpload(path, name, alt_text(job.request)), known, shrunk, size)


def _published(context: BotContext, job: Job) -> tuple[Link, ...]:
    return () if context.rows == "attachments" else public_links(job, plain=context.rows == "links")


async def build_preview(context: BotContext, job: Job) -> FileUpload | None:
    """The rows so far in one small picture; None if there is nothing to see."""
    if job.state not in _PREVIEWED or not job.ready_rows:
        return None
    path = await context.renditions.preview(job)
    if path is None:
        return None
    return FileUpload(
        path, PREVIEW_FILE, truncate_utf16(f"So far: {alt_text(job.request)}", MAX_ALT_TEXT_LENGTH)
    )


def needs_row_uploads(context: BotContext, job: Job, picture: ResultMessage) -> bool:
    """Whether the full-size rows must be posted as files, for want of links to them."""
    if context.rows == "links" or len(picture.links) == len(job.fetched_rows):
        return False
    return len(job.fetched_rows) > 1 or picture.shrunk
