"""The composition root: the only file that knows all rooms, and wires them by constructor."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bot.backends import local, open_backend
from bot.backends.base import Backend, Describing, Submission, SupportsWallet
from bot.domain.errors import ConfigError
from bot.domain.events import Redelivered
from bot.domain.image_engine import UNKNOWN, Painter
from bot.domain.job import Job
from bot.domain.request import RequestLimits
from bot.domain.workflow.template import Template, referenced_files
from bot.file_modes import Open, close_to_others, find_open, private_umask
from bot.services.budget import BudgetLimits, BudgetService
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.delivery import DeliveryService, DeliveryTransport
from bot.services.lifecycle import CompositeObserver, JobLifecycle, JobObserver
from bot.services.queue import JobQueue
from bot.services.queue import QueueLimits as QueueLimits
from bot.services.redelivery import KeptResults
from bot.services.rendering import WorkflowRenderer, WorkflowTemplates
from bot.services.results import ResultFetcher
from bot.services.scheduler import Scheduler
from bot.services.worker import JobWorker
from bot.settings import Settings
from bot.store.database import Database
from bot.store.lock import database_lock

log = logging.getLogger(__name__)

DATABASE = "gridbrush.sqlite3"


def utc_now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that accepts and carries jobs, wired up and open."""

    settings: Settings
    limits: RequestLimits
    templates: WorkflowTemplates
    database: Database
    backend: Backend
    lifecycle: JobLifecycle
    results: ResultFetcher
    worker: JobWorker
    breaker: CircuitBreaker
    scheduler: Scheduler
    queue: JobQueue
    renderer: WorkflowRenderer
    budget: BudgetService
    kept: KeptResults


def load_template(settings: Settings, name: str) -> Template:
    """Read and check a workflow template. Raises ConfigError with place and mend. Blocking."""
    path = settings.template_path(name)
    try:
        text = path.read_text(encoding="utf-8")
        texts = {
            file: (path.parent / file).read_text(encoding="utf-8")
            for file in referenced_files(text, path.name)
        }
    except (OSError, UnicodeDecodeError) as error:
        hint = "Check that the template and the files it names are readable text."
        raise ConfigError(str(path), str(error), hint) from error
    return Template.load(text, path.name, texts)


def load_templates(settings: Settings) -> WorkflowTemplates:
    """Both templates and the styles. Raises ConfigError. Blocking."""
    imagine = settings.imagine
    grid = load_template(settings, imagine.template)
    if grid.needs_input:
        raise ConfigError(
            "[imagine] template",
            f"{imagine.template} starts from a picture",
            "Name it as upscale_template, and one that makes grids as template.",
        )
    upscale = load_template(settings, imagine.upscale_template)
    return WorkflowTemplates(grid, upscale, dict(imagine.styles))


async def painter_of(backend: Backend, templates: WorkflowTemplates) -> Painter:
    """What would paint a grid: unknown where the workflow is an own one, or its backend silent."""
    if templates.grid.calls_script and isinstance(backend, Describing):
        return await backend.painter()
    return UNKNOWN


async def render_local_script(settings: Settings, submission: Submission) -> str:
    """The bash script that the local backend would run for a job."""
    options = settings.model_copy(
        update={"backend": settings.backend.model_copy(update={"kind": "local"})}
    ).backend_options()
    return (await local.open(options)).script(submission)


