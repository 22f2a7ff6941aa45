"""The real bot, which kills itself at one moment: ``python -m tests.crash_program MOMENT``.

MOMENT is a state, for the instant after it was saved (``running``); ``row`` for the first row that
is ready; ``submitted`` for the instant after the backend took the job, before that was saved;
``posted`` for the instant after Discord took the result, before that was saved; ``approved`` for
the instant after it was saved that a moderator approved the images. Everything else comes from the
environment, as for ``gridbrush run``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from bot.backends.base import Submission
from bot.domain.events import BackendJobRef, ImagesChecked, JobEvent, MessageRef, RowReady
from bot.domain.job import Job
from bot.frontend.delivery import DiscordDelivery
from bot.runtime import Runtime, run_until_stopped
from bot.services.results import JobResult
from bot.settings import Settings


def die() -> None:
    """As a power cut does: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """A reporter, so that it is told right after each saved change."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    async def on_event(self, job: Job, event: JobEvent) -> None:
        if self._moment == job.state or (self._moment == "row" and isinstance(event, RowReady)):
            die()
        if isinstance(event, ImagesChecked) and self._moment == event.outcome:
            die()


def die_when_posted() -> None:
    """Die between Discord's yes and its being written down."""
    hand_over = DiscordDelivery.send

    async def hand_over_and_die(
        self: DiscordDelivery, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        message = await hand_over(self, method, job, package, nonce)
        die()
        return message

    DiscordDelivery.send = hand_over_and_die  # type: ignore[method-assign]


def arm(service: Runtime) -> None:
    """Die between the backend's yes and its being written down."""
    backend = service.application.backend
    submit = backend.submit

    async def submit_and_die(submission: Submission) -> BackendJobRef:
        await submit(submission)
        die()
        raise AssertionError("dead processes return nothing")

    backend.submit = submit_and_die  # type: ignore[method-assign]


async def main(moment: str) -> None:
    if moment == "posted":
        die_when_posted()
    settings = Settings.load(None, dict(os.environ))
    await run_until_stopped(
        settings,
        asyncio.Event(),
        on_ready=arm if moment == "submitted" else lambda _service: None,
        observers=[Killer(moment)],
        guild_ready_timeout=0.1,
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
