"""All about one job, for who presses Details: words to copy, seeds, times and links. Pure."""

from __future__ import annotations

from typing import Final

from bot.domain.grid import show_steps
from bot.domain.job import Job
from bot.domain.painter import UNKNOWN, Painter
from bot.engine.spending import Credits, account
from bot.surface.card import DESCRIPTION, FIELD_VALUE, Card, Field, units
from bot.surface.cards import BLUE
from bot.surface.controls import public_links
from bot.surface.texts import code_block, cut, duration, moment, short_id

_SPARE: Final = 60
_MOST_SEEDS: Final = 30


def details(job: Job, credits: Credits | None = None, painter: Painter = UNKNOWN) -> Card:
    """The request as it can be typed again, and what became of it; ``painter`` would paint now."""
    request = job.request
    fields = [
        Field("Seeds", _seeds(job)),
        Field("Size", f"{request.width} × {request.height} px", inline=True),
        Field("Steps", show_steps(job), inline=True),
        Field("Model", _painter(job, painter), inline=True),
        Field("Times", _times(job)),
    ]
    if credits is not None and (compute := account(credits)):
        fields.append(Field("Compute", compute, inline=True))
    links = [f"[row {link.row}]({_plain(link.url)})" for link in public_links(job)]
    if links:
        fields.append(Field("Full-size rows", _joined(links, " · ")))
    return Card(
        title=f"Details of {short_id(job.id)}",
        description=code_block(request.show(), DESCRIPTION),
        colour=BLUE,
        fields=tuple(fields),
        footer=job.id,
    )


def _painter(job: Job, painter: Painter) -> str:
    name = job.painter or painter.show()
    return f"`{cut(name.replace('`', ''), 100) or '-'}`"


def _times(job: Job) -> str:
    parts = [f"asked {moment(job.created_at, 'f')} by <@{job.request.author.id}>"]
    if job.started_at is not None:
        parts.append(f"waited {duration((job.started_at - job.created_at).total_seconds())}")
        if job.ended_at is not None:
            parts.append(f"took {duration((job.ended_at - job.started_at).total_seconds())}")
    return ", ".join(parts)


def _seeds(job: Job) -> str:
    rows = job.rows
    if len(rows) > _MOST_SEEDS and rows[-1].seed - rows[0].seed == len(rows) - 1:
        first, last = rows[0], rows[-1]
        return (
            f"row {first.number}: {first.seed} to row {last.number}: {last.seed}, one more each row"
        )
    return _joined([f"row {row.number}: {row.seed}" for row in rows], ", ")


def _joined(parts: list[str], separator: str) -> str:
    """As many parts as a field holds, and how many are left out."""
    kept: list[str] = []
    room = FIELD_VALUE - _SPARE
    for part in parts:
        room -= units(part) + len(separator)
        if room < 0:
            break
        kept.append(part)
    text = separator.join(kept)
    left = len(parts) - len(kept)
    return f"{text}{separator}{left} more: open their images below the result" if left else text


def _plain(url: str) -> str:
    """An address without the signs that would end it early inside a link."""
    return url.replace("(", "%28").replace(")", "%29")
