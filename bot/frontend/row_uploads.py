"""Post full-size rows as files: in a thread below the grid or, without one, beside the grid.

Done after the grid is posted. Idempotent: files of an interrupted attempt are not posted again. If
Discord refuses, the images can still be opened with the select below the grid.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import discord

from bot.domain.errors import ArtifactMissing, DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.domain.grid import alt_text, file_name
from bot.domain.job import Job
from bot.frontend import messages
from bot.frontend.context import ContextClient
from bot.frontend.discord_errors import MessageNotFound, NotPermitted, map_discord_errors
from bot.frontend.formatting import join_numbers, jump_link, short_id
from bot.frontend.message_content import FileUpload, MessageContent
from bot.frontend.result_embeds import Link
from bot.frontend.result_files import (
    build_result,
    byte_limit,
    limit_recorder,
    upload_name,
    upload_within_limit,
)
from bot.frontend.upload_limits import REQUEST_LIMIT
from bot.services.delivery import StatusMessage

log = logging.getLogger(__name__)

MAX_FILES: Final = 10
_MAX_SEPARATE_ROWS: Final = 5
"""So many rows get a message each, which a link can lead to; more share messages."""

_THREAD_EXISTS = 160004


class RowsUnwanted(DeliveryError):
    """The result, or its rows, were removed while the rows were posted."""


@dataclass(frozen=True, slots=True)
class _RowFile:
    row: int
    upload: FileUpload
    size: int

    @property
    def stem(self) -> str:
        return Path(self.upload.name).stem


async def upload_rows(client: ContextClient, job: Job, post: StatusMessage) -> None:
    """Post the rows of a delivered job, and link them from its message ``post``.

    Idempotent. Raises DeliveryUnavailable, DeliveryError.
    """
    context = client.context
    # A direct message has its own limit, whatever server the request came from.
    place = job.request.place
    here = post.message.channel_id == place.channel_id
    limit = byte_limit(client, place.guild_id if here else 0)
    files = await _row_files(client, job, limit)
    if not files:
        return
    links: tuple[Link, ...] = ()
    refused = await context.messages.attaches_rows(job.id)
    if not refused:
        try:
            links = await _in_thread(client, job, post.message, files)
        except (DeliveryUnavailable, RowsUnwanted):
            raise
        except DeliveryError as error:
            log.info("no thread for the rows: %s", error, extra={"job": job.id})
            refused = True
    if refused:
        links = await _links_in_thread(client, job, post.message, files)
        linked = {link.row for link in links}
        left = [file for file in files if file.row not in linked]
        if left:
            # Saved before: after a crash, a thread would have the same rows again.
            await context.messages.attach_rows(job.id)
            await _attach_to_result(client, job, post, left, limit, links)
            return
    result = await build_result(context, job, limit, links=links)
    async with rows_wanted(client, job):
        await messages.edit_status_message(client, post, result.embed, context.now())


@asynccontextmanager
async def rows_wanted(client: ContextClient, job: Job) -> AsyncIterator[None]:
    """Let nobody remove the result until the block ends. Raises RowsUnwanted if somebody did."""
    context = client.context
    async with context.locks.acquire(job.id):
        if not await context.messages.wants_rows(job.id):
            raise RowsUnwanted("the result was removed")
        yield


async def _row_files(
    client: ContextClient, job: Job, limit: int, rows: Iterable[int] | None = None
) -> list[_RowFile]:
    files = []
    for row in job.fetched_rows if rows is None else rows:
        try:
            path = await client.context.renditions.row(job, row, limit)
            size = path.stat().st_size
        except (ArtifactMissing, FileNotFoundError) as error:
            log.warning("row %d cannot be posted: %s", row, error, extra={"job": job.id})
            continue
        stem = file_name("row", row).removesuffix(".png")
        name = upload_name(job, f"-{stem}{path.suffix}")
        files.append(_RowFile(row, FileUpload(path, name, alt_text(job.request, row)), size))
    return files


async def _in_thread(
    client: ContextClient, job: Job, message: MessageRef, files: Sequence[_RowFile]
) -> tuple[Link, ...]:
    guild_id = job.request.place.guild_id
    async with rows_wanted(client, job):
        thread_id, fresh = await _open_thread(client, job, message)
        await client.context.messages.open_thread(job.id)
    thread = client.get_partial_messageable(thread_id, guild_id=guild_id)
    there = {} if fresh else await _posted_before(client, thread, message.message_id)
    links: list[Link] = []
    for number, batch in enumerate(_batches(files), 1):
        posted_id = there.get(batch[0].stem)
        async with rows_wanted(client, job):
            if posted_id is None:
                posted = await _send_batch(client, job, thread, batch, f"r{number}-{job.id}")
                posted_id = posted.id
            if not links:
                await client.context.messages.save_thread(job.id, MessageRef(thread_id, posted_id))
        url = jump_link(guild_id, thread_id, posted_id)
        links += [Link(one.row, url) for one in batch]
    return tuple(links)


async def _links_in_thread(
    client: ContextClient, job: Job, message: MessageRef, files: Sequence[_RowFile]
) -> tuple[Link, ...]:
    """Return links to the rows that an attempt has posted before the thread was refused.

    Raises DeliveryUnavailable, and NotPermitted if there is a thread that may not be read: rows
    might be posted twice.
    """
    guild_id = job.request.place.guild_id
    if not guild_id or not await client.context.messages.has_thread(job.id):
        return ()
    thread_id = message.message_id  # a thread below a message has the message's id
    thread = client.get_partial_messageable(thread_id, guild_id=guild_id)
    try:
        there = await _posted_before(client, thread, message.message_id)
    except NotPermitted:
        raise
    except MessageNotFound:
        return ()
    return tuple(
        Link(file.row, jump_link(guild_id, thread_id, there[file.stem]))
        for file in files
        if file.stem in there
    )


async def _send_batch(
    client: ContextClient,
    job: Job,
    thread: discord.abc.Messageable,
    batch: Sequence[_RowFile],
    nonce: str,
) -> discord.Message:
    """Post some rows in one message, as large as the thread accepts. Raises DeliveryError."""
    guild_id = job.request.place.guild_id
    content = "\n".join(f"Row {one.row} · seed {job.request.row_seed(one.row)}" for one in batch)

    async def make(limit: int) -> tuple[Sequence[_RowFile], int]:
        if limit >= _total_size(batch):
            return batch, _total_size(batch)
        rows = [one.row for one in batch]
        smaller = await _row_files(client, job, limit // len(batch), rows)
        return smaller, _total_size(smaller)

    async def post(files: Sequence[_RowFile]) -> discord.Message:
        uploads = [one.upload for one in files]
        return await messages.send(thread, None, content=content, uploads=uploads, nonce=nonce)

    # At first the pack is taken as it was put together: within the limit of each of its files.
    first = max(_total_size(batch), byte_limit(client, guild_id))
    single = len(batch) == 1
    return await upload_within_limit(
        first,
        make,
        post,
        learn=limit_recorder(client.context, guild_id) if single else lambda _: None,
    )


async def _posted_before(
    client: ContextClient, thread: discord.abc.Messageable, grid_id: int
) -> dict[str, int]:
    """Return message ids by file stem, of files that an interrupted attempt posted.

    The suffix is left out, because it depends on the size.
    """
    with map_discord_errors():
        return {
            Path(file.filename).stem: message.id
            async for message in thread.history(limit=None, after=discord.Object(grid_id))
            if message.author == client.user
            for file in message.attachments
        }


async def _open_thread(client: ContextClient, job: Job, message: MessageRef) -> tuple[int, bool]:
    """Return the id of the thread below a message, and whether it was just opened.

    Raises DeliveryError.
    """
    guild_id = job.request.place.guild_id
    if not guild_id:
        raise MessageNotFound("there are no threads outside a server")
    name = f"Full-size rows · {short_id(job.id)}"
    try:
        with map_discord_errors():
            # Asked directly: the library's own way needs the server in its cache, which is empty
            # for a moment after a start.
            thread = await client.http.start_thread_with_message(
                message.channel_id, message.message_id, name=name, auto_archive_duration=1440
            )
    except DeliveryError as error:
        cause = error.__cause__
        if isinstance(cause, discord.HTTPException) and cause.code == _THREAD_EXISTS:
            return message.message_id, False  # a thread below a message has the message's id
        raise
    return int(thread["id"]), True


def _batches(files: Sequence[_RowFile]) -> Iterable[list[_RowFile]]:
    """Yield the files of one message each, within Discord's count and size limits."""
    most = 1 if len(files) <= _MAX_SEPARATE_ROWS else MAX_FILES
    batch: list[_RowFile] = []
    for file in files:
        if batch and (len(batch) == most or _total_size(batch) + file.size > REQUEST_LIMIT):
            yield batch
            batch = []
        batch.append(file)
    yield batch


