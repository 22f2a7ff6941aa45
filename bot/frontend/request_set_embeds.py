"""Messages about sets of requests: the question, that a set is queued, and its end. Pure.

Their buttons hold the set's id, so they work after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.domain.job import Job
from bot.domain.request import Request
from bot.domain.text import utf16_length
from bot.frontend.formatting import escape_user_text, pluralize, timestamp
from bot.frontend.message_content import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    MAX_DESCRIPTION,
    ActionRow,
    ButtonSpec,
    MessageContent,
)
from bot.services.request_sets import AcceptedSet, SetQuestion

SET_PATTERN: Final = r"gb-set:(?P<verb>run|drop|stop):(?P<id>[0-9]{1,19})"
NOT_RUN: Final = MessageContent("Cancelled", "Nothing was charged.", GREY)

_MAX_PROMPT: Final = 120
_MAX_DETAIL: Final = 60
_RESERVED: Final = 40
"""What a list keeps free in a description, for the number of what is left out."""


def question_message(question: SetQuestion, removed: str = "") -> MessageContent:
    """Return what the member is asked; ``removed`` says what was removed from the text."""
    requests = question.pending.requests
    count = pluralize(len(requests), "grid")
    lines = [f"**{count}, {_format_images(requests)}** of your {question.images_left} left."]
    if question.held:
        lines.append(f"{question.held} of them will wait for a moderator first.")
    if removed:
        lines.append(removed)
    lines.append(f"Answer {timestamp(question.pending.expires_at)}; then this is forgotten.")
    set_id = question.pending.id
    return MessageContent(
        f"Run {count}?",
        _with_list(lines, requests),
        AMBER,
        controls=(
            (
                ButtonSpec("Run all", f"gb-set:run:{set_id}", style="success"),
                ButtonSpec("Cancel", f"gb-set:drop:{set_id}"),
            ),
        ),
    )


def queued_message(accepted: AcceptedSet) -> MessageContent:
    """Return that a set is queued, with a button to cancel all of it."""
    requests = tuple(job.request for job in accepted.jobs)
    left = f"; {accepted.images_left} left" if accepted.images_left is not None else ""
    lines = [
        f"{_format_images(requests)}{left}. Each grid has a message of its own in this channel."
    ]
    if accepted.held:
        waits = "waits" if accepted.held == 1 else "wait"
        lines.append(f"{accepted.held} of them {waits} for a moderator first.")
    return MessageContent(
        f"{pluralize(len(requests), 'grid')} queued",
        _with_list(lines, requests),
        GREEN,
        controls=_stop_controls(accepted.id),
    )


def stopped_message(set_id: int, lines: Sequence[str], left: Sequence[Job]) -> MessageContent:
    """Return what became of each job of a set that was cancelled; ``left`` have not ended yet."""
    return MessageContent(
        "Cancelled" if not left else "Cancelling",
        _fit([f"• {line}" for line in lines], MAX_DESCRIPTION),
        GREY if not left else BLUE,
        controls=_stop_controls(set_id) if left else (),
    )


def _stop_controls(set_id: int) -> tuple[ActionRow, ...]:
    return ((ButtonSpec("Cancel all", f"gb-set:stop:{set_id}", style="danger"),),)


def describe_requests(requests: Sequence[Request]) -> list[str]:
    """Return a line for each request of a set: its prompt, and the settings in which they differ.

    The seed only where nothing else tells two of them apart.
    """
    details = [_details(request) for request in requests]
    differing = [name for name in details[0] if len({detail[name] for detail in details}) > 1]
    lines = [
        " · ".join(
            [escape_user_text(request.prompt, _MAX_PROMPT)]
            + [detail[name] for name in differing if detail[name]]
        )
        for request, detail in zip(requests, details, strict=True)
    ]
    if len(set(lines)) < len(lines):
        lines = [
            f"{line} · seed {request.seed}" for line, request in zip(lines, requests, strict=True)
        ]
    return lines


def _details(request: Request) -> dict[str, str]:
    negative = escape_user_text(request.negative, _MAX_DETAIL)
    return {
        "size": f"{request.width} × {request.height}",
        "rows": pluralize(request.rows, "row"),
        "samples": f"{pluralize(request.samples, 'image')} in a row",
        "steps": pluralize(request.steps, "step"),
        "model": escape_user_text(request.model, _MAX_DETAIL),
        "style": escape_user_text(request.style, _MAX_DETAIL),
        "negative": f"without {negative}" if negative else "",
    }


def _format_images(requests: Sequence[Request]) -> str:
    images = pluralize(sum(request.images for request in requests), "image")
    counted = sum(request.quota_images for request in requests)
    differs = counted != sum(request.images for request in requests)
    return f"{images} (counted as {counted})" if differs else images


def _with_list(lines: Sequence[str], requests: Sequence[Request]) -> str:
    head = "\n".join(lines)
    numbered = [f"{at}. {line}" for at, line in enumerate(describe_requests(requests), 1)]
    return f"{head}\n\n{_fit(numbered, MAX_DESCRIPTION - utf16_length(head) - 2)}"


def _fit(lines: Sequence[str], max_length: int) -> str:
    """Return as many lines as fit into ``max_length`` UTF-16 units, and count the rest."""
    shown: list[str] = []
    remaining = max_length - _RESERVED
    for line in lines:
        remaining -= utf16_length(line) + 1
        if remaining < 0:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    return "\n".join([*shown, f"… and {left} more"] if left else shown)
