"""All about one job, for who presses Details: words to copy, seeds, times and links. Pure."""

from __future__ import annotations

from typing import Final

from bot.domain.grid import show_steps
from bot.domain.job import Job
from bot.domain.painter import UNKNOWN, Painter
from bot.engine.spending import JobCost, format_cost
from bot.surface.card import DESCRIPTION, FIELD_VALUE, EmbedField, MessageContent, utf16_length
from bot.surface.cards import BLUE
from bot.surface.controls import public_links
from bot.surface.texts import code_block, format_duration, short_id, timestamp, truncate

_SPARE: Final = 60
_MOST_SEEDS: Final = 30


def details_message(
    job: Job, credits: JobCost | None = None, painter: Painter = UNKNOWN
) -> MessageContent:
    """The request as it can be typed again, and what became of it; ``painter`` would paint now."""
    request = job.request
    fields = [
        EmbedField("Seeds", _seeds(job)),
        EmbedField("Size", f"{request.width} × {request.height} px", inline=True),
        EmbedField("Steps", show_steps(job), inline=True),
        EmbedField("Model", _painter(job, painter), inline=True),
        EmbedField("Times", _times(job)),
    ]
    if credits is not None and (compute := format_cost(credits)):
        fields.append(EmbedField("Compute", compute, inline=True))
    links = [f"[row {link.row}]({_plain(link.url)})" for link in public_links(job)]
    if links:
        fields.append(EmbedField("Full-size rows", _joined(links, " · ")))
    return MessageContent(
        title=f"Details of {short_id(job.id)}",
        description=code_block(request.to_prompt(), DESCRIPTION),
        colour=BLUE,
        fields=tuple(fields),
        footer=job.id,
    )


def _painter(job: Job, painter: Painter) -> str:
    name = job.painter or painter.show()
    return f"`{truncate(name.replace('`', ''), 100) or '-'}`"


def _times(job: Job) -> str:
    parts = [f"asked {timestamp(job.created_at, 'f')} by <@{job.request.author.id}>"]
    if job.started_at is not None:
        parts.append(f"waited {format_duration((job.started_at - job.created_at).total_seconds())}")
        if job.ended_at is not None:
            parts.append(f"took {format_duration((job.ended_at - job.started_at).total_seconds())}")
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
        room -= utf16_length(part) + len(separator)
        if room < 0:
            break
        kept.append(part)
    text = separator.join(kept)
    left = len(parts) - len(kept)
    return f"{text}{separator}{left} more: open their images below the result" if left else text


def _plain(url: str) -> str:
    """An address without the signs that would end it early inside a link."""
    return url.replace("(", "%28").replace(")", "%29")
