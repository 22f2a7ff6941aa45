"""Start the next job whenever a slot is free.

The scheduler sleeps until it is woken: by an accepted request, an ended run, a closed breaker. Each
job runs in a task of its own. A slot is one running job at the backend: it is free again while the
images of that job are fetched and posted, as long as fewer jobs than slots do that. A delivery that
waits for Discord delays neither other jobs nor a stop: the next start resumes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.concurrency import cancel_and_wait
from bot.domain.errors import IllegalTransition
from bot.domain.events import Scheduled
from bot.domain.job import Job, JobState
from bot.domain.scheduling import RunningJob, select_next
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.lifecycle import JobLifecycle
from bot.services.restrictions import read_restrictions
from bot.services.supervision import keep_running
from bot.services.worker import JobWorker
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.jobs import JobRepository
from bot.store.moderation import ModerationRepository

log = logging.getLogger(__name__)

_MAX_TIMER_S = 86_400.0


class Scheduler:
    """Start queued jobs in the order of ``bot.domain.scheduling``, and resume unfinished ones."""

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
        self._moderation = ModerationRepository(database)
        self._pause_timer: asyncio.TimerHandle | None = None
        self._lifecycle = lifecycle
        self._worker = worker
        self._breaker = breaker
        self._slots = slots
        self._per_user = per_user
        self._now = now
        self._sleep = sleep
        self._woken = wakeup or asyncio.Event()
        self._running_tasks: dict[str, asyncio.Task[Job]] = {}
        self._slot_holders: dict[str, RunningJob] = {}
        self._waiting_deliveries: set[str] = set()
        self._changed = asyncio.Event()
        self._draining = False

    @property
    def running(self) -> int:
        """Return the number of jobs that hold a slot."""
        return len(self._slot_holders)

    def wake(self) -> None:
        """Look for a job to start: something has changed."""
        self._woken.set()

    async def resume_jobs(self) -> int:
        """Resume every job that was unfinished when the bot stopped, and return their number.

        Idempotent: a job that runs already is skipped.
        """
        # One by one: a long queue must not slow down the start.
        found = [
            (await self._jobs.get(flight.job_id), flight.channel_ids)
            for flight in await self._jobs.running()
        ]
        unfinished = [
            (job, channel_ids)
            for job, channel_ids in found
            if job is not None and is_from_discord(job) and job.id not in self._running_tasks
        ]
        for job, channel_ids in unfinished:
            log.info("resuming a job that is %s", job.state, extra={"job": job.id})
            self._start_worker(job, channel_ids)
        self.wake()
        return len(unfinished)

    async def run(self) -> None:
        """Start jobs until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._breaker.wait_closed()
            while not self._draining and self._has_capacity() and await self._start_next():
                pass

    def drain(self) -> None:
        """Start no more jobs."""
        self._draining = True

    async def idle(self) -> None:
        """Wait until no job runs, except deliveries that wait for Discord."""
        while busy := [
            task for one, task in self._running_tasks.items() if one not in self._waiting_deliveries
        ]:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([*busy, changed], return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    async def aclose(self) -> None:
        """Stop following jobs; they go on at the backend, and the next start resumes them."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        await cancel_and_wait(*self._running_tasks.values())

    def _wake_at(self, moment: datetime | None) -> None:
        """Look for a job to start at ``moment``, when a pause ends; None is never."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None
        if moment is not None:
            seconds = max(0.0, (moment - self._now()).total_seconds())
            loop = asyncio.get_running_loop()
            self._pause_timer = loop.call_later(min(seconds, _MAX_TIMER_S), self.wake)

    def _has_capacity(self) -> bool:
        busy = len(self._running_tasks) - len(self._waiting_deliveries)
        return self.running < self._slots and busy < 2 * self._slots

    async def _start_next(self) -> bool:
        waiting = await self._jobs.waiting()
        if not waiting:
            return False
        restrictions, ends_at = await read_restrictions(self._guilds, self._moderation, self._now())
        self._wake_at(ends_at)
        startable, _ = restrictions.startable(waiting, self._slot_holders.values())
        selection = select_next(
            startable,
            self._slot_holders.values(),
            await self._jobs.last_started(),
            per_user=self._per_user,
            limits=await self._guilds.running_limits(),
        )
        if selection is None:
            return False
        job = await self._jobs.get(selection.job_id)
        if job is None:
            return True
        try:
            dispatched = await self._lifecycle.apply_event(job, Scheduled())
        except IllegalTransition:
            return True  # cancelled or started meanwhile: select again
        if dispatched.state is JobState.SUBMITTING:
            log.info("started: %s", selection.reason, extra={"job": job.id})
            channels = next(one.channel_ids for one in startable if one.job_id == job.id)
            self._start_worker(dispatched, channels)
        return True

    def _start_worker(self, job: Job, channel_ids: tuple[int, ...]) -> None:
        def on_slot_free() -> None:
            if self._slot_holders.pop(job.id, None) is not None:
                self.wake()

        def on_wait() -> None:
            self._waiting_deliveries.add(job.id)
            self._changed.set()
            self.wake()

        self._slot_holders[job.id] = RunningJob(job.id, job.request.author.id, channel_ids)
        task = asyncio.get_running_loop().create_task(
            keep_running(
                "running the job",
                lambda: self._worker.run(job, on_slot_free, on_wait),
                sleep=self._sleep,
                job=job.id,
            ),
            name=job.id,
        )
        self._running_tasks[job.id] = task
        task.add_done_callback(lambda done: self._on_task_done(job.id, done))

    def _on_task_done(self, job_id: str, task: asyncio.Task[Job]) -> None:
        self._running_tasks.pop(job_id, None)
        self._slot_holders.pop(job_id, None)
        self._waiting_deliveries.discard(job_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the job's task failed", exc_info=error, extra={"job": job_id})
        self.wake()


def is_from_discord(job: Job) -> bool:
    """Whether a job came from a channel; the command line runs its own jobs."""
    return job.request.place.channel_id != 0
