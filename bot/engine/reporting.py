"""Telling others what happens to jobs: one verb, and a fan-out that contains their failures.

A reporter draws a card, counts a metric, moves a progress bar. Whatever it does wrong, the job
goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from bot.domain.events import JobEvent
from bot.domain.job import Job

log = logging.getLogger(__name__)


class JobObserver(Protocol):
    """Wants to know what happens. Called in order for one job; must return soon."""

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """``event`` has happened, and was saved; ``job`` is what it made of the job."""
        ...


class CompositeObserver:
    """Several reporters as one; an error of one is logged and reaches neither job nor others."""

    def __init__(self, reporters: Iterable[JobObserver] = ()) -> None:
        self._reporters = tuple(reporters)

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Tell everyone."""
        for reporter in self._reporters:
            try:
                await reporter.on_event(job, event)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception(
                    "a reporter failed on %s", type(event).__name__, extra={"job": job.id}
                )
