"""Wire the application: open settings' database and backend, and build the services on them.

The composition root: only this module and ``bot.runtime`` import every package.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

from bot.backends import local, open_backend
from bot.backends.base import Backend, Describing, Submission, SupportsWallet
from bot.clock import utc_now
from bot.domain.errors import ConfigError
from bot.domain.image_engine import UNKNOWN, EngineInfo
from bot.domain.job import Job
from bot.domain.request import RequestLimits
from bot.domain.workflow.template import Template, referenced_files
from bot.file_modes import Open, close_to_others, find_open, private_umask
from bot.services.budget import BudgetLimits, BudgetService
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.delivery import DeliveryService, DeliveryTransport
from bot.services.drains import DrainWatcher
from bot.services.image_check import ImageCheckService
from bot.services.image_detector import ImageDetector, load_model
from bot.services.init_images import InitImageStore
from bot.services.lifecycle import CompositeObserver, JobLifecycle, JobObserver
from bot.services.moderation import ModerationService
from bot.services.queue import JobQueue, QueueLimits, SubmissionGate
from bot.services.redelivery import KeptResults, redeliver
from bot.services.rendering import WorkflowRenderer, WorkflowTemplates
from bot.services.renditions import RenditionCache
from bot.services.reports import ReportService
from bot.services.results import ResultFetcher
from bot.services.scheduler import Scheduler
from bot.services.worker import JobWorker
from bot.settings import Settings
from bot.store.database import Database
from bot.store.lock import database_lock

log = logging.getLogger(__name__)

DATABASE = "gridbrush.sqlite3"
EVIDENCE = "evidence"
"""The folder in the data folder with the pictures of reports and removals."""
INPUTS = "inputs"
"""The folder in the data folder with the pictures that requests start from."""


@dataclass(frozen=True)
class Services:
    """What accepts and tracks jobs, wired and open. Nothing in it runs by itself."""

    settings: Settings
    limits: RequestLimits
    templates: WorkflowTemplates
    database: Database
    backend: Backend
    breaker: CircuitBreaker
    observers: CompositeObserver
    lifecycle: JobLifecycle
    results: ResultFetcher
    detector: ImageDetector | None
    budget: BudgetService
    queue: JobQueue
    moderation: ModerationService
    drains: DrainWatcher
    renderer: WorkflowRenderer
    init_images: InitImageStore
    scheduler_wakeup: asyncio.Event
    now: Callable[[], datetime]


@dataclass(frozen=True)
class Application(Services):
    """The services with what runs jobs: the worker, the scheduler and repeated deliveries."""

    worker: JobWorker
    scheduler: Scheduler
    kept: KeptResults


def load_template(settings: Settings, name: str) -> Template:
    """Read and check a workflow template. Raises ConfigError. Blocking."""
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
    """Load the templates and the styles. Raises ConfigError. Blocking."""
    imagine = settings.imagine
    grid = load_template(settings, imagine.template)
    if grid.needs_input:
        raise ConfigError(
            "[imagine] template",
            f"{imagine.template} starts from an image",
            "Name it as upscale_template, and one that makes grids as template.",
        )
    upscale = load_template(settings, imagine.upscale_template)
    image = load_template(settings, name) if (name := imagine.image_template) else None
    if image is not None and not image.starts_from_picture:
        raise ConfigError(
            "[imagine] image_template",
            f"{imagine.image_template} takes no prompt with a picture to start from",
            "It needs parameters from prompt, input_url, input_sha256 and strength.",
        )
    if image is not None and grid.supports_negative and not image.supports_negative:
        raise ConfigError(
            "[imagine] image_template",
            f"{imagine.image_template} takes no negative prompt, but {imagine.template} does",
            "Give it a parameter from negative, too.",
        )
    resources = imagine.resources.request()
    return WorkflowTemplates(
        grid,
        upscale,
        dict(imagine.styles),
        resources=resources,
        models={id: model.workflow_model() for id, model in settings.models.items()},
        model_resources={
            id: model.resources.request(resources) for id, model in settings.models.items()
        },
        platform_input=settings.backend.kind == "deepsquare",
        image=image,
    )


async def read_limits(
    settings: Settings, backend: Backend, templates: WorkflowTemplates
) -> RequestLimits:
    """Return the limits of requests, with what makes a grid's images and those of each model.

    That is UNKNOWN for custom workflows and silent backends.
    """
    engine, engines = UNKNOWN, dict[str, EngineInfo]()
    if templates.grid.calls_script and isinstance(backend, Describing):
        engine = await backend.engine_info()
        engines = dict(await backend.model_engines()) if settings.models else {}
    return settings.limits(
        negative=templates.grid.supports_negative,
        img2img=templates.image is not None,
        engine=engine,
        engines=engines,
    )


def log_models(settings: Settings, limits: RequestLimits) -> None:
    """Log what makes the images, and which models of the table cannot be used here."""
    if limits.table:
        log.info("members can choose the models %s", ", ".join(limits.names))
    elif limits.engine is not UNKNOWN:
        log.info("images are made by %s", limits.engine.show(limits.model))
    for id, reason in settings.unusable_models().items():
        log.warning("the model %s is left out: %s", id, reason)


async def render_local_script(settings: Settings, submission: Submission) -> str:
    """Return the bash script that the local backend would run for a job."""
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
            problem = f"the backend {kind} costs nothing"
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
) -> AsyncIterator[Application]:
    """Open the services and add the scheduler; no job starts until the scheduler is run.

    The parameters are those of ``open_services``. Raises ConfigError.
    """
    async with open_services(
        settings, pictures=pictures, now=now, entropy=entropy, sleep=sleep
    ) as services:
        services.observers.add(*observers)
        async with open_scheduler(services, transport) as application:
            yield application


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    gate: SubmissionGate | None = None,
    pictures: Path | None = None,
    now: Callable[[], datetime] = utc_now,
    entropy: Callable[[int], bytes] = os.urandom,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    on_backend_change: Callable[[bool, str], None] = lambda _unavailable, _detail: None,
    on_settled: Callable[[Decimal, Decimal], None] = lambda _cost, _refund: None,
    on_store_change: Callable[[str], None] = lambda _cause: None,
    on_moderation: Callable[[], None] = lambda: None,
) -> AsyncIterator[Services]:
    """Open the database and the backend, and wire what needs no delivery transport.

    ``pictures`` is the folder for results, by default ``jobs`` in the data folder. ``sleep`` pauses
    between attempts to fetch a file. ``on_backend_change`` gets whether the backend is unavailable
    and why, ``on_settled`` the cost and the refund of a job in credits, ``on_store_change`` why the
    store is unavailable, or "" when it is available again. ``on_moderation`` is called when
    moderators have changed what may start. Raises ConfigError.
    """
    templates = await asyncio.to_thread(load_templates, settings)
    folder = settings.data.dir
    async with AsyncExitStack() as stack:
        stack.enter_context(private_umask())
        database = await stack.enter_async_context(
            open_database(folder, now=now, on_change=on_store_change)
        )
        await asyncio.to_thread(close_open_files, settings)
        backend = await open_backend(settings.backend.kind, settings.backend_options())
        stack.push_async_callback(backend.aclose)
        breaker = CircuitBreaker(backend.health, on_change=on_backend_change)
        stack.push_async_callback(breaker.aclose)
        budget = BudgetService(
            database, backend, budget_limits(settings), now=now, on_settled=on_settled
        )
        stack.push_async_callback(budget.aclose)

        limits = await read_limits(settings, backend, templates)
        log_models(settings, limits)
        observers = CompositeObserver()
        lifecycle = JobLifecycle(database, observers, now=now)
        scheduler_wakeup = asyncio.Event()
        results = ResultFetcher(backend, pictures or folder / "jobs", now=now, sleep=sleep)
        queue = JobQueue(
            database,
            lifecycle,
            QueueLimits(settings.queue.running, settings.queue.waiting, settings.default_quota()),
            now=now,
            entropy=entropy,
            wake=scheduler_wakeup.set,
            steps_run=lambda request: limits.engine_for(request.model).steps_run(request.steps),
            stop=partial(cancel_at_backend, backend),
            gate=gate,
            styles=templates.styles,
        )

        detector = build_detector(settings)
        if detector is not None:
            stack.push_async_callback(detector.aclose)

        def moderated() -> None:
            scheduler_wakeup.set()
            on_moderation()

        init_images = InitImageStore(folder / INPUTS, database)
        await init_images.clean()
        drains = DrainWatcher(database, now=now)
        observers.add(drains)
        yield Services(
            settings=settings,
            limits=limits,
            templates=templates,
            database=database,
            backend=backend,
            breaker=breaker,
            observers=observers,
            lifecycle=lifecycle,
            detector=detector,
            results=results,
            budget=budget,
            queue=queue,
            moderation=ModerationService(
                database,
                lifecycle,
                queue,
                now=now,
                wake=moderated,
                image_action=settings.image_check.action if detector is not None else None,
            ),
            drains=drains,
            renderer=WorkflowRenderer(
                queue.jobs, backend, templates, init_images, row_path=results.row_path
            ),
            init_images=init_images,
            scheduler_wakeup=scheduler_wakeup,
            now=now,
        )


@asynccontextmanager
async def open_scheduler(
    services: Services,
    transport: DeliveryTransport,
    image_check: ImageCheckService | None = None,
    *,
    on_delivered: Callable[[Job], Awaitable[None]] | None = None,
) -> AsyncIterator[Application]:
    """Add what runs jobs and delivers results through ``transport``.

    Without ``image_check`` images are delivered as they are, as on the command line.
    ``on_delivered`` is called with a job whose result was delivered, posted or kept.
    """
    if image_check is not None:
        services.observers.add(image_check)
    delivery = DeliveryService(services.database, transport, now=services.now)
    kept = KeptResults(
        services.database,
        partial(
            redeliver, delivery, services.results, services.lifecycle, on_delivered=on_delivered
        ),
        now=services.now,
    )
    services.observers.add(kept)
    worker = JobWorker(
        lifecycle=services.lifecycle,
        backend=services.backend,
        renderer=services.renderer,
        fetcher=services.results,
        delivery=delivery,
        breaker=services.breaker,
        budget=services.budget,
        image_check=image_check,
        on_delivered=on_delivered,
    )
    scheduler = Scheduler(
        services.database,
        services.lifecycle,
        worker,
        services.breaker,
        slots=services.settings.queue.running,
        per_user=services.settings.default_quota().running,
        now=services.now,
        wakeup=services.scheduler_wakeup,
    )
    try:
        yield Application(**vars(services), worker=worker, scheduler=scheduler, kept=kept)
    finally:
        await scheduler.aclose()


def build_reports(
    services: Services,
    renditions: RenditionCache,
    *,
    removed: Callable[[], None] = lambda: None,
) -> ReportService:
    """Return what members report results with. ``removed`` is called after a removal."""
    settings = services.settings
    return ReportService(
        services.database,
        services.moderation,
        renditions,
        settings.data.dir / EVIDENCE,
        default=settings.default_quota(),
        keep=settings.data.keep_evidence,
        now=services.now,
        removed=removed,
    )


def build_detector(settings: Settings) -> ImageDetector | None:
    """Return what looks at images, None if the operator has not set it up. Starts nothing."""
    section = settings.image_check
    if not section.enabled:
        return None
    load = partial(
        load_model, section.engine, section.label_file, section.size, section.mean, section.std
    )
    seconds = section.timeout.total_seconds()
    return ImageDetector(load, tuple(section.thresholds), timeout_s=seconds)


async def cancel_at_backend(backend: Backend, job: Job) -> None:
    """Cancel a submitted job at the backend."""
    # Without a handle it is about to be submitted: its worker sees the cancel request itself.
    if job.handle is not None:
        await backend.cancel(job.handle)


def budget_limits(settings: Settings) -> BudgetLimits:
    """Return the daily limits in credits; a limit of 0 is none."""
    spending = settings.spending
    return BudgetLimits(
        total=spending.credits_per_day or None,
        per_server=spending.credits_per_day_per_server or None,
    )


@asynccontextmanager
async def open_database(
    folder: Path,
    *,
    now: Callable[[], datetime] = utc_now,
    on_change: Callable[[str], None] = lambda _cause: None,
) -> AsyncIterator[Database]:
    """Open the database in the data folder; create both if they are missing.

    ``on_change`` gets why the store becomes unavailable, and "" when it is available again. Raises
    ConfigError if that fails, or if an earlier database must have been lost.
    """
    await asyncio.to_thread(ensure_data_dir, folder)
    with database_lock(folder):
        await asyncio.to_thread(refuse_lost_database, folder)
        async with await Database.open(folder / DATABASE, now=now, on_change=on_change) as database:
            yield database


def refuse_lost_database(folder: Path) -> None:
    """Raise ConfigError if the database is missing but jobs' files are there. Blocking."""
    path = folder / DATABASE
    if path.exists() and path.stat().st_size:
        return
    evidence = evidence_of_jobs(folder)
    if evidence:
        raise ConfigError(
            str(path),
            f"the database is {'empty' if path.exists() else 'missing'}, but there is "
            f"{', '.join(str(place) for place in evidence)}",
            "Run `gridbrush restore` to list the backups and restore one, or "
            "`gridbrush restore --empty` to start with an empty one; neither deletes anything.",
        )