@asynccontextmanager
async def open_paid_backend(settings: Settings) -> AsyncIterator[SupportsWallet]:
    """Open the backend for its wallet alone. Raises ConfigError where computing is free."""
    kind = settings.backend.kind
    backend = await open_backend(kind, settings.backend_options())
    try:
        if not isinstance(backend, SupportsWallet):
            problem = f"computing by {kind} costs nothing"
            raise ConfigError("[backend] kind", problem, "There is no wallet to show.")
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    transport: DeliveryTransport,
    observers: Iterable[JobObserver] = (),
    pictures: Path | None = None,
    now: Callable[[], datetime] = utc_now,
    entropy: Callable[[int], bytes] = os.urandom,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    on_breaker: Callable[[bool, str], None] = lambda _away, _detail: None,
    on_settled: Callable[[Decimal, Decimal], None] = lambda _cost, _refund: None,
    on_store: Callable[[str], None] = lambda _cause: None,
) -> AsyncIterator[Application]:
    """Open database and backend and wire the engine; nothing is dispatched before it is asked to.

    ``sleep`` pauses between attempts to fetch a file. ``pictures`` is the folder for finished jobs,
    by default ``jobs`` in the data folder. ``on_circuit`` is told when the backend goes away and
    comes back, ``on_settled`` the credits that a job has cost and those that came back,
    ``on_store`` why the store is unavailable and ("")
    that it is available again. Raises ConfigError for whatever the operator has to mend.
    """
    templates = await asyncio.to_thread(load_templates, settings)
    folder = settings.data.dir
    async with AsyncExitStack() as stack:
        stack.enter_context(private_umask())
        database = await stack.enter_async_context(
            open_database(folder, now=now, on_change=on_store)
        )
        await asyncio.to_thread(close_open_files, settings)
        backend = await open_backend(settings.backend.kind, settings.backend_options())
        stack.push_async_callback(backend.aclose)

        async def redeliver(job: Job) -> Job:
            done = await delivery.deliver(job, fetcher.result(job), again=True)
            return await lifecycle.apply_event(job, Redelivered(done.method, done.message))

        kept = KeptResults(database, redeliver, now=now)
        lifecycle = JobLifecycle(database, CompositeObserver([*observers, kept]), now=now)
        breaker = CircuitBreaker(backend.health, on_change=on_breaker)
        stack.push_async_callback(breaker.aclose)
        fetcher = ResultFetcher(backend, pictures or folder / "jobs", now=now, sleep=sleep)

        async def stop(job: Job) -> None:
            # Without a handle it is about to be submitted: its runner sees the request itself.
            if job.handle is not None:
                await backend.cancel(job.handle)

        painter = await painter_of(backend, templates)
        if painter is not UNKNOWN:
            log.info("pictures are painted by %s", painter.show(settings.imagine.model))
        limits = replace(
            settings.limits(negative=templates.grid.supports_negative), painter=painter
        )
        quota = settings.default_quota()
        queue = JobQueue(
            database,
            lifecycle,
            QueueLimits(settings.queue.running, settings.queue.waiting, quota),
            now=now,
            entropy=entropy,
            wake=lambda: scheduler.wake(),
            steps_run=painter.steps_run,
            stop=stop,
        )
        renderer = WorkflowRenderer(queue.jobs, backend, templates)
        spending = settings.spending
        ceilings = BudgetLimits(
            total=spending.credits_per_day or None,
            per_server=spending.credits_per_day_per_server or None,
        )
        budget = BudgetService(database, backend, ceilings, now=now, on_settled=on_settled)
        stack.push_async_callback(budget.aclose)
        delivery = DeliveryService(database, transport, now=now)
        worker = JobWorker(
            lifecycle=lifecycle,
            backend=backend,
            renderer=renderer,
            fetcher=fetcher,
            delivery=delivery,
            breaker=breaker,
            budget=budget,
        )
        scheduler = Scheduler(
            database,
            lifecycle,
            worker,
            breaker,
            slots=settings.queue.running,
            per_user=quota.running,
            now=now,
        )
        stack.push_async_callback(scheduler.aclose)
        yield Application(
            settings=settings,
            limits=limits,
            templates=templates,
            database=database,
            backend=backend,
            lifecycle=lifecycle,
            results=fetcher,
            worker=worker,
            breaker=breaker,
            scheduler=scheduler,
            queue=queue,
            renderer=renderer,
            budget=budget,
            kept=kept,
        )


@asynccontextmanager
async def open_database(
    folder: Path,
    *,
    now: Callable[[], datetime] = utc_now,
    on_change: Callable[[str], None] = lambda _cause: None,
) -> AsyncIterator[Database]:
    """Open the database in the data folder, both made if they are missing.

    ``on_change`` is told why it becomes unavailable, and "" when it is available again.
    Raises ConfigError if that cannot be, and where a database is missing that must have been there.
    """
    await asyncio.to_thread(ensure_data_dir, folder)
    with database_lock(folder):
        await asyncio.to_thread(refuse_lost_database, folder)
        async with await Database.open(folder / DATABASE, now=now, on_change=on_change) as database:
            yield database


def refuse_lost_database(folder: Path) -> None:
    """Raise ConfigError rather than start afresh beside what only a database explains. Blocking."""
    path = folder / DATABASE
    if path.exists() and path.stat().st_size:
        return
    evidence = evidence_of_jobs(folder)
    if evidence:
        raise ConfigError(
            str(path),
            f"the database is {'empty' if path.exists() else 'missing'}, but there is "
            f"{', '.join(str(place) for place in evidence)}",
            "Run `gridbrush restore` to see the backups and put one in place, or "
            "`gridbrush restore --empty` to start afresh; neither deletes anything.",
        )


def find_open_files(settings: Settings) -> list[tuple[Path, tuple[Open, ...]]]:
    """What other users of the machine could read or write, by folder. Blocking."""
    data, shared = settings.data.dir, settings.backend.slurm.shared_dir
    found = [(data, find_open(data))] if data.is_dir() else []
    if settings.backend.kind == "slurm" and shared is not None:
        # The folder itself is the operator's: others may work in it, too.
        found.append((shared, find_open(shared, ("jobs", "caches", "bin"), itself=False)))
    return found


def close_open_files(settings: Settings) -> None:
    """Close to other users what an earlier version has left open; the log says so. Blocking."""
    for folder, found in find_open_files(settings):
        closed, left = close_to_others(folder, found)
        if closed:
            log.warning(
                "%d files and folders in %s were open to other users, and are closed now: %s%s",
                len(closed),
                folder,
                ", ".join(str(entry.path) for entry in closed[:3]),
                ", …" if len(closed) > 3 else "",
            )
        for entry in left:
            log.warning("%s is open to other users (%04o): chmod go= it", entry.path, entry.mode)


def evidence_of_jobs(folder: Path) -> tuple[Path, ...]:
    """What in the data folder shows that there were requests before. Blocking."""
    places = [folder / "jobs", folder / "local" / "jobs", folder / "backups"]
    places += (folder / "deepsquare").glob("*/jobs")
    found = [place for place in places if place.is_dir() and any(place.iterdir())]
    log_file = folder / f"{DATABASE}-wal"
    if log_file.exists() and log_file.stat().st_size:
        found.append(log_file)
    return tuple(found)


def ensure_data_dir(folder: Path) -> None:
    """Make the data folder. Raises ConfigError if that cannot be. Blocking."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "Name a folder that the bot's user may write to."
        raise ConfigError("[data] dir", f"cannot make {folder}: {error.strerror}", hint) from error
