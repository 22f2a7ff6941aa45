"""One picture of a grid at full size, for the member who asked; nobody else sees it.

Knows menus and prints; the picture is cut from the row's own file.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import discord

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.grid import alt_text
from bot.domain.job import Job
from bot.surface.answers import defer, edit_deferred, send_ephemeral
from bot.surface.card import ActionRow, ButtonSpec
from bot.surface.controls import (
    ComponentAction,
    CustomId,
    custom_id,
    image_selects,
    parse_selection,
    public_links,
)
from bot.surface.desk import get_context
from bot.surface.posting import FileUpload, TooLarge, map_discord_errors
from bot.surface.results import REQUEST_LIMIT, learning
from bot.surface.sizes import upload_within_limit
from bot.surface.texts import short_id

_NO_FILES: Final = "Try again later, or in a direct message with `/show`."
_AWAY: Final = "The pictures of this job are not stored any more."


async def selected_image(
    interaction: discord.Interaction[Any], press: CustomId, job: Job
) -> tuple[int, int] | None:
    """The row and column that a button names or a menu's choice means.

    None if the choice was of rows: then the member was shown their pictures to choose from.
    Raises RequestError for a picture that the result does not have.
    """
    data: Any = interaction.data or {}
    values = data.get("values") or ()
    if values:
        choice = parse_selection(str(values[0]))
    else:
        choice = ("cell", *press.numbers) if len(press.numbers) == 2 else None
    if choice is None:
        raise RequestError("This menu is from an older version. Use /show to get a fresh one.")
    kind, first, second = choice
    if kind == "rows":
        what = "open" if press.verb is ComponentAction.OPEN else "upscale"
        rows = image_selects(job, press.verb, first, second)
        await send_ephemeral(interaction, f"Which image shall I {what}?", controls=rows)
        return None
    if first not in job.fetched_rows or not 1 <= second <= job.request.samples:
        raise RequestError(f"There is no image {second} in row {first} of this result.")
    return first, second


async def open_image(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Show the picture privately, as large as Discord takes it. Raises RequestError."""
    cell = await selected_image(interaction, press, job)
    if cell is None:
        return
    desk = get_context(interaction)
    await defer(interaction, thinking=True)
    row, column = cell
    seed = job.request.row_seed(row)
    text = f"Row {row}, image {column} · seed {seed}"
    rows: tuple[ActionRow, ...] = ()
    if desk.upscaling and job.request.origin is None:
        rows = ((ButtonSpec("Upscale", custom_id(ComponentAction.UPSCALE, job, row, column)),),)

    async def make(limit: int) -> tuple[FileUpload, int]:
        path = await desk.prints.image(job, row, column, limit)
        name = f"gridbrush-{short_id(job.id)}-row-{row:02}-img-{column:02}{path.suffix}"
        size = (await asyncio.to_thread(path.stat)).st_size
        return FileUpload(path, name, alt_text(job.request, row, column)), size

    async def post(upload: FileUpload) -> None:
        with map_discord_errors():
            await edit_deferred(interaction, text, controls=rows, uploads=[upload])

    place = interaction.guild_id or 0
    believed = min(interaction.filesize_limit, REQUEST_LIMIT)
    limit = desk.sizes.limit(place, believed, desk.now())
    try:
        await upload_within_limit(limit, make, post, learn=learning(desk, place))
    except ArtifactMissing as error:
        raise RequestError(_AWAY) from error
    except TooLarge:
        links = public_links(job, plain=desk.rows == "links") if desk.rows != "attachments" else ()
        link = next((link.url for link in links if link.row == row), None)
        way = f"Its row is [here]({link})." if link else _NO_FILES
        await edit_deferred(interaction, f"{text}\nDiscord does not take this picture here. {way}")
