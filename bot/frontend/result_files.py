"""Result and preview images as uploads, made smaller until their channel accepts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.domain.errors import ArtifactMissing
from bot.domain.grid import MAX_ALT_TEXT_LENGTH, alt_text
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job, JobState
from bot.domain.text import truncate_utf16
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.discord_errors import TooLarge
from bot.frontend.formatting import short_id
from bot.frontend.message_content import FileUpload, MessageContent
from bot.frontend.result_embeds import Link, public_links, result_message
from bot.frontend.status_embeds import PREVIEW_FILE
from bot.frontend.upload_limits import DEFAULT_LIMIT, REQUEST_LIMIT, SIZE_STEPS

log = logging.getLogger(__name__)

Content = TypeVar("Content")
Posted = TypeVar("Posted")


_PREVIEWED = frozenset({JobState.RUNNING, JobState.COLLECTING, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """A result to post; ``is_reduced``: the file is not the full-size grid.

    ``upload`` is None where Discord accepts no file; the embed then says what to do.
    """

    embed: MessageContent
    upload: FileUpload | None
    links: tuple[Link, ...]
    is_reduced: bool
    size: int = 0

    @property
    def uploads(self) -> list[FileUpload]:
        """Return the image as a list of uploads."""
        return [self.upload] if self.upload is not None else []


def byte_limit(client: ContextClient, guild_id: int) -> int:
    """Return the upload limit of one file in bytes; guild 0 is a direct message."""
    guild = client.get_guild(guild_id) if guild_id else None
    default = min(guild.filesize_limit if guild else DEFAULT_LIMIT, REQUEST_LIMIT)
    return client.context.size_limits.limit(guild_id, default, client.context.now())


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


async def post_result(
    client: ContextClient,
    job: Job,
    guild_id: int,
    post: Callable[[ResultMessage], Awaitable[Posted]],
) -> Posted:
    """Post a job's result as large as the channel accepts it, or else with links.

    Raises TooLarge if the smallest image is refused and there are no links, ArtifactMissing if the
    files are gone, and what ``post`` raises.
    """
    context = client.context

    async def make(limit: int) -> tuple[ResultMessage, int]:
        result = await build_result(context, job, limit)
        return result, result.size

    try:
        return await upload_within_limit(
            byte_limit(client, guild_id), make, post, learn=limit_recorder(context, guild_id)
        )
    except TooLarge:
        if not (await find_links(context, job)).rows:
            raise
        return await post(await build_result_without_image(context, job))


def limit_recorder(context: BotContext, guild_id: int) -> Callable[[int], None]:
    """Return a function that stores a server's accepted size; guild 0 is all DMs."""
    return lambda limit: context.size_limits.learn(guild_id, limit, context.now())


async def build_result_without_image(context: BotContext, job: Job) -> ResultMessage:
    """Return the result without an image, for a channel that accepts no file."""
    found = await find_links(context, job)
    links = found.rows
    how = "open the rows with the buttons below" if links else "open the images with the menu below"
    note = f"The grid is too large for Discord here: {how}."
    embed = result_message(
        job, image="", links=links, page=found.page, upscaling=context.upscaling, note=note
    )
    return ResultMessage(embed, None, links, is_reduced=True)


async def build_result(
    context: BotContext, job: Job, limit: int, *, links: Sequence[Link] = (), note: str = ""
) -> ResultMessage:
    """Return the result of a collected job. Raises ArtifactMissing if its files are gone.

    ``links`` are used where the rows are not public.
    """
    path = await context.renditions.grid(job, limit)
    found = await find_links(context, job)
    all_links = tuple(links) or found.rows
    name = upload_name(job, path.suffix)
    # The image of an embed is never behind a spoiler; an attachment of its own is.
    image = "" if has_spoiler(job) else name
    embed = result_message(
        job,
        image=image,
        links=all_links,
        page=found.page,
        upscaling=context.upscaling,
        note=note,
    )
    # The collector's own file has its own name; whatever was made to fit has another.
    is_reduced = path != context.fetcher.result(job).grid
    size = (await asyncio.to_thread(path.stat)).st_size
    return ResultMessage(
        embed, FileUpload(path, name, alt_text(job.request)), all_links, is_reduced, size
    )


def has_spoiler(job: Job) -> bool:
    """Return whether the job's images are posted behind Discord's spoiler."""
    return job.image_check is ImageOutcome.SPOILER


def upload_name(job: Job, ending: str) -> str:
    """Return the file name of an image of a job, which makes it a spoiler if it has to be one."""
    return f"{'SPOILER_' * has_spoiler(job)}gridbrush-{short_id(job.id)}{ending}"


@dataclass(frozen=True, slots=True)
class FoundLinks:
    """Links to the full-size rows, and to the page with all of them, "" if there is none."""

    rows: tuple[Link, ...] = ()
    page: str = ""


async def find_links(context: BotContext, job: Job) -> FoundLinks:
    """Return the links to a result: those of the picture server, or what the workflow published.

    The rows have none if they are to be attached.
    """
    attached = context.rows == "attachments"
    if context.links is not None:
        found = await context.links.links(job)
        rows = () if attached else tuple(Link(row, url) for row, url in found.rows.items())
        return FoundLinks(rows, found.page)
    return FoundLinks(() if attached else public_links(job, plain=context.rows == "links"))


async def build_preview(context: BotContext, job: Job) -> FileUpload | None:
    """Return the rows so far in one small image; None if there are none."""
    if job.state not in _PREVIEWED or not job.ready_rows:
        return None
    if await context.moderation.checks_images(job.request.place.guild_id):
        return None  # they are checked when all of them are finished
    path = await context.renditions.preview(job)
    if path is None:
        return None
    return FileUpload(
        path, PREVIEW_FILE, truncate_utf16(f"So far: {alt_text(job.request)}", MAX_ALT_TEXT_LENGTH)
    )


def needs_row_uploads(context: BotContext, job: Job, result: ResultMessage) -> bool:
    """Return whether the full-size rows must be posted as files."""
    if context.rows == "links" or len(result.links) == len(job.fetched_rows):
        return False
    return len(job.fetched_rows) > 1 or result.is_reduced
