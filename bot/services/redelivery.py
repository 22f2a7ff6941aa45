"""Results that no place has taken, delivered by themselves once a way is open again.

The ways of a kept result are tried when the bot starts, when somebody says that a way may be open
(the bot was invited back, a permission was given, the author uses the bot again), and otherwise
after an hour, then seldom and seldomer, since nobody tells that a member has opened their direct
messages. Each try goes by the rules of every delivery, so that the result is posted once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.errors import ArtifactMissing
from bot.domain.events import KEPT, JobEvent
from bot.domain.job import Job
from bot.services.delivery import is_erased
from bot.store.database import Database
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)

MAX_AGE: Final = timedelta(days=30)
FIRST_SECONDS: Final = 3600.0
LONGEST_SECONDS: Final = 86400.0
BETWEEN_SECONDS: Final = 1.0
"""Between two results of one round: refused requests are counted by Discord."""


@dataclass(slots=True)
class _Plan:
    """When a kept result is tried next, and how often it was in vain."""

    guild_id: int
    channel_id: int
    author_id: int
    due: float
    tries: int = 0


class KeptResults:
    """Knows which results are kept (it is a reporter) and has them delivered again.

    ``deliver`` delivers one and saves where to; the job after that is returned.
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
        self._plans: dict[str, _Plan] = {}
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._plans)

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Note a result that is kept from now on, or is not any more."""
        if job.delivery_method != KEPT:
            self._plans.pop(job.id, None)
        elif job.id not in self._plans:
            self._plan(job, self._clock() + FIRST_SECONDS)

    def opened(self, *, guild_id: int = 0, author_id: int = 0) -> None:
        """Try at once what was asked for in this server, and by this member; 0 is any."""
        for plan in self._plans.values():
            if guild_id in (plan.guild_id, 0) and author_id in (plan.author_id, 0):
                plan.due = self._clock()
                self._woken.set()

    async def run(self) -> None:
        """Deliver for ever; begins with everything that was kept when the bot stopped."""
        for job in await self._jobs.kept(self._now() - MAX_AGE):
            self._plan(job, self._clock())
        while True:
            self._woken.clear()
            # Who and where has refused one result in this round refuses the others as well.
            closed: set[tuple[int, int]] = set()
            for job_id, plan in sorted(self._plans.items()):
                if plan.due > self._clock() or job_id not in self._plans:
                    continue
                # Before the try: what opens during it brings the result forward again.
                self._postpone(plan)
                ways = plan.channel_id, plan.author_id
                if ways in closed:
                    continue
                await self._try(job_id)
                if job_id in self._plans:
                    closed.add(ways)
                await self._sleep(BETWEEN_SECONDS)
            await self._pause()

    def _plan(self, job: Job, due: float) -> None:
        request = job.request
        if request.place.channel_id:
            place = request.place
            plan = _Plan(place.guild_id, place.channel_id, request.author.id, due)
            self._plans.setdefault(job.id, plan)
            self._woken.set()

    def _postpone(self, plan: _Plan) -> None:
        plan.due = self._clock() + min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(plan.tries, 9))
        plan.tries += 1

    async def _try(self, job_id: str) -> None:
        try:
            job = await self._jobs.get(job_id)
            if job is None or job.delivery_method != KEPT or is_erased(job):
                self._plans.pop(job_id, None)
                return
            job = await self._deliver(job)
        except ArtifactMissing as error:
            log.info("a kept result is gone: %s", error, extra={"job": job_id})
            self._plans.pop(job_id, None)
        except Exception:
            # The root of this attempt: one broken result must not hold up the others.
            log.exception("a kept result cannot be delivered", extra={"job": job_id})
        else:
            if job.delivery_method != KEPT:
                log.info(
                    "a kept result was delivered by %s", job.delivery_method, extra={"job": job_id}
                )
                self._plans.pop(job_id, None)

    async def _pause(self) -> None:
        """Until something is due or something new is said."""
        if not self._plans:
            await self._woken.wait()
            return
        seconds = max(0.0, min(plan.due for plan in self._plans.values()) - self._clock())
        waits = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(self._woken.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
