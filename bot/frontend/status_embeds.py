"""Embeds and components of a job's status message, in every state. Pure: the time is an argument.

Refunds are shown as the ledger counts them (``bot.domain.job.charged_images``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.events import KEPT, FailureReason
from bot.domain.job import Job, JobState, Row, charged_images
from bot.domain.text import truncate_utf16
from bot.frontend.custom_ids import ComponentAction, custom_id
from bot.frontend.formatting import (
    as_sentence,
    escape_user_text,
    format_duration,
    format_footer,
    format_prompt,
    pluralize,
    short_id,
    timestamp,
)
from bot.frontend.message_content import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    RED,
    ActionRow,
    ButtonSpec,
    MessageContent,
)
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
            if job.is_held:
                return held_message(job)
            return collecting_message(job, preview=preview)
        case JobState.FAILED:
            return failed_message(job)
        case JobState.CANCELLED:
            return cancelled_message(job, preview=preview)
        case JobState.FINISHED:
            return (
                undeliverable_message(job)
                if job.delivery_method == KEPT
                else posted_elsewhere_message(job, "")
            )


def queued_message(job: Job, at: datetime, info: QueueInfo) -> MessageContent:
    """Return the message of a queued job: position, reason, start, quota."""
    lines = [format_prompt(job), ""]
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
        footer=format_footer(job),
        controls=queued_components(job),
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
        description="\n".join([format_prompt(job), "", what, *_format_notice(info)]),
        colour=GREY if stopping else BLUE,
        footer=format_footer(job),
        controls=queued_components(job),
    )


def running_message(
    job: Job, at: datetime, info: QueueInfo, *, preview: bool = False
) -> MessageContent:
    """Return the message of a running job: a bar per row, and the preview."""
    if job.cancelled_by is not None:
        return MessageContent(
            title="Stopping",
            description="\n".join([format_prompt(job), "", _STOPPING, *_format_notice(info)]),
            colour=GREY,
            footer=format_footer(job),
            image=PREVIEW_FILE if preview else "",
            # Another Cancel is sent to the backend again, in case the first was lost.
            controls=queued_components(job),
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
        description="\n".join([format_prompt(job), bars + said, *_format_notice(info)]),
        colour=BLUE,
        footer=format_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=queued_components(job),
    )


def collecting_message(job: Job, *, preview: bool = False) -> MessageContent:
    """Return the message of a job whose files are being fetched."""
    return MessageContent(
        title="Downloading",
        description=f"{format_prompt(job)}\n\nAll images are generated and are being downloaded.",
        colour=BLUE,
        footer=format_footer(job),
        image=PREVIEW_FILE if preview else "",
    )


def held_message(job: Job) -> MessageContent:
    """Return the message of a job whose images wait for a moderator."""
    return MessageContent(
        title="Waits for a moderator",
        description=f"{format_prompt(job)}\n\nThe images are generated. A moderator of this server "
        "has to look at them before they are posted. If they are not approved, "
        f"{pluralize(job.request.quota_images, 'image')} will be refunded.",
        colour=AMBER,
        footer=format_footer(job),
    )


def failed_message(job: Job) -> MessageContent:
    """Return the message of a failed job: the reason, and the refund."""
    refunded = pluralize(job.request.quota_images, "image")
    why = as_sentence(escape_user_text(job.failure_message, MAX_NOTICE)) or "Something went wrong."
    return MessageContent(
        title="Not posted" if job.cause is FailureReason.NOT_ALLOWED else "Failed",
        description=f"{format_prompt(job)}\n\n{why}\nIt cost nothing: {refunded} refunded.",
        colour=RED,
        footer=format_footer(job),
        controls=failed_components(job),
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
    returned = job.request.quota_images - charged
    cost = f"{pluralize(returned, 'image')} refunded"
    if charged:
        cost += f"; {pluralize(charged, 'image')} already generated, not refunded"
    return MessageContent(
        title="Cancelled",
        description=f"{format_prompt(job)}\n\n{who} {cost[:1].upper()}{cost[1:]}.",
        colour=GREY,
        footer=format_footer(job),
        image=PREVIEW_FILE if preview else "",
        controls=failed_components(job),
    )


def undeliverable_message(job: Job) -> MessageContent:
    """Return the message of a result that could not be posted anywhere."""
    return MessageContent(
        title="Done, but not posted",
        description=(
            f"{format_prompt(job)}\n\nThe images could not be posted here. They are stored for "
            f"<@{job.request.author.id}>: use `/show {short_id(job.id)}` to see them. "
            "The bot posts them as soon as it can."
        ),
        colour=AMBER,
        footer=format_footer(job),
    )


def posted_elsewhere_message(job: Job, link: str) -> MessageContent:
    """Return the message of a result in another message; ``link`` may be empty."""
    where = f"[Go to the images]({link})." if link else "The images were sent in another message."
    return MessageContent(
        title="Done",
        description=f"{format_prompt(job)}\n\n{where}",
        colour=GREEN,
        footer=format_footer(job),
    )


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
    request = job.request
    price = f"It uses {pluralize(request.quota_images, 'image')} of your quota"
    if request.cost > 1:
        price += f", {request.cost} for each picture of this model"
    return f"{price}; you have {left} left." if left is not None else f"{price}."


def _format_notice(info: QueueInfo) -> list[str]:
    return ["", truncate_utf16(info.notice, 3 * MAX_NOTICE)] if info.notice else []


_STOPPING = "The job is being stopped. Images that are not generated yet will be refunded."


def queued_components(job: Job) -> tuple[ActionRow, ...]:
    """Return the Cancel button of a job that has not finished."""
    return ((ButtonSpec("Cancel", custom_id(ComponentAction.CANCEL, job)),),)


def failed_components(job: Job) -> tuple[ActionRow, ...]:
    """Return the buttons of a job without a result."""
    again = ButtonSpec("Try again", custom_id(ComponentAction.RETRY, job), style="primary")
    if job.request.origin is not None:
        return ((again,),)
    return ((again, ButtonSpec("Edit & run again", custom_id(ComponentAction.EDIT, job))),)