def find_open_files(settings: Settings) -> list[tuple[Path, tuple[Open, ...]]]:
    """Find files that other users of the machine can access, by folder. Blocking."""
    data, shared = settings.data.dir, settings.backend.slurm.shared_dir
    found = [(data, find_open(data))] if data.is_dir() else []
    if settings.backend.kind == "slurm" and shared is not None:
        # The folder itself is the operator's: others may work in it, too.
        found.append((shared, find_open(shared, ("jobs", "caches", "bin"), itself=False)))
    return found


def close_open_files(settings: Settings) -> None:
    """Make files private that an earlier version left open, and log them. Blocking."""
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
    """Return what in the data folder shows that there were jobs before. Blocking."""
    places = [folder / "jobs", folder / "local" / "jobs", folder / "backups"]
    places += (folder / "deepsquare").glob("*/jobs")
    found = [place for place in places if place.is_dir() and any(place.iterdir())]
    log_file = folder / f"{DATABASE}-wal"
    if log_file.exists() and log_file.stat().st_size:
        found.append(log_file)
    return tuple(found)


def ensure_data_dir(folder: Path) -> None:
    """Create the data folder. Raises ConfigError if that fails. Blocking."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "Name a folder that the bot's user may write to."
        raise ConfigError("[data] dir", f"cannot make {folder}: {error.strerror}", hint) from error
