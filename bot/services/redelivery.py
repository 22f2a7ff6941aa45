"""Deliver kept results again: those that no delivery method has accepted.

They are tried when the bot starts, when an event makes success likely (the bot was invited again,
a permission was given, the author uses the bot), and otherwise after an hour, then after growing
delays: Discord sends no event when a member allows direct messages. Every attempt goes through
``DeliveryService``, so that a result is posted once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from bot.concurrency import Backoff, wait_for_event
from bot.domain.errors import ArtifactMissing
from bot.domain.events import KEPT, JobEvent, Redelivered
from bot.domain.job import Job
from bot.services.delivery import DeliveryService, is_erased
from bot.services.lifecycle import JobLifecycle
from bot.services.results import ResultFetcher
from bot.store.database import Database
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)

MAX_AGE: Final = timedelta(days=30)
DELAYS_S: Final = tuple(hours * 3600.0 for hours in (1, 2, 4, 8, 16, 24))
BETWEEN_RESULTS_S: Final = 1.0
"""Discord counts refused requests, so results are not tried at once."""


@dataclass(slots=True)
class _Schedule:
    """When a kept result is tried next, and the delays after that."""

    guild_id: int
    channel_id: int
    author_id: int
    due: float
    backoff: Backoff = field(default_factory=lambda: Backoff(DELAYS_S))


class KeptResults:
    """Track the kept results, as an observer of jobs, and have them delivered again.

    ``deliver`` delivers one, saves the method, and returns the job after that.
    """

    def __init__(
        self,
        database: Database,
        deliver: Callable[[Job], Awaitable[Job]],
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._jobs = JobRepository(database)
        self._deliver = deliver
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._schedules: dict[str, _Schedule] = {}
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._schedules)

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Track a result that is kept from now on, and forget one that is not any more."""
        if job.delivery_method != KEPT:
            self._schedules.pop(job.id, None)
        elif job.id not in self._schedules:
            self._schedule(job, self._clock() + DELAYS_S[0])

    def retry_now(self, *, guild_id: int = 0, author_id: int = 0) -> None:
        """Try the results of this server and this member at once; 0 is any."""
        for schedule in self._schedules.values():
            if guild_id in (schedule.guild_id, 0) and author_id in (schedule.author_id, 0):
                schedule.due = self._clock()
                self._woken.set()

    async def run(self) -> None:
        """Redeliver until cancelled, beginning with all results that were kept before the start."""
        for job in await self._jobs.kept(self._now() - MAX_AGE):
            self._schedule(job, self._clock())
        while True:
            self._woken.clear()
            # A destination that refuses one result in this round refuses the others as well.
            refused: set[tuple[int, int]] = set()
            for job_id, schedule in sorted(self._schedules.items()):
                if schedule.due > self._clock() or job_id not in self._schedules:
                    continue
                # Before the attempt: an event during it may bring the next one forward.
                schedule.due = self._clock() + schedule.backoff.next()
                destination = schedule.channel_id, schedule.author_id
                if destination in refused:
                    continue
                await self._redeliver(job_id)
                if job_id in self._schedules:
                    refused.add(destination)
                await self._sleep(BETWEEN_RESULTS_S)
            await self._wait_until_due()

    def _schedule(self, job: Job, due: float) -> None:
        request = job.request
        if request.place.channel_id:
            place = request.place
            schedule = _Schedule(place.guild_id, place.channel_id, request.author.id, due)
            self._schedules.setdefault(job.id, schedule)
            self._woken.set()

    async def _redeliver(self, job_id: str) -> None:
        try:
            job = await self._jobs.get(job_id)
            if job is None or job.delivery_method != KEPT or is_erased(job):
                self._schedules.pop(job_id, None)
                return
            job = await self._deliver(job)
        except ArtifactMissing as error:
            log.info("a kept result has no files any more: %s", error, extra={"job": job_id})
            self._schedules.pop(job_id, None)
        except Exception:
            # One broken result must not hold up the others.
            log.exception("a kept result cannot be delivered", extra={"job": job_id})
        else:
            if job.delivery_method != KEPT:
                log.info(
                    "a kept result was delivered by %s", job.delivery_method, extra={"job": job_id}
                )
                self._schedules.pop(job_id, None)

    async def _wait_until_due(self) -> None:
        """Wait until a result is due or an event changes what is due."""
        if not self._schedules:
            await self._woken.wait()
            return
        seconds = max(
            0.0, min(schedule.due for schedule in self._schedules.values()) - self._clock()
        )
        await wait_for_event(self._woken, seconds, self._sleep)


async def redeliver(
    delivery: DeliveryService,
    results: ResultFetcher,
    lifecycle: JobLifecycle,
    job: Job,
    *,
    on_delivered: Callable[[Job], Awaitable[None]] | None = None,
) -> Job:
    """Deliver a kept result again and return the job with the outcome saved."""
    done = await delivery.deliver(job, results.result(job), again=True)
    job = await lifecycle.apply_event(job, Redelivered(done.method, done.message))
    if on_delivered is not None:
        await on_delivered(job)
    return job
