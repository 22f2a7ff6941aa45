"""The bot as a service: the engine with Discord in front of it, metrics beside it, and a way out.

The second half of the composition root. Starting is in an order that loses nothing: the engine is
opened, the client signs in, and only then are interrupted jobs taken up and the line dispatched.
Stopping lets nothing new start, gives what is being delivered a moment, and leaves the rest to run
at its backend, where the next start finds it. In between nothing ends it but the operator, a token
that Discord does not accept, or a damaged database: what breaks off is begun again.
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
from pathlib import Path
from typing import Any

from bot.backups import ScheduledBackups
from bot.bootstrap import DATABASE, Application, ensure_data_dir, open_application, utc_now
from bot.domain.checks import CheckResult
from bot.domain.errors import StoreDamaged, StoreUnavailable
from bot.file_modes import private_umask
from bot.frontend import first_response
from bot.frontend.checks import run_checks
from bot.frontend.client import GridbrushClient
from bot.frontend.context import BotContext
from bot.frontend.delivery import DiscordDelivery
from bot.frontend.gateway import discord_endpoints, run_client
from bot.frontend.status_updater import StatusUpdater
from bot.metrics import Metrics, serve_metrics
from bot.restore import settle_posted
from bot.services.delivery import MessageStore
from bot.services.lifecycle import JobObserver
from bot.services.privacy import PrivacyService
from bot.services.quotas import QuotaService
from bot.services.renditions import RenditionCache
from bot.services.supervision import keep_running
from bot.settings import Settings
from bot.store.holding import hold_store
from bot.store.lock import FolderInUse, bot_lock, holder
from bot.store.wait_limits import waits_limited

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
STANDBY_SECONDS = 0.5
READY_SECONDS = 1.0
STORE_AWAY = (
    "The bot cannot save anything at the moment: {cause}. Nothing is lost, and all goes on by "
    "itself."
)
BACKEND_UNAVAILABLE_NOTICE = (
    "The machines are away at the moment; nothing is lost, and all goes on when they are back."
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A running bot; ``metrics_url`` is empty when metrics are switched off."""

    engine: Application
    client: GridbrushClient
    status_updater: StatusUpdater
    transport: DiscordDelivery
    updater_task: asyncio.Task[None]
    metrics: Metrics
    metrics_url: str

    async def shut_down_delivery(self) -> None:
        """Finish what is being posted and write no more; while Discord can still be reached."""
        # A delivery that went on without its connection would be taken for one that failed.
        await self.engine.scheduler.aclose()
        await self.transport.aclose()
        await self.client.context.status_tasks.aclose()
        await _stop(self.updater_task)


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
    """Wire everything; nothing talks to Discord yet. Raises ConfigError."""
    async with AsyncExitStack() as stack:
        stack.enter_context(
            discord_endpoints(settings.discord.api_base, settings.discord.gateway_url)
        )
        metrics = Metrics(now=now)
        client = GridbrushClient(
            sync_file=settings.data.dir / "commands.json",
            guilds=settings.discord.guilds,
            guild_ready_timeout=guild_ready_timeout,
            observe_ack=metrics.observe_ack_latency,
            on_rate_limit=metrics.count_rate_limit,
        )
        transport = DiscordDelivery(client)
        cards = StatusUpdater(client)

        def breaker_changed(away: bool, detail: str) -> None:
            metrics.set_backend_unavailable(away, detail)
            if settings.queue.when_paused == "refuse":
                engine.queue.gate.closed_reason = (
                    f"{BACKEND_UNAVAILABLE_NOTICE} Try again later." if away else ""
                )
            cards.refresh_queue()

        def store_changed(cause: str) -> None:
            metrics.store_changed(cause)
            cards.refresh_queue()

        def notice() -> str:
            away = BACKEND_UNAVAILABLE_NOTICE if engine.breaker.open else ""
            cause = engine.database.unavailable
            return " ".join(filter(None, (STORE_AWAY.format(cause=cause) if cause else "", away)))

        engine = await stack.enter_async_context(
            open_application(
                settings,
                transport=transport,
                observers=[cards, metrics, *observers],
                now=now,
                entropy=entropy,
                sleep=sleep,
                on_breaker=breaker_changed,
                on_settled=metrics.observe_cost,
                on_store=store_changed,
            )
        )

        def opened(guild_id: int, author_id: int) -> None:
            engine.kept.opened(guild_id=guild_id, author_id=author_id)
            if not author_id:
                cards.retry_blocked()

        client.context = BotContext(
            queue=engine.queue,
            limits=engine.limits,
            fetcher=engine.results,
            messages=MessageStore(engine.database, now=now),
            renditions=RenditionCache(engine.results),
            quotas=QuotaService(engine.database, settings.default_quota(), now=now),
            privacy=PrivacyService(
                engine.database,
                engine.results.folder,
                forget=engine.backend.delete_job_data,
                now=now,
            ),
            now=now,
            entropy=entropy,
            moderator_role=settings.discord.moderator_role,
            rows=settings.delivery.rows,
            upscaling=engine.templates.upscale is not None,
            notice=notice,
            opened=opened,
        )
        client.context.status_tasks.on_found = cards.refresh
        url = await stack.enter_async_context(
            serve_metrics(
                metrics,
                settings.metrics.address,
                readiness=lambda: _readiness(engine, client),
                refresh=lambda: _refresh(engine, metrics),
            )
        )

        async def write_cards() -> None:
            cards.refresh_queue()  # what was being written when it broke off is written anew
            await cards.run()

        writing = asyncio.get_running_loop().create_task(
            keep_running("writing cards", write_cards), name="cards"
        )
        stack.push_async_callback(_stop, writing)
        yield Runtime(engine, client, cards, transport, writing, metrics, url)


