"""Run the application with Discord and metrics until it is stopped, then drain it.

Start order: open the services, sign in, resume interrupted jobs, run the scheduler. On stop no new
job starts, deliveries in progress get a moment, and running jobs continue at their backend, where
the next start finds them. Only the operator, a rejected token or a damaged database end it: loops
that fail are restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from bot.backups import ScheduledBackups
from bot.bootstrap import (
    DATABASE,
    Application,
    Services,
    build_reports,
    open_scheduler,
    open_services,
)
from bot.clock import utc_now
from bot.concurrency import Signal, cancel_and_wait
from bot.domain.checks import CheckResult
from bot.domain.errors import ImageCheckFailed, StoreDamaged, StoreUnavailable
from bot.domain.job import Job
from bot.frontend import first_response
from bot.frontend.checks import run_checks
from bot.frontend.client import GridbrushClient
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.delivery import DiscordDelivery
from bot.frontend.gallery_channel import DiscordGallery
from bot.frontend.gateway import discord_endpoints, run_client
from bot.frontend.log_channel import DiscordLogChannel
from bot.frontend.result_removal import run_removals
from bot.frontend.status_updater import StatusUpdater
from bot.metrics import Metrics, serve_metrics
from bot.restore import settle_posted
from bot.services.channel_poster import ChannelPoster
from bot.services.delivery import MessageStore
from bot.services.gallery import GalleryPoster, GalleryService
from bot.services.lifecycle import JobObserver
from bot.services.moderation_poster import LogPoster
from bot.services.pictures import PictureLinks
from bot.services.privacy import PrivacyService
from bot.services.queue import SubmissionGate
from bot.services.quotas import QuotaService
from bot.services.redelivery import KeptResults
from bot.services.renditions import RenditionCache
from bot.services.request_sets import RequestSets
from bot.services.retention import RetentionService
from bot.services.supervision import keep_running
from bot.settings import Settings
from bot.startup import (
    build_image_check,
    build_picture_check,
    build_retention,
    hold_folder,
    open_picture_server,
    start_when_possible,
)
from bot.store.wait_limits import waits_limited

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
READINESS_TIMEOUT_S = 1.0
STORE_UNAVAILABLE_NOTICE = (
    "The bot cannot save anything at the moment: {cause}. Nothing is lost. Everything continues by "
    "itself afterwards."
)
BACKEND_UNAVAILABLE_NOTICE = (
    "The backend is unavailable at the moment. Nothing is lost. Everything continues by itself "
    "when it is available again."
)


class Availability:
    """Track whether store and backend can be used, and why not.

    ``changed`` is emitted after each change. With ``refuse`` new requests are refused through
    ``gate`` while the backend is unavailable.
    """

    def __init__(self, metrics: Metrics, gate: SubmissionGate, *, refuse: bool) -> None:
        self._metrics = metrics
        self._gate = gate
        self._refuse = refuse
        self._store_cause = ""
        self._backend_unavailable = False
        self.changed: Signal[[]] = Signal()

    def set_backend(self, unavailable: bool, detail: str) -> None:
        """Record whether the backend is unavailable."""
        self._backend_unavailable = unavailable
        self._metrics.set_backend_unavailable(unavailable, detail)
        if self._refuse:
            self._gate.closed_reason = (
                f"{BACKEND_UNAVAILABLE_NOTICE} Try again later." if unavailable else ""
            )
        self.changed()

    def set_store(self, cause: str) -> None:
        """Record why the store is unavailable, or "" when it is available."""
        self._store_cause = cause
        self._metrics.store_changed(cause)
        self.changed()

    def notice(self) -> str:
        """Return what members with waiting requests should know, "" if all is well."""
        cause = self._store_cause
        store = STORE_UNAVAILABLE_NOTICE.format(cause=cause) if cause else ""
        backend = BACKEND_UNAVAILABLE_NOTICE if self._backend_unavailable else ""
        return " ".join(filter(None, (store, backend)))


@dataclass(frozen=True, slots=True)
class Runtime:
    """A running bot. The URLs are empty where that server is switched off."""

    application: Application
    client: GridbrushClient
    status_updater: StatusUpdater
    transport: DiscordDelivery
    updater_task: asyncio.Task[None]
    metrics: Metrics
    retention: RetentionService
    metrics_url: str
    pictures_url: str

    async def shut_down_delivery(self) -> None:
        """Finish the posts in progress and start no more. Call it while Discord is connected."""
        # A delivery that went on without its connection would be taken for one that failed.
        await self.application.scheduler.aclose()
        await self.transport.aclose()
        await self.client.context.status_tasks.aclose()
        await cancel_and_wait(self.updater_task)


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    observers: Iterable[JobObserver] = (),
    now: Callable[[], datetime] = utc_now,
    entropy: Callable[[int], bytes] = os.urandom,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    guild_ready_timeout: float = 2.0,
) -> AsyncIterator[Runtime]:
    """Wire everything, in order of dependency. Nothing connects to Discord yet.

    Raises ConfigError.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(
            discord_endpoints(settings.discord.api_base, settings.discord.gateway_url)
        )
        metrics = Metrics(now=now)
        gate = SubmissionGate()
        moderated: Signal[[]] = Signal()
        availability = Availability(metrics, gate, refuse=settings.queue.when_paused == "refuse")
        services = await stack.enter_async_context(
            open_services(
                settings,
                gate=gate,
                now=now,
                entropy=entropy,
                sleep=sleep,
                on_backend_change=availability.set_backend,
                on_settled=metrics.observe_cost,
                on_store_change=availability.set_store,
                on_moderation=moderated,
            )
        )

        retention = build_retention(services, sleep=sleep, on_removed=metrics.pictures_removed)
        pictures_url, links = await stack.enter_async_context(
            open_picture_server(services, entropy=entropy, on_served=metrics.picture_served)
        )
        access_changed: Signal[int, int] = Signal()
        status_found: Signal[Job] = Signal()
        context = build_context(
            services,
            entropy=entropy,
            notice=availability.notice,
            opened=access_changed,
            status_found=status_found,
            links=links,
            removed=retention.wake,
        )
        client = GridbrushClient(
            context,
            partial(build_log_poster, services, context, now=now, sleep=sleep),
            partial(build_gallery_poster, services, now=now, sleep=sleep),
            sync_file=settings.data.dir / "commands.json",
            guilds=settings.discord.guilds,
            guild_ready_timeout=guild_ready_timeout,
            observe_ack=metrics.observe_ack_latency,
            on_rate_limit=metrics.count_rate_limit,
        )
        transport = DiscordDelivery(client)
        status_updater = StatusUpdater(client)
        services.observers.add(status_updater, metrics, *observers)
        availability.changed.connect(status_updater.refresh_queue)
        moderated.connect(status_updater.refresh_queue)
        status_found.connect(status_updater.refresh)

        image_check = build_image_check(services, context.reports)
        application = await stack.enter_async_context(
            open_scheduler(
                services, transport, image_check, on_delivered=retention.release_delivered
            )
        )
        access_changed.connect(partial(retry_refused, application.kept, status_updater))
        access_changed.connect(partial(retry_channel, client.log_poster))
        access_changed.connect(partial(retry_channel, client.gallery_poster))
        url = await stack.enter_async_context(
            serve_metrics(
                metrics,
                settings.metrics.address,
                readiness=partial(_readiness, application, client),
                refresh=partial(_refresh, application, metrics),
            )
        )
        updating = asyncio.get_running_loop().create_task(
            keep_running("updating status messages", partial(_update, status_updater)),
            name="status messages",
        )
        stack.push_async_callback(cancel_and_wait, updating)
        yield Runtime(
            application=application,
            client=client,
            status_updater=status_updater,
            transport=transport,
            updater_task=updating,
            metrics=metrics,
            retention=retention,
            metrics_url=url,
            pictures_url=pictures_url,
        )


