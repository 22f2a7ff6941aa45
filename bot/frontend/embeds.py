"""From a job to what its card says, in every state of its life. Pure: the present is an argument.

Nothing here is awaited, posted or looked up. Whatever a card says about quota follows the ledger's
own rule (``bot.domain.job.charged_images``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.grid import caption, format_steps
from bot.domain.image_engine import UNKNOWN, Painter
from bot.domain.job import Job, JobState, Row, charged_images
from bot.domain.text import truncate_utf16, utf16_length
from bot.frontend import components
from bot.frontend.components import Link, public_links
from bot.frontend.formatting import (
    as_sentence,
    code_block,
    escape_user_text,
    format_duration,
    join_numbers,
    pluralize,
    short_id,
    timestamp,
)
from bot.frontend.messages import DESCRIPTION, FIELD_VALUE, EmbedField, MessageContent
from bot.services.budget import JobCost, format_cost
from bot.services.queue import QueuePosition

BAR: Final = 16
MOST_LINES: Final = 12

_GUESS_FROM = 8
_SHORTEST = 1.0


def progress_bar(percent: int, width: int = BAR) -> str:
    """``██████░░░░``, ``width`` signs long."""
    full = width * min(100, max(0, percent)) // 100
    return "█" * full + "░" * (width - full)


def row_bars(job: Job) -> str:
    """One line for each row; where there are many, for those that still have something to say."""
    rows = job.rows
    if len(rows) > MOST_LINES:
        busy = [row for row in rows if row.started and not row.is_done]
        idle = [row for row in rows if not row.started]
        rows = tuple((busy + idle)[:MOST_LINES])
    width = len(str(len(job.rows)))
    lines = [f"row {row.number:>{width}}  {_state(row)}" for row in rows]
    hidden = [row for row in job.rows if row not in rows]
    if hidden:
        ready = sum(row.is_ready for row in hidden)
        failed = sum(row.failed_code is not None and not row.is_ready for row in hidden)
        said = [(ready, "ready"), (failed, "failed"), (len(hidden) - ready - failed, "to come")]
        lines.append(", ".join(f"{number} more {word}" for number, word in said if number))
    return "\n".join(lines)


def elapsed(job: Job, at: datetime) -> timedelta:
    """How long the job has run; nothing before it started."""
    return max(timedelta(), at - job.started_at) if job.started_at else timedelta()


def estimate_end(job: Job, at: datetime) -> datetime | None:
    """When it will be done if it goes on like this; None while that would be a wild guess."""
    spent = elapsed(job, at).total_seconds()
    if not _GUESS_FROM <= job.percent < 100 or spent < _SHORTEST:
        return None
    return at + timedelta(seconds=spent * (100 - job.percent) / job.percent)


def _state(row: Row) -> str:
    if row.is_ready:
        return f"{progress_bar(100)}  ready"
    if row.failed_code is not None:
        return f"{'·' * BAR}  failed"
    if not row.started:
        return f"{progress_bar(0)}  waiting"
    return f"{progress_bar(row.percent)}  {row.percent:3d} %"


GREY: Final = 0x8A94A6
BLUE: Final = 0x6C8CFF
GREEN: Final = 0x57A773
AMBER: Final = 0xE0A458
RED: Final = 0xD1495B

PROMPT: Final = 1000
NEGATIVE: Final = 400
NOTICE: Final = 400

SOON_SECONDS: Final = 15.0
"""What is nearer than this is "at any moment": a moment would be over before anyone reads it."""

GRID_FILE: Final = "grid"
PREVIEW_FILE: Final = "preview.webp"


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """What the card of a job under way knows beside the job.

    The job's place in the line, what the member has left, and a notice about the machines.
    ``live``: the card is kept up to date, so that it may count down to a moment.
    """

    position: QueuePosition | None = None
    left: int | None = None
    notice: str = ""
    live: bool = True


def job_message(
    job: Job, at: datetime, waiting: QueueInfo | None = None, *, preview: bool = False
) -> MessageContent:
    """The card of a job that has no result to show; ``preview``: PREVIEW_FILE is attached."""
    match job.state:
        case JobState.QUEUED:
            return queued(job, at, waiting or QueueInfo())
        case JobState.SUBMITTING | JobState.PENDING:
            return submitted(job, waiting or QueueInfo())
        case JobState.RUNNING:
            return running(job, at, waiting or QueueInfo(), preview=preview)
        case JobState.COLLECTING | JobState.DELIVERING:
            return collecting(job, preview=preview)
        case JobState.FAILED:
            return failed(job)
        case JobState.CANCELLED:
            return cancelled(job, preview=preview)
        case JobState.FINISHED:
            return (
                undeliverable(job) if job.delivery_method == "kept" else posted_elsewhere(job, "")
            )


def queued(job: Job, at: datetime, waiting: QueueInfo) -> MessageContent:
    """In line: the place, the reason, when it should start, and what it takes of the quota."""
    lines = [_prompt(job), ""]
    position = waiting.position
    if position is None:
        lines.append("It starts at any moment.")
    else:
        place, _, reason = position.reason.partition(": ")
        lines.append(f"**{as_sentence(place)}** {as_sentence(reason)}".rstrip())
        lines += _start(position, waiting, at)
    lines.append(_price(job, waiting.left))
    lines += _notice(waiting)
    return MessageContent(
        title="In line",
        description="\n".join(lines),
        colour=GREY,
        footer=_footer(job),
        controls=components.queued_components(job),
    )


def submitted(job: Job, waiting: QueueInfo) -> MessageContent:
    """Handed over; the machines have not begun."""
    what = (
        "It is your turn: the request is being handed to the machines."
        if job.state is JobState.SUBMITTING
        else "Handed to the machines; they start in a moment."
    )
    stopping = job.cancelled_by is not None
    if stopping:
        what = _STOPPING
    return MessageContent(
        title="Stopping" if stopping else "Starting",
        description="\n".join([_prompt(job), "", what, *_notice(waiting)]),
        colour=GREY if stopping else BLUE,
        footer=_footer(job),
        controls=components.queued_components(job),
    )


def running(job: Job, at: datetime, waiting: QueueInfo, *, preview: bool = False) -> MessageContent:
    """On the machines: a bar for each row, and the rows that are ready as a picture."""
    if job.cancelled_by is not None:
        return MessageContent(
            title="Stopping",
            description="\n".join([_prompt(job), "", _STOPPING, *_notice(waiting)]),
            colour=GREY,
            footer=_footer(job),
            image=PREVIEW_FILE if preview else "",
            # Pressed again it tells the machines again, should they not have heard.
            controls=components.queued_components(job),
        )
    spent = format_duration(elapsed(job, at).total_seconds())
    end = estimate_end(job, at)
    said = f"**{job.percent} %** after {spent}"
    if end is not None and (end - at).total_seconds() < SOON_SECONDS:
        said += ", done at any moment"
    elif end is not None and waiting.live:
        said += f", done about {timestamp(end)}"
    elif end is not None:
        said += f", about {format_duration((end - at).total_seconds())} to go"
    bars = f"```\n{row_bars(job)}\n```"
    return MessageContent(
        title="Painting",
        description="\n".join([_prompt(job), bars + said, *_notice(waiting)]),
        colour=BLUE,
        footer=_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=components.queued_components(job),
    )


def collecting(job: Job, *, preview: bool = False) -> MessageContent:
    """Painted; the files are being fetched and put together."""
    return MessageContent(
        title="Almost there",
        description=f"{_prompt(job)}\n\nPainted. The pictures are being brought here.",
        colour=BLUE,
        footer=_footer(job),
        image=PREVIEW_FILE if preview else "",
    )


def result(
    job: Job, *, image: str, links: Sequence[Link] = (), upscaling: bool = True, note: str = ""
) -> MessageContent:
    """The grid, named ``image`` among the attached files, and all that can be done with it."""
    fields = [EmbedField("Without", _without(job))] * bool(job.request.negative)
    missing = missing_rows(job)
    if missing:
        fields.append(EmbedField("Incomplete", _missing(job, missing)))
    if note:
        fields.append(EmbedField("Full-size rows", note))
    return MessageContent(
        title="Upscaled" if job.request.origin is not None else "Done",
        description=f"{_prompt(job)}\n{_asked_by(job)}",
        colour=AMBER if missing else GREEN,
        fields=tuple(fields),
        footer=f"{caption(job)}\n{_footer(job)}",
        image=image,
        controls=components.result_components(job, links, upscaling=upscaling),
    )


def failed(job: Job) -> MessageContent:
    """No result: what happened in one sentence, and that it cost nothing."""
    given_back = pluralize(job.request.images, "image")
    why = as_sentence(escape_user_text(job.failure_message, NOTICE)) or "Something went wrong."
    return MessageContent(
        title="That did not work",
        description=f"{_prompt(job)}\n\n{why}\nIt cost nothing: {given_back} given back.",
        colour=RED,
        footer=_footer(job),
        controls=components.failed_components(job),
    )


def cancelled(job: Job, *, preview: bool = False) -> MessageContent:
    """Stopped: by whom, and what was given back."""
    by = job.cancelled_by
    if by is None or by == 0:
        who = "Stopped by the operator."
    elif by == job.request.author.id:
        who = f"Cancelled by <@{by}>."
    else:
        who = f"Cancelled by a moderator, <@{by}>."
    charged = charged_images(job)
    returned = job.request.images - charged
    cost = f"{pluralize(returned, 'image')} given back"
    if charged:
        cost += f"; {pluralize(charged, 'image')} had been painted already"
    return MessageContent(
        title="Cancelled",
        description=f"{_prompt(job)}\n\n{who} {cost[:1].upper()}{cost[1:]}.",
        colour=GREY,
        footer=_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=components.failed_components(job),
    )


def undeliverable(job: Job) -> MessageContent:
    """A result that could not be posted anywhere."""
    return MessageContent(
        title="Done, but it could not be posted",
        description=(
            f"{_prompt(job)}\n\nThe pictures are kept for <@{job.request.author.id}>: "
            f"`/show {short_id(job.id)}` brings them out. They are posted as soon as "
            "that is possible."
        ),
        colour=AMBER,
        footer=_footer(job),
    )


def posted_elsewhere(job: Job, link: str) -> MessageContent:
    """A result that was posted elsewhere, at ``link`` if it is known and public."""
    where = f"[Go to the picture]({link})." if link else "The picture was sent separately."
    return MessageContent(
        title="Done",
        description=f"{_prompt(job)}\n\n{where}",
        colour=GREEN,
        footer=_footer(job),
    )


def missing_rows(job: Job) -> tuple[int, ...]:
    """The rows that a result lacks."""
    return tuple(row.number for row in job.rows if row.number not in job.fetched_rows)


def _missing(job: Job, missing: tuple[int, ...]) -> str:
    rows = f"Rows {join_numbers(missing)}" if len(missing) > 1 else f"Row {missing[0]}"
    back = pluralize(len(missing) * job.request.samples, "image")
    return f"{rows} could not be made; {back} given back."


def _without(job: Job) -> str:
    """The negative prompt, and whether the model that painted had no use for it."""
    words = escape_user_text(job.request.negative, NEGATIVE)
    if job.painted and not any(painted.negative for painted in job.painted):
        words += f"\nIt had no effect with this model ({job.painter})."
    return words


def _prompt(job: Job) -> str:
    return f"**{escape_user_text(job.request.prompt, PROMPT)}**"


def _asked_by(job: Job) -> str:
    author = job.request.author.id
    return f"for <@{author}>" if author else "for the operator"


def _start(position: QueuePosition, waiting: QueueInfo, at: datetime) -> list[str]:
    if not position.position:
        return []
    if position.starts_in is None:
        return ["There is no estimate yet: nothing like it was measured."]
    seconds = position.starts_in.total_seconds()
    if seconds >= SOON_SECONDS:
        if waiting.live:
            return [f"It should start {timestamp(at + position.starts_in)}."]
        return [f"It should start in about {format_duration(seconds)}."]
    if waiting.notice:
        return []  # it says what is being waited for
    why = "; what runs now takes longer than usual" if position.late else ""
    return [f"It should start at any moment{why}."]


def _price(job: Job, left: int | None) -> str:
    price = f"Takes {pluralize(job.request.images, 'image')} of your quota"
    return f"{price}; {left} left after it." if left is not None else f"{price}."


def _notice(waiting: QueueInfo) -> list[str]:
    return ["", waiting.notice[:NOTICE]] if waiting.notice else []


def _footer(job: Job) -> str:
    return f"{short_id(job.id)} · /help"


_STOPPING = "It is being stopped. What is not painted yet is given back."


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
        EmbedField("Steps", format_steps(job), inline=True),
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
    return f"`{truncate_utf16(name.replace('`', ''), 100) or '-'}`"


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