def store_holder(settings: Settings) -> Callable[[float], Awaitable[None]]:
    """Return what keeps this bot's store from being written for so many seconds."""
    return partial(hold_store, settings.data.dir / DATABASE)


async def run_until_stopped(
    settings: Settings,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[Runtime], None] = lambda _service: None,
    observers: Iterable[JobObserver] = (),
    guild_ready_timeout: float = 2.0,
    standby: bool = False,
) -> None:
    """Run until ``stop`` is set, then drain. Raises ConfigError, the operator's to mend.

    Of several bots on one data folder one runs; with ``standby`` this one waits to be the next, and
    without it FolderInUse, a ConfigError, is raised.
    """
    async with AsyncExitStack() as stack:
        if not await _hold_folder(settings.data.dir, stack, stop if standby else None):
            return
        service = await stack.enter_async_context(
            open_runtime(settings, observers=observers, guild_ready_timeout=guild_ready_timeout)
        )
        client = service.client
        token = settings.discord.token.get_secret_value()
        connected = asyncio.create_task(run_client(client, token), name="discord")
        working = asyncio.create_task(_work(service, on_ready), name="work")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        backups = asyncio.create_task(
            keep_running("backing up", lambda: _back_up(service)), name="backups"
        )
        damaged = service.engine.database.damaged
        try:
            endings: list[asyncio.Future[Any]] = [connected, working, stopping, damaged]
            done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await _drain(service)
        finally:
            for task in (stopping, working, backups):
                await _stop(task)
            await service.shut_down_delivery()
            await _stop(connected)


async def _hold_folder(folder: Path, stack: AsyncExitStack, stop: asyncio.Event | None) -> bool:
    """Hold the data folder for as long as ``stack``; with ``stop`` wait until that can be.

    False if the wait was stopped. Raises FolderInUse if there is none to be done.
    """
    told = False
    with private_umask():
        await asyncio.to_thread(ensure_data_dir, folder)
        while True:
            try:
                stack.enter_context(bot_lock(folder, "gridbrush run", utc_now()))
            except FolderInUse:
                if stop is None:
                    raise
            else:
                if told:
                    log.warning("taking over: the other bot has ended")
                return True
            if not told:
                log.warning("standing by for the bot that runs (%s)", holder(folder))
                told = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STANDBY_SECONDS):
                    await stop.wait()
                return False


async def _back_up(service: Runtime) -> None:
    """Make backups on schedule, from the moment that the bot works."""
    await service.client.signed_in.wait()
    data = service.engine.settings.data
    await ScheduledBackups(
        data.dir,
        every=data.backup_every,
        keep=data.backup_keep,
        now=utc_now,
        on_made=service.metrics.backed_up,
        on_failed=service.metrics.backup_failed,
    ).run()


async def _work(service: Runtime, on_ready: Callable[[Runtime], None]) -> None:
    """Once signed in, take up what was interrupted, then dispatch for ever."""
    await service.client.signed_in.wait()
    engine = service.engine
    # First of all: what Discord shows already must not be made again.
    await keep_running("settling posts", lambda: settle_posted(engine, service.transport))
    # Before the jobs: a result that is due becomes its card, if that is still found.
    await keep_running("taking up first answers", lambda: first_response.resume(service.client))
    # Were the line dispatched before its running jobs are known, too many would run.
    await keep_running("taking up jobs", engine.scheduler.resume_jobs)

    async def dispatch() -> None:
        engine.scheduler.wake()  # it may have broken off in the middle of a look
        await engine.scheduler.run()

    on_ready(service)
    await asyncio.gather(
        keep_running("taking up settlements", engine.budget.recover),
        keep_running("taking up cards", service.status_updater.resume),
        keep_running("taking up rows", service.transport.resume_pending_rows),
        keep_running("delivering what was kept", engine.kept.run),
        keep_running("dispatching", dispatch),
    )


async def _drain(service: Runtime) -> None:
    """What runs gets a moment to be delivered."""
    log.info("stopping: nothing new starts; running jobs go on at their backend")
    service.engine.scheduler.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await service.engine.scheduler.idle()


async def _readiness(engine: Application, client: GridbrushClient) -> dict[str, bool | str]:
    cause = await _within(READY_SECONDS, engine.database.try_out())
    parts: dict[str, bool | str] = {
        "discord": client.is_ready(),
        "database": not cause,
        "backend": not engine.breaker.open,
    }
    return parts | {"cause": cause} if cause else parts


async def _refresh(engine: Application, metrics: Metrics) -> None:
    async def count() -> None:
        waiting = await engine.queue.jobs.waiting()
        metrics.set_queue_depth(waiting=len(waiting), running=engine.scheduler.running)

    # Without the store the other figures are still worth having.
    await _within(READY_SECONDS, count())


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> str:
    """Use the store within so many seconds; why that was not possible, or ""."""
    try:
        # The second limit is for a disk that hangs: then not even an attempt ends.
        with waits_limited(seconds):
            async with asyncio.timeout(2 * seconds):
                await work
    except StoreUnavailable as fault:
        return fault.cause
    except StoreDamaged as fault:
        return fault.problem
    except TimeoutError:
        return "the disk does not answer"
    return ""


async def _stop(task: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def check_discord(settings: Settings) -> list[CheckResult]:
    """Check the token, the invitation and the permissions of the configured servers' channels."""
    discord = settings.discord
    with discord_endpoints(discord.api_base, discord.gateway_url):
        return await run_checks(discord.token.get_secret_value(), discord.guilds)
