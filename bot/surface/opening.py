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
from bot.surface.answers import acknowledge, conclude, whisper
from bot.surface.card import Button, ControlRow
from bot.surface.controls import Press, Verb, choice_within, chosen, custom_id, public_links
from bot.surface.desk import desk_of
from bot.surface.posting import TooLarge, Upload, border
from bot.surface.results import REQUEST_LIMIT, learning
from bot.surface.sizes import upload_within_limit
from bot.surface.texts import short_id

_NO_FILES: Final = "Try again later, or in a direct message with `/show`."
_AWAY: Final = "The pictures of this job are not stored any more."


async def chosen_image(
    interaction: discord.Interaction[Any], press: Press, job: Job
) -> tuple[int, int] | None:
    """The row and column that a button names or a menu's choice means.

    None if the choice was of rows: then the member was shown their pictures to choose from.
    Raises RequestError for a picture that the result does not have.
    """
    data: Any = interaction.data or {}
    values = data.get("values") or ()
    if values:
        choice = chosen(str(values[0]))
    else:
        choice = ("cell", *press.numbers) if len(press.numbers) == 2 else None
    if choice is None:
        raise RequestError("This menu is from an older version. Use /show to get a fresh one.")
    kind, first, second = choice
    if kind == "rows":
        what = "open" if press.verb is Verb.OPEN else "upscale"
        rows = choice_within(job, press.verb, first, second)
        await whisper(interaction, f"Which image shall I {what}?", controls=rows)
        return None
    if first not in job.collected or not 1 <= second <= job.request.samples:
        raise RequestError(f"There is no image {second} in row {first} of this result.")
    return first, second


async def open_image(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    """Show the picture privately, as large as Discord takes it. Raises RequestError."""
    cell = await chosen_image(interaction, press, job)
    if cell is None:
        return
    desk = desk_of(interaction)
    await acknowledge(interaction, thinking=True)
    row, column = cell
    seed = job.request.row_seed(row)
    text = f"Row {row}, image {column} · seed {seed}"
    rows: tuple[ControlRow, ...] = ()
    if desk.upscaling and job.request.origin is None:
        rows = ((Button("Upscale", custom_id(Verb.UPSCALE, job, row, column)),),)

    async def make(limit: int) -> tuple[Upload, int]:
        path = await desk.prints.image(job, row, column, limit)
        name = f"gridbrush-{short_id(job.id)}-row-{row:02}-img-{column:02}{path.suffix}"
        size = (await asyncio.to_thread(path.stat)).st_size
        return Upload(path, name, alt_text(job.request, row, column)), size

    async def post(upload: Upload) -> None:
        with border():
            await conclude(interaction, text, controls=rows, uploads=[upload])

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
        await conclude(interaction, f"{text}\nDiscord does not take this picture here. {way}")
