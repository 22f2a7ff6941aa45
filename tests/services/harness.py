"""The engine on a real database and the scripted backend, with time and naps in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from bot.backends.scripted import ScriptedBackend
from bot.bootstrap import load_templates
from bot.domain.job import Job, JobState
from bot.domain.quota import Quota
from bot.domain.request import Author, ChannelRef, Request
from bot.services.budget import BudgetLimits, BudgetService
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.delivery import DeliveryService, DeliveryTransport
from bot.services.lifecycle import CompositeObserver, JobLifecycle, JobObserver
from bot.services.queue import Actor, JobQueue, QueueLimits
from bot.services.rendering import WorkflowRenderer, WorkflowTemplates
from bot.services.results import ResultFetcher
from bot.services.scheduler import Scheduler
from bot.services.worker import JobWorker
from bot.settings import Settings
from bot.store.database import Database, Query
from bot.store.job_queries import InteractionRef
from bot.store.ledger import LedgerRepository
from tests.services.fakes import CHANNEL, GUILD, NOW, Clock, Diary, Dice, Naps, Postman


@dataclass
class Harness:
    """Everything that is wired up, for a test to reach into."""

    database: Database
    backend: ScriptedBackend
    postman: DeliveryTransport
    diary: Diary
    clock: Clock
    naps: Naps
    lifecycle: JobLifecycle
    breaker: CircuitBreaker
    fetcher: ResultFetcher
    renderer: WorkflowRenderer
    worker: JobWorker
    scheduler: Scheduler
    queue: JobQueue
    budget: BudgetService
    outage: asyncio.Event

    async def ended(self, *job_ids: str) -> list[Job]:
        """The jobs, once all of them have ended."""

        def over(diary: Diary) -> bool:
            known = {job.id for job, _ in diary.entries if job.state.terminal}
            return known.issuperset(job_ids)

        async with asyncio.timeout(20):
            await self.diary.until(over)
        return [await self.stored(job_id) for job_id in job_ids]

    async def reaches(self, job_id: str, state: JobState) -> None:
        """Wait until a job has got so far."""
        async with asyncio.timeout(20):
            await self.diary.until(
                lambda diary: any(
                    job.id == job_id and job.state is state for job, _ in diary.entries
                )
            )

    async def stored(self, job_id: str) -> Job:
        job = await self.queue.jobs.get(job_id)
        assert job is not None
        return job

    async def submit(self, user: int = 7, **changes: object) -> Job:
        """Submit a request of this user's."""
        receipt = await self.queue.submit(a_request(user, **changes), a_member(user))
        return receipt.job

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        query = Query(f"SELECT count(*) FROM {table}", (), lambda rows: int(rows[0][0]))
        return await self.database.read(query)

    async def faults(self) -> tuple[str, ...]:
        """What is wrong between jobs and ledger."""
        return await LedgerRepository(self.database).check()


def a_request(user: int = 7, **changes: object) -> Request:
    """Four small pictures."""
    request = Request(
        prompt="a lighthouse at dawn",
        seed=7,
        steps=2,
        width=64,
        height=64,
        rows=2,
        samples=2,
        model="sd-2-1",
        author=Author(user, "Ada"),
        place=ChannelRef(GUILD, CHANNEL),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def a_member(user: int = 7, *, moderator: bool = False) -> Actor:
    return Actor(user, "Ada", moderator=moderator)


def a_press(number: int) -> InteractionRef:
    return InteractionRef(number, 99, f"token-{number}", NOW + timedelta(minutes=15))


def stock_templates(folder: Path) -> WorkflowTemplates:
    """The packaged templates."""
    return load_templates(Settings.load(None, {}, base=folder))


@asynccontextmanager
async def open_harness(
    folder: Path,
    *,
    backend: ScriptedBackend | None = None,
    postman: DeliveryTransport | None = None,
    observers: Iterable[JobObserver] = (),
    slots: int = 4,
    running: int = 1,
    waiting: int = 5,
    waiting_of_all: int = 1000,
    images: int = 10_000,
    templates: WorkflowTemplates | None = None,
    ceilings: BudgetLimits | None = None,
    clock: Clock | None = None,
    dispatching: bool = True,
) -> AsyncIterator[Harness]:
    """An engine in ``folder``; a second one later in the same folder is the bot after a restart."""
    database_file = folder / "gridbrush.sqlite3"
    # A restart is a minute later.
    later = timedelta(minutes=1) if database_file.exists() else timedelta()
    clock, naps, diary = clock or Clock(NOW + later), Naps(), Diary()
    backend = backend or ScriptedBackend(folder / "scripted", speed=0)
    postman = postman or Postman()
    quota = Quota(images, timedelta(hours=24), running, waiting)
    async with await Database.open(database_file, now=clock) as database:
        lifecycle = JobLifecycle(database, CompositeObserver([diary, *observers]), now=clock)
        outage = asyncio.Event()
        breaker = CircuitBreaker(
            backend.health,
            sleep=naps,
            on_change=lambda is_open, _: outage.set() if is_open else None,
        )
        fetcher = ResultFetcher(backend, folder / "jobs", now=clock, sleep=naps)

        async def stop(job: Job) -> None:
            if job.handle is not None:
                await backend.cancel(job.handle)

        queue = JobQueue(
            database,
            lifecycle,
            QueueLimits(slots, waiting_of_all, quota),
            now=clock,
            entropy=Dice(),
            wake=lambda: scheduler.wake(),  # noqa: PLW0108 (set below)
            stop=stop,
        )
        renderer = WorkflowRenderer(queue.jobs, backend, templates or stock_templates(folder))
        budget = BudgetService(database, backend, ceilings or BudgetLimits(), now=clock, sleep=naps)
        delivery = DeliveryService(database, postman, now=clock, sleep=naps)
        worker = JobWorker(
            lifecycle=lifecycle,
            backend=backend,
            renderer=renderer,
            fetcher=fetcher,
            delivery=delivery,
            breaker=breaker,
            budget=budget,
            sleep=naps,
        )
        scheduler = Scheduler(
            database,
            lifecycle,
            worker,
            breaker,
            slots=slots,
            per_user=running,
            now=clock,
            sleep=naps,
        )
        dispatch = asyncio.create_task(scheduler.run()) if dispatching else None
        try:
            yield Harness(
                database,
                backend,
                postman,
                diary,
                clock,
                naps,
                lifecycle,
                breaker,
                fetcher,
                renderer,
                worker,
                scheduler,
                queue,
                budget,
                outage,
            )
        finally:
            if dispatch is not None:
                dispatch.cancel()
                with suppress(asyncio.CancelledError):
                    await dispatch
            await scheduler.aclose()
            await budget.aclose()
            await breaker.aclose()
            await backend.aclose()
