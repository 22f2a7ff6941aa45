"""Fills free slots, whenever something changes, with the job whose turn it is.

Sleeps until it is woken: by an accepted request, an ended run, a closed circuit. Each job that it
starts, or finds in flight at start, is carried by a task of its own. A slot is the backend's: it is
free again while the pictures of its last job are still being brought home and posted, unless as
many jobs as there are slots are being so. A result that waits for Discord holds up nothing: neither
other jobs nor a stop, since the next start goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.domain.errors import IllegalTransition
from bot.domain.events import Scheduled
from bot.domain.job import Job, JobState
from bot.domain.scheduling import RunningJob, select_next
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.lifecycle import JobLifecycle
from bot.services.supervision import keep_running
from bot.services.worker import JobWorker
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)


class Scheduler:
    """Runs until cancelled; ``drain`` lets nothing new start and waits for what runs."""

    def __init__(
        self,
        database: Database,
        lifecycle: JobLifecycle,
        worker: JobWorker,
        breaker: CircuitBreaker,
        *,
        slots: int,
        per_user: int,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wakeup: asyncio.Event | None = None,
    ) -> None:
        self._jobs = JobRepository(database)
        self._guilds = GuildRepository(database)
        self._lifecycle = lifecycle
        self._worker = worker
        self._breaker = breaker
        self._slots = slots
        self._per_user = per_user
        self._now = now
        self._sleep = sleep
        self._woken = wakeup or asyncio.Event()
        self._running_tasks: dict[str, asyncio.Task[Job]] = {}
        self._holding: dict[str, RunningJob] = {}
        self._waiting: set[str] = set()
        self._changed = asyncio.Event()
        self._draining = False

    @property
    def running(self) -> int:
        """Jobs that hold a slot."""
        return len(self._holding)

    def wake(self) -> None:
        """Something changed: look again."""
        self._woken.set()

    async def resume_jobs(self) -> int:
        """Take up every job that was in flight when the bot stopped; how many there are.

        May be called again: a job that is carried already is left alone.
        """
        # Asked for one by one: a long line behind them is no reason to start slowly.
        found = [await self._jobs.get(flight.job_id) for flight in await self._jobs.running()]
        flying = [
            job
            for job in found
            if job is not None and is_from_discord(job) and job.id not in self._running_tasks
        ]
        for job in flying:
            log.info("taking up a job that is %s", job.state, extra={"job": job.id})
            self._carry(job)
        self.wake()
        return len(flying)

    async def run(self) -> None:
        """Dispatch for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._breaker.wait_closed()
            while not self._draining and self._has_room() and await self._start_next():
                pass

    def drain(self) -> None:
        """Start nothing new."""
        self._draining = True

    async def idle(self) -> None:
        """Wait until nothing runs, but for deliveries that wait for Discord."""
        while busy := [
            task for one, task in self._running_tasks.items() if one not in self._waiting
        ]:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([*busy, changed], return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    async def aclose(self) -> None:
        """Let go of running jobs; they go on at the backend and are taken up at the next start."""
        tasks = tuple(self._running_tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _has_room(self) -> bool:
        busy = len(self._running_tasks) - len(self._waiting)
        return self.running < self._slots and busy < 2 * self._slots

    async def _start_next(self) -> bool:
        waiting = await self._jobs.waiting()
        if not waiting:
            return False
        turn = select_next(
            waiting,
            self._holding.values(),
            await self._jobs.last_started(),
            per_user=self._per_user,
            limits=await self._guilds.running_limits(),
        )
        if turn is None:
            return False
        job = await self._jobs.get(turn.job_id)
        if job is None:
            return True
        try:
            dispatched = await self._lifecycle.apply_event(job, Scheduled())
        except IllegalTransition:
            return True  # cancelled or taken a moment ago: ask again
        if dispatched.state is JobState.SUBMITTING:
            log.info("its turn: %s", turn.reason, extra={"job": job.id})
            self._carry(dispatched)
        return True

    def _carry(self, job: Job) -> None:
        def run_over() -> None:
            if self._holding.pop(job.id, None) is not None:
                self.wake()

        def waits() -> None:
            self._waiting.add(job.id)
            self._changed.set()
            self.wake()

        self._holding[job.id] = RunningJob(job.id, job.request.author.id)
        task = asyncio.get_running_loop().create_task(
            keep_running(
                "carrying the job",
                lambda: self._worker.run(job, run_over, waits),
                sleep=self._sleep,
                job=job.id,
            ),
            name=job.id,
        )
        self._running_tasks[job.id] = task
        task.add_done_callback(lambda done: self._ended(job.id, done))

    def _ended(self, job_id: str, task: asyncio.Task[Job]) -> None:
        self._running_tasks.pop(job_id, None)
        self._holding.pop(job_id, None)
        self._waiting.discard(job_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("carrying the job broke off", exc_info=error, extra={"job": job_id})
        self.wake()


def is_from_discord(job: Job) -> bool:
    """Whether a job came from a channel; the command line carries its own."""
    return job.request.place.channel_id != 0
