"""Jobs in lists: one line for each, and the select that shows one of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.domain.job import Job, JobState
from bot.domain.text import truncate_utf16
from bot.frontend.delivery_methods import result_link
from bot.frontend.formatting import escape_user_text, pluralize, short_id, timestamp
from bot.frontend.message_content import MAX_OPTION_TEXT, SelectOption, SelectSpec

_MAX_PROMPT: Final = 120


def format_job(job: Job) -> str:
    """Return a job in one line, with a link to its result."""
    prompt = escape_user_text(job.request.prompt, _MAX_PROMPT)
    return f"{timestamp(job.created_at)} `{short_id(job.id)}` {prompt}: {_format_outcome(job)}"


def _format_outcome(job: Job) -> str:
    if job.state is not JobState.FINISHED:
        return "not finished yet" if not job.state.terminal else str(job.state)
    images = pluralize(len(job.fetched_rows) * job.request.samples, "image")
    if job.result is None:
        return f"{images}, stored for you"
    return f"[{images}]({result_link(job)})"


def job_select(custom_id: str, jobs: Sequence[Job]) -> SelectSpec:
    """Return a select of jobs, at most 25, whose values are their ids."""
    options = tuple(
        SelectOption(
            truncate_utf16(f"{short_id(job.id)} · {job.request.prompt}", MAX_OPTION_TEXT), job.id
        )
        for job in jobs
    )
    return SelectSpec(custom_id, "Show one of them here …", options)