def build_context(
    services: Services,
    *,
    entropy: Callable[[int], bytes],
    notice: Callable[[], str],
    opened: Callable[[int, int], None],
    status_found: Callable[[Job], None],
    links: PictureLinks | None,
    removed: Callable[[], None],
) -> BotContext:
    """Return what commands and components work with."""
    settings, database, now = services.settings, services.database, services.now
    renditions = RenditionCache(services.results)
    return BotContext(
        queue=services.queue,
        limits=services.limits,
        fetcher=services.results,
        messages=MessageStore(database, now=now),
        renditions=renditions,
        quotas=QuotaService(database, settings.default_quota(), now=now),
        moderation=services.moderation,
        privacy=PrivacyService(
            database,
            services.results.folder,
            forget=services.backend.delete_job_data,
            pictures=services.init_images,
            now=now,
        ),
        reports=build_reports(services, renditions, removed=removed),
        gallery=GalleryService(database, now=now),
        image_check_problem=lambda: services.detector.problem if services.detector else "",
        init_images=services.init_images,
        picture_check=build_picture_check(services),
        links=links,
        sets=RequestSets(database, services.queue, now=now),
        now=now,
        entropy=entropy,
        moderator_role=settings.discord.moderator_role,
        rows=settings.delivery.rows,
        upscaling=services.templates.upscale is not None,
        vary_subtle=settings.imagine.vary_subtle,
        vary_strong=settings.imagine.vary_strong,
        notice=notice,
        opened=opened,
        status_found=status_found,
    )


