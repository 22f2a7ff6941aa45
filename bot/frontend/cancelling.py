"""Cancel jobs for a member, and say what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.domain.errors import BackendError, RequestError
from bot.domain.job import Job, JobState, charged_images
from bot.frontend.context import BotContext
from bot.frontend.formatting import escape_user_text, pluralize, short_id
from bot.services.cancelling import cancel_job
from bot.services.queue import Actor

BACKEND_UNAVAILABLE: Final = (
    "The backend is unavailable at the moment. Press Cancel again in a minute."
)
_MAX_PROMPT: Final = 60


async def cancel_jobs(context: BotContext, jobs: Sequence[Job], member: Actor) -> list[str]:
    """Cancel the jobs and return a line about each. Raises RequestError for a single job."""
    # The last first, and those under way last of all: nothing that is to go gets a turn meanwhile.
    outcomes: dict[str, str] = {}
    for job in sorted(jobs, key=lambda job: (job.state is JobState.QUEUED, job.id), reverse=True):
        if job.state.terminal:
            outcomes[job.id] = f"already ended ({job.state})."
            continue
        try:
            outcomes[job.id] = describe_outcome(
                await cancel_job(context.queue, job.id, member, at=context.now())
            )
        except RequestError as refusal:
            if len(jobs) == 1:
                raise
            outcomes[job.id] = str(refusal)
        except BackendError as error:
            if len(jobs) == 1:
                raise RequestError(BACKEND_UNAVAILABLE) from error
            outcomes[job.id] = BACKEND_UNAVAILABLE
    return [f"{_format_job(job)}: {outcomes[job.id]}" for job in jobs]


def describe_outcome(job: Job) -> str:
    """Return what happened to a job that was to be cancelled."""
    if job.state is JobState.CANCELLED:
        returned = job.request.quota_images - charged_images(job)
        return f"cancelled, {pluralize(returned, 'image')} refunded."
    if job.state.terminal:
        return f"ended before it could be cancelled ({job.state})."
    return "is being stopped; images that are not generated yet will be refunded."


def _format_job(job: Job) -> str:
    return f"`{short_id(job.id)}` {escape_user_text(job.request.prompt, _MAX_PROMPT)}"
