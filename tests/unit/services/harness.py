"""The services on a real database and the scripted backend; the test controls time and sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
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
from bot.services.init_images import InitImageStore
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
from tests.unit.services.fakes import (
    CHANNEL,
    GUILD,
    NOW,
    Clock,
    CountingEntropy,
    EventLog,
    FakeTransport,
    RecordedSleeps,
)


@dataclass
class Harness:
    """The wired services, for tests to use."""

    database: Database
    backend: ScriptedBackend
    transport: DeliveryTransport
    events: EventLog
    clock: Clock
    sleeps: RecordedSleeps
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
        """Return the jobs once all of them have ended."""

        def over(events: EventLog) -> bool:
            known = {job.id for job, _ in events.entries if job.state.terminal}
            return known.issuperset(job_ids)

        async with asyncio.timeout(20):
            await self.events.until(over)
        return [await self.stored(job_id) for job_id in job_ids]

    async def reaches(self, job_id: str, state: JobState) -> None:
        """Wait until a job has reached a state."""
        async with asyncio.timeout(20):
            await self.events.until(
                lambda events: any(
                    job.id == job_id and job.state is state for job, _ in events.entries
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
        """Return the number of rows of a table."""
        query = Query(f"SELECT count(*) FROM {table}", (), lambda rows: int(rows[0][0]))
        return await self.database.read(query)

    async def faults(self) -> tuple[str, ...]:
        """Return what is inconsistent between jobs and ledger."""
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


def an_interaction(number: int) -> InteractionRef:
    return InteractionRef(number, 99, f"token-{number}", NOW + timedelta(minutes=15))


def stock_templates(folder: Path) -> WorkflowTemplates:
    """The packaged templates."""
    return load_templates(Settings.load(None, {}, base=folder))


@asynccontextmanager
async def open_harness(
    folder: Path,
    *,
    backend: ScriptedBackend | None = None,
    transport: DeliveryTransport | None = None,
    observers: Iterable[JobObserver] = (),
    slots: int = 4,
    running: int = 1,
    waiting: int = 5,
    waiting_of_all: int = 1000,
    images: int = 10_000,
    templates: WorkflowTemplates | None = None,
    budget_limits: BudgetLimits | None = None,
    clock: Clock | None = None,
    dispatching: bool = True,
    styles: Mapping[str, str] | None = None,
) -> AsyncIterator[Harness]:
    """Open the services in ``folder``; opened there again, they are the bot after a restart."""
    database_file = folder / "gridbrush.sqlite3"
    # A restart is a minute later.
    later = timedelta(minutes=1) if database_file.exists() else timedelta()
    clock, sleeps, events = clock or Clock(NOW + later), RecordedSleeps(), EventLog()
    backend = backend or ScriptedBackend(folder / "scripted", speed=0)
    transport = transport or FakeTransport()
    quota = Quota(images, timedelta(hours=24), running, waiting)
    async with await Database.open(database_file, now=clock) as database:
        lifecycle = JobLifecycle(database, CompositeObserver([events, *observers]), now=clock)
        outage = asyncio.Event()
        breaker = CircuitBreaker(
            backend.health,
            sleep=sleeps,
            on_change=lambda is_open, _: outage.set() if is_open else None,
        )
        fetcher = ResultFetcher(backend, folder / "jobs", now=clock, sleep=sleeps)

        async def stop(job: Job) -> None:
            if job.handle is not None:
                await backend.cancel(job.handle)

        queue = JobQueue(
            database,
            lifecycle,
            QueueLimits(slots, waiting_of_all, quota),
            now=clock,
            entropy=CountingEntropy(),
            wake=lambda: scheduler.wake(),  # noqa: PLW0108 - it is made further down
            stop=stop,
            styles=styles,
        )
        init_images = InitImageStore(folder / "inputs", database)
        renderer = WorkflowRenderer(
            queue.jobs,
            backend,
            templates or stock_templates(folder),
            init_images,
            row_path=fetcher.row_path,
        )
        budget = BudgetService(
            database, backend, budget_limits or BudgetLimits(), now=clock, sleep=sleeps
        )
        delivery = DeliveryService(database, transport, now=clock, sleep=sleeps)
        worker = JobWorker(
            lifecycle=lifecycle,
            backend=backend,
            renderer=renderer,
            fetcher=fetcher,
            delivery=delivery,
            breaker=breaker,
            budget=budget,
            sleep=sleeps,
        )
        scheduler = Scheduler(
            database,
            lifecycle,
            worker,
            breaker,
            slots=slots,
            per_user=running,
            now=clock,
            sleep=sleeps,
        )
        dispatch = asyncio.create_task(scheduler.run()) if dispatching else None
        try:
            yield Harness(
                database,
                backend,
                transport,
                events,
                clock,
                sleeps,
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