def build_log_poster(
    services: Services,
    context: BotContext,
    client: ContextClient,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> LogPoster:
    """Return what posts in the servers' log channels."""
    channel = DiscordLogChannel(client, context.reports.picture_path)
    return LogPoster(services.database, channel, now=now, sleep=sleep)


def build_gallery_poster(
    services: Services,
    client: ContextClient,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> GalleryPoster:
    """Return what posts in the servers' galleries."""
    return GalleryPoster(services.database, DiscordGallery(client), now=now, sleep=sleep)


def retry_refused(
    kept: KeptResults, status_updater: StatusUpdater, guild_id: int, author_id: int
) -> None:
    """Try again what Discord refused in this server and for this member; 0 is any.

    Status messages are tried again unless it is only a member who became active.
    """
    kept.retry_now(guild_id=guild_id, author_id=author_id)
    if not author_id:
        status_updater.retry_blocked()


def retry_channel(poster: ChannelPoster, guild_id: int, author_id: int) -> None:
    """Try a server's log channel or gallery again, unless only a member became active."""
    if not author_id:
        poster.retry_now(guild_id)


async def _update(status_updater: StatusUpdater) -> None:
    status_updater.refresh_queue()  # whatever an interrupted run was writing is written again
    await status_updater.run()


async def run_until_stopped(
    settings: Settings,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[Runtime], None] = lambda _service: None,
    observers: Iterable[JobObserver] = (),
    guild_ready_timeout: float = 2.0,
    standby: bool = False,
) -> None:
    """Run until ``stop`` is set, then drain. Raises ConfigError.

    Only one bot may run on a data folder: with ``standby`` this one waits for its turn, otherwise
    FolderInUse, a ConfigError, is raised. A bot that has run before waits for a full disk or a
    locked database, as it would while running.
    """

    async def start(opened: AsyncExitStack) -> Runtime | None:
        if not await hold_folder(settings.data.dir, opened, stop if standby else None):
            return None
        return await opened.enter_async_context(
            open_runtime(settings, observers=observers, guild_ready_timeout=guild_ready_timeout)
        )

    async with AsyncExitStack() as stack:
        service = await start_when_possible(start, stack, settings.data.dir / DATABASE, stop)
        if service is None:
            return
        client = service.client
        token = settings.discord.token.get_secret_value()
        connected = asyncio.create_task(run_client(client, token), name="discord")
        working = asyncio.create_task(_work(service, on_ready), name="work")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        backups = asyncio.create_task(
            keep_running("backing up", lambda: _back_up(service)), name="backups"
        )
        damaged = service.application.database.damaged
        try:
            endings: list[asyncio.Future[Any]] = [connected, working, stopping, damaged]
            done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await _drain(service)
        finally:
            for task in (stopping, working, backups):
                await cancel_and_wait(task)
            await service.shut_down_delivery()
            await cancel_and_wait(connected)


async def _back_up(service: Runtime) -> None:
    """Make scheduled backups once the bot is signed in."""
    await service.client.signed_in.wait()
    data = service.application.settings.data
    await ScheduledBackups(
        data.dir,
        every=data.backup_every,
        keep=data.backup_keep,
        now=utc_now,
        on_made=service.metrics.backed_up,
        on_failed=service.metrics.backup_failed,
    ).run()


async def _work(service: Runtime, on_ready: Callable[[Runtime], None]) -> None:
    """Resume what was interrupted once signed in, then run the scheduler for ever."""
    await service.client.signed_in.wait()
    application = service.application
    # First: what Discord already shows must not be made again.
    await keep_running(
        "settling restored posts", lambda: settle_posted(application, service.transport)
    )
    # Before the jobs: a result may replace a status message that is found now.
    await keep_running("resuming first responses", lambda: first_response.resume(service.client))
    # Before the scheduler: it must know the running jobs, or too many would run.
    await keep_running("resuming jobs", application.scheduler.resume_jobs)

    async def schedule() -> None:
        application.scheduler.wake()  # an earlier run may have been interrupted halfway
        await application.scheduler.run()

    on_ready(service)
    await asyncio.gather(
        keep_running("resuming settlements", application.budget.recover),
        keep_running("looking at drained servers", application.drains.recover),
        keep_running("resuming status messages", service.status_updater.resume),
        keep_running("resuming row uploads", service.transport.resume_pending_rows),
        keep_running("delivering kept results", application.kept.run),
        keep_running("posting in log channels", service.client.log_poster.run),
        keep_running("posting in galleries", service.client.gallery_poster.run),
        keep_running("checking gallery posts", service.client.gallery_poster.run_checks),
        keep_running("removing results", lambda: run_removals(service.client)),
        keep_running("removing pictures", service.retention.run),
        keep_running("deleting old evidence", service.client.context.reports.run_cleanup),
        keep_running("starting the image check", lambda: _start_image_check(application)),
        keep_running("deleting old questions", service.client.context.sets.run_cleanup),
        keep_running("scheduling", schedule),
    )


async def _start_image_check(application: Application) -> None:
    """Load the model before it is needed; if that fails, the log and `status` say so."""
    try:
        if application.detector is not None:
            await application.detector.start()
    except ImageCheckFailed as error:
        log.error("the image check does not work, so every result is held: %s", error)


async def _drain(service: Runtime) -> None:
    """Start nothing new and wait briefly for running jobs to be delivered."""
    log.info("stopping: no new job starts; running jobs continue at their backend")
    service.application.scheduler.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await service.application.scheduler.idle()


async def _readiness(application: Application, client: GridbrushClient) -> dict[str, bool | str]:
    cause = await _within(READINESS_TIMEOUT_S, application.database.probe())
    parts: dict[str, bool | str] = {"discord": client.is_ready(), "database": not cause}
    parts["backend"] = not application.breaker.open
    return parts | {"cause": cause} if cause else parts


async def _refresh(application: Application, metrics: Metrics) -> None:
    async def count() -> None:
        waiting = await application.queue.jobs.waiting()
        metrics.set_queue_depth(waiting=len(waiting), running=application.scheduler.running)

    # Without the store the other metrics are still useful.
    await _within(READINESS_TIMEOUT_S, count())


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> str:
    """Await ``work`` within ``seconds``; return why that failed, or ""."""
    try:
        # The second timeout is for a disk that hangs: then not even one attempt ends.
        with waits_limited(seconds):
            async with asyncio.timeout(2 * seconds):
                await work
    except StoreUnavailable as fault:
        return fault.cause
    except StoreDamaged as fault:
        return fault.problem
    except TimeoutError:
        return "the disk does not respond"
    return ""


async def check_discord(settings: Settings) -> list[CheckResult]:
    """Check the token, the invitation and the permissions of the configured servers' channels."""
    discord = settings.discord
    with discord_endpoints(discord.api_base, discord.gateway_url):
        return await run_checks(discord.token.get_secret_value(), discord.guilds)
