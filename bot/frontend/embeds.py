"""Content of a job's messages in every state. Pure: the time is an argument.

Refunds are shown as the ledger counts them (``bot.services.lifecycle.charged_images``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.grid import caption, format_steps
from bot.domain.image_engine import UNKNOWN, EngineInfo
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
from bot.frontend.messages import (
    MAX_DESCRIPTION,
    MAX_FIELD_VALUE,
    EmbedField,
    MessageContent,
)
from bot.services.budget import JobCost, format_cost
from bot.services.queue import QueuePosition

BAR_WIDTH: Final = 16
MAX_LINES: Final = 12

_MIN_PERCENT = 8
_MIN_ELAPSED_S = 1.0


def progress_bar(percent: int, width: int = BAR_WIDTH) -> str:
    """Return a bar such as ``██████░░░░``, ``width`` characters long."""
    full = width * min(100, max(0, percent)) // 100
    return "█" * full + "░" * (width - full)


def row_bars(job: Job) -> str:
    """Return one line per row; with many rows, only those that are not done."""
    rows = job.rows
    if len(rows) > MAX_LINES:
        busy = [row for row in rows if row.started and not row.is_done]
        idle = [row for row in rows if not row.started]
        rows = tuple((busy + idle)[:MAX_LINES])
    width = len(str(len(job.rows)))
    lines = [f"row {row.number:>{width}}  {_format_row(row)}" for row in rows]
    hidden = [row for row in job.rows if row not in rows]
    if hidden:
        ready = sum(row.is_ready for row in hidden)
        failed = sum(row.failed_code is not None and not row.is_ready for row in hidden)
        said = [(ready, "ready"), (failed, "failed"), (len(hidden) - ready - failed, "not ready")]
        lines.append(", ".join(f"{number} more {word}" for number, word in said if number))
    return "\n".join(lines)


def elapsed(job: Job, at: datetime) -> timedelta:
    """Return how long the job has run; zero before it started."""
    return max(timedelta(), at - job.started_at) if job.started_at else timedelta()


def estimate_end(job: Job, at: datetime) -> datetime | None:
    """Return when the job should end, or None while it is too early to say."""
    spent = elapsed(job, at).total_seconds()
    if not _MIN_PERCENT <= job.percent < 100 or spent < _MIN_ELAPSED_S:
        return None
    return at + timedelta(seconds=spent * (100 - job.percent) / job.percent)


def _format_row(row: Row) -> str:
    if row.is_ready:
        return f"{progress_bar(100)}  ready"
    if row.failed_code is not None:
        return f"{'·' * BAR_WIDTH}  failed"
    if not row.started:
        return f"{progress_bar(0)}  waiting"
    return f"{progress_bar(row.percent)}  {row.percent:3d} %"


GREY: Final = 0x8A94A6
BLUE: Final = 0x6C8CFF
GREEN: Final = 0x57A773
AMBER: Final = 0xE0A458
RED: Final = 0xD1495B

MAX_PROMPT: Final = 1000
MAX_NEGATIVE: Final = 400
MAX_NOTICE: Final = 400

SOON_S: Final = 15.0
"""What is nearer than this is "at any moment": a moment would be over before anyone reads it."""

PREVIEW_FILE: Final = "preview.webp"


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """Details of an unfinished job's message: position, images left, notice.

    ``live``: the message will be edited, so it may contain a countdown.
    """

    position: QueuePosition | None = None
    left: int | None = None
    notice: str = ""
    live: bool = True


def job_message(
    job: Job, at: datetime, info: QueueInfo | None = None, *, preview: bool = False
) -> MessageContent:
    """Return the message of a job without a result; ``preview``: PREVIEW_FILE is attached."""
    match job.state:
        case JobState.QUEUED:
            return queued_message(job, at, info or QueueInfo())
        case JobState.SUBMITTING | JobState.PENDING:
            return submitted_message(job, info or QueueInfo())
        case JobState.RUNNING:
            return running_message(job, at, info or QueueInfo(), preview=preview)
        case JobState.COLLECTING | JobState.DELIVERING:
            return collecting_message(job, preview=preview)
        case JobState.FAILED:
            return failed_message(job)
        case JobState.CANCELLED:
            return cancelled_message(job, preview=preview)
        case JobState.FINISHED:
            return (
                undeliverable_message(job)
                if job.delivery_method == "kept"
                else posted_elsewhere_message(job, "")
            )


def queued_message(job: Job, at: datetime, info: QueueInfo) -> MessageContent:
    """Return the message of a queued job: position, reason, start, quota."""
    lines = [_format_prompt(job), ""]
    position = info.position
    if position is None:
        lines.append("It should start at any moment.")
    else:
        place, _, reason = position.reason.partition(": ")
        lines.append(f"**{as_sentence(place)}** {as_sentence(reason)}".rstrip())
        lines += _format_start(position, info, at)
    lines.append(_format_quota_use(job, info.left))
    lines += _format_notice(info)
    return MessageContent(
        title="Queued",
        description="\n".join(lines),
        colour=GREY,
        footer=_format_footer(job),
        controls=components.queued_components(job),
    )


def submitted_message(job: Job, info: QueueInfo) -> MessageContent:
    """Return the message of a job that was submitted and has not started."""
    what = (
        "It is your turn: your request is being submitted."
        if job.state is JobState.SUBMITTING
        else "Your request was submitted. It starts as soon as the backend is ready."
    )
    stopping = job.cancelled_by is not None
    if stopping:
        what = _STOPPING
    return MessageContent(
        title="Stopping" if stopping else "Starting",
        description="\n".join([_format_prompt(job), "", what, *_format_notice(info)]),
        colour=GREY if stopping else BLUE,
        footer=_format_footer(job),
        controls=components.queued_components(job),
    )


def running_message(
    job: Job, at: datetime, info: QueueInfo, *, preview: bool = False
) -> MessageContent:
    """Return the message of a running job: a bar per row, and the preview."""
    if job.cancelled_by is not None:
        return MessageContent(
            title="Stopping",
            description="\n".join([_format_prompt(job), "", _STOPPING, *_format_notice(info)]),
            colour=GREY,
            footer=_format_footer(job),
            image=PREVIEW_FILE if preview else "",
            # Another Cancel is sent to the backend again, in case the first was lost.
            controls=components.queued_components(job),
        )
    spent = format_duration(elapsed(job, at).total_seconds())
    end = estimate_end(job, at)
    said = f"**{job.percent} %** after {spent}"
    if end is not None and (end - at).total_seconds() < SOON_S:
        said += ", ready at any moment"
    elif end is not None and info.live:
        said += f", ready {timestamp(end)}"
    elif end is not None:
        said += f", about {format_duration((end - at).total_seconds())} left"
    bars = f"```\n{row_bars(job)}\n```"
    return MessageContent(
        title="Generating",
        description="\n".join([_format_prompt(job), bars + said, *_format_notice(info)]),
        colour=BLUE,
        footer=_format_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=components.queued_components(job),
    )


def collecting_message(job: Job, *, preview: bool = False) -> MessageContent:
    """Return the message of a job whose files are being fetched."""
    return MessageContent(
        title="Downloading",
        description=f"{_format_prompt(job)}\n\nAll images are generated and are being downloaded.",
        colour=BLUE,
        footer=_format_footer(job),
        image=PREVIEW_FILE if preview else "",
    )


def result_message(
    job: Job, *, image: str, links: Sequence[Link] = (), upscaling: bool = True, note: str = ""
) -> MessageContent:
    """Return the result: the attached file ``image`` and all components."""
    fields = [EmbedField("Negative prompt", _format_negative(job))] * bool(job.request.negative)
    missing = missing_rows(job)
    if missing:
        fields.append(EmbedField("Incomplete", _format_missing(job, missing)))
    if note:
        fields.append(EmbedField("Full-size rows", note))
    return MessageContent(
        title="Upscaled" if job.request.origin is not None else "Done",
        description=f"{_format_prompt(job)}\n{_format_author(job)}",
        colour=AMBER if missing else GREEN,
        fields=tuple(fields),
        footer=f"{caption(job)}\n{_format_footer(job)}",
        image=image,
        controls=components.result_components(job, links, upscaling=upscaling),
    )


def failed_message(job: Job) -> MessageContent:
    """Return the message of a failed job: the reason, and the refund."""
    refunded = pluralize(job.request.images, "image")
    why = as_sentence(escape_user_text(job.failure_message, MAX_NOTICE)) or "Something went wrong."
    return MessageContent(
        title="Failed",
        description=f"{_format_prompt(job)}\n\n{why}\nIt cost nothing: {refunded} refunded.",
        colour=RED,
        footer=_format_footer(job),
        controls=components.failed_components(job),
    )


def cancelled_message(job: Job, *, preview: bool = False) -> MessageContent:
    """Return the message of a cancelled job: by whom, and the refund."""
    by = job.cancelled_by
    if by is None or by == 0:
        who = "Cancelled by the operator."
    elif by == job.request.author.id:
        who = f"Cancelled by <@{by}>."
    else:
        who = f"Cancelled by a moderator, <@{by}>."
    charged = charged_images(job)
    returned = job.request.images - charged
    cost = f"{pluralize(returned, 'image')} refunded"
    if charged:
        cost += f"; {pluralize(charged, 'image')} already generated, not refunded"
    return MessageContent(
        title="Cancelled",
        description=f"{_format_prompt(job)}\n\n{who} {cost[:1].upper()}{cost[1:]}.",
        colour=GREY,
        footer=_format_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=components.failed_components(job),
    )


def undeliverable_message(job: Job) -> MessageContent:
    """Return the message of a result that could not be posted anywhere."""
    return MessageContent(
        title="Done, but not posted",
        description=(
            f"{_format_prompt(job)}\n\nThe images could not be posted here. They are stored for "
            f"<@{job.request.author.id}>: use `/show {short_id(job.id)}` to see them. "
            "The bot posts them as soon as it can."
        ),
        colour=AMBER,
        footer=_format_footer(job),
    )


def posted_elsewhere_message(job: Job, link: str) -> MessageContent:
    """Return the message of a result in another message; ``link`` may be empty."""
    where = f"[Go to the images]({link})." if link else "The images were sent in another message."
    return MessageContent(
        title="Done",
        description=f"{_format_prompt(job)}\n\n{where}",
        colour=GREEN,
        footer=_format_footer(job),
    )


def missing_rows(job: Job) -> tuple[int, ...]:
    """Return the numbers of the rows that a result lacks."""
    return tuple(row.number for row in job.rows if row.number not in job.fetched_rows)


def _format_missing(job: Job, missing: tuple[int, ...]) -> str:
    rows = f"Rows {join_numbers(missing)}" if len(missing) > 1 else f"Row {missing[0]}"
    back = pluralize(len(missing) * job.request.samples, "image")
    return f"{rows} could not be generated; {back} refunded."


def _format_negative(job: Job) -> str:
    """Return the negative prompt, and whether the model ignored it."""
    words = escape_user_text(job.request.negative, MAX_NEGATIVE)
    if job.generation and not any(generation.negative for generation in job.generation):
        words += f"\nThis model ({job.made_with}) ignores negative prompts."
    return words


def _format_prompt(job: Job) -> str:
    return f"**{escape_user_text(job.request.prompt, MAX_PROMPT)}**"


def _format_author(job: Job) -> str:
    author = job.request.author.id
    return f"for <@{author}>" if author else "for the operator"


def _format_start(position: QueuePosition, info: QueueInfo, at: datetime) -> list[str]:
    if not position.position:
        return []
    if position.starts_in is None:
        return ["There is no estimate yet: no similar request has run."]
    seconds = position.starts_in.total_seconds()
    if seconds >= SOON_S:
        if info.live:
            return [f"It should start {timestamp(at + position.starts_in)}."]
        return [f"It should start in about {format_duration(seconds)}."]
    if info.notice:
        return []  # it says what is being waited for
    why = "; the running jobs take longer than usual" if position.late else ""
    return [f"It should start at any moment{why}."]


def _format_quota_use(job: Job, left: int | None) -> str:
    price = f"It uses {pluralize(job.request.images, 'image')} of your quota"
    return f"{price}; you have {left} left." if left is not None else f"{price}."


def _format_notice(info: QueueInfo) -> list[str]:
    return ["", info.notice[:MAX_NOTICE]] if info.notice else []


def _format_footer(job: Job) -> str:
    return f"{short_id(job.id)} · /help"


_STOPPING = "The job is being stopped. Images that are not generated yet will be refunded."


_RESERVED: Final = 60
_MAX_SEEDS: Final = 30


def details_message(
    job: Job, credits: JobCost | None = None, engine: EngineInfo = UNKNOWN
) -> MessageContent:
    """Return the request as a command, and the job's times, seeds and costs.

    ``engine`` is the image engine that would run it now.
    """
    request = job.request
    fields = [
        EmbedField("Seeds", _format_seeds(job)),
        EmbedField("Size", f"{request.width} × {request.height} px", inline=True),
        EmbedField("Steps", format_steps(job), inline=True),
        EmbedField("Model", _format_model(job, engine), inline=True),
        EmbedField("Times", _format_times(job)),
    ]
    if credits is not None and (compute := format_cost(credits)):
        fields.append(EmbedField("Compute", compute, inline=True))
    links = [f"[row {link.row}]({_escape_url(link.url)})" for link in public_links(job)]
    if links:
        fields.append(EmbedField("Full-size rows", _join_within_field(links, " · ")))
    return MessageContent(
        title=f"Details of {short_id(job.id)}",
        description=code_block(request.to_prompt(), MAX_DESCRIPTION),
        colour=BLUE,
        fields=tuple(fields),
        footer=job.id,
    )


def _format_model(job: Job, engine: EngineInfo) -> str:
    name = job.made_with or engine.show()
    return f"`{truncate_utf16(name.replace('`', ''), 100) or '-'}`"


def _format_times(job: Job) -> str:
    parts = [f"requested {timestamp(job.created_at, 'f')} by <@{job.request.author.id}>"]
    if job.started_at is not None:
        parts.append(f"waited {format_duration((job.started_at - job.created_at).total_seconds())}")
        if job.ended_at is not None:
            parts.append(f"took {format_duration((job.ended_at - job.started_at).total_seconds())}")
    return ", ".join(parts)


def _format_seeds(job: Job) -> str:
    rows = job.rows
    if len(rows) > _MAX_SEEDS and rows[-1].seed - rows[0].seed == len(rows) - 1:
        first, last = rows[0], rows[-1]
        span = f"row {first.number}: {first.seed} to row {last.number}: {last.seed}"
        return f"{span}, plus 1 for each row"
    return _join_within_field([f"row {row.number}: {row.seed}" for row in rows], ", ")


def _join_within_field(parts: list[str], separator: str) -> str:
    """Join as many parts as a field holds, and count the rest."""
    shown: list[str] = []
    remaining = MAX_FIELD_VALUE - _RESERVED
    for part in parts:
        remaining -= utf16_length(part) + len(separator)
        if remaining < 0:
            break
        shown.append(part)
    text = separator.join(shown)
    left = len(parts) - len(shown)
    return (
        f"{text}{separator}{left} more; open them with the menu below the result" if left else text
    )


def _escape_url(url: str) -> str:
    """Return the URL without parentheses, which would end a markdown link."""
    return url.replace("(", "%28").replace(")", "%29")