async def _attach_to_result(
    client: ContextClient,
    job: Job,
    post: StatusMessage,
    files: Sequence[_RowFile],
    limit: int,
    links: tuple[Link, ...],
) -> None:
    """Attach as many rows to the grid's own message as fit; ``links`` lead to the others."""
    context = client.context
    rows = [file.row for file in files]

    async def make(most: int) -> tuple[tuple[MessageContent, list[FileUpload]], int]:
        each = min(limit, most)
        result = await build_result(context, job, each, links=links)
        fitting = files if each == limit else await _row_files(client, job, each, rows)
        remaining = most - result.size
        attached: list[_RowFile] = []
        for file in fitting:
            if len(attached) + 1 < MAX_FILES and _total_size(attached) + file.size <= remaining:
                attached.append(file)
        there = {file.row for file in attached}
        left = tuple(row for row in rows if row not in there)
        note = ""
        if left:
            what = f"Rows {join_numbers(left)} do" if len(left) > 1 else f"Row {left[0]} does"
            note = f"{what} not fit here: open the images with the menu below."
        noted = await build_result(context, job, each, note=note, links=links)
        uploads = [*result.uploads, *(file.upload for file in attached)]
        return (noted.embed, uploads), result.size + _total_size(attached)

    async def put(made: tuple[MessageContent, list[FileUpload]]) -> None:
        embed, uploads = made
        async with rows_wanted(client, job):
            await messages.edit_status_message(client, post, embed, context.now(), uploads=uploads)

    await upload_within_limit(REQUEST_LIMIT, make, put)


def _total_size(files: Iterable[_RowFile]) -> int:
    return sum(file.size for file in files)
