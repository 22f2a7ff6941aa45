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

from bot.app import DATABASE, Engine, make_folder, open_engine, utc_now
from bot.backups import ScheduledBackups
from bot.domain.errors import StoreDamaged, StoreUnavailable
from bot.domain.findings import Finding
from bot.engine.allowances import Allowances
from bot.engine.posts import Posts
from bot.engine.prints import Prints
from bot.engine.privacy import Privacy
from bot.engine.reporting import Reporter
from bot.engine.supervision import keep_running
from bot.metrics import Metrics, serve
from bot.permissions import private_umask
from bot.restoring import settle_posted
from bot.settings import Settings
from bot.store.holding import hold_store
from bot.store.lock import FolderInUse, bot_lock, holder
from bot.store.waiting import waits_limited
from bot.surface import first_answers
from bot.surface.client import GridbrushClient
from bot.surface.connection import aimed_at, run_client
from bot.surface.courier import DiscordCourier
from bot.surface.desk import Desk
from bot.surface.inspection import inspect
from bot.surface.reporter import DiscordReporter

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
STANDBY_SECONDS = 0.5
READY_SECONDS = 1.0
STORE_AWAY = (
    "The bot cannot save anything at the moment: {cause}. Nothing is lost, and all goes on by "
    "itself."
)
AWAY = "The machines are away at the moment; nothing is lost, and all goes on when they are back."


@dataclass(frozen=True, slots=True)
class Service:
    """A running bot; ``metrics_url`` is empty when metrics are switched off."""

    engine: Engine
    client: GridbrushClient
    cards: DiscordReporter
    courier: DiscordCourier
    writing: asyncio.Task[None]
    metrics: Metrics
    metrics_url: str

    async def hush(self) -> None:
        """Finish what is being posted and write no more; while Discord can still be reached."""
        # A delivery that went on without its connection would be taken for one that failed.
        await self.engine.dispatcher.aclose()
        await self.courier.aclose()
        await self.client.desk.settling.aclose()
        await _stop(self.writing)


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    reporters: Iterable[Reporter] = (),
    now: Callable[[], datetime] = utc_now,
    entropy: Callable[[int], bytes] = os.urandom,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    guild_ready_timeout: float = 2.0,
) -> AsyncIterator[Service]:
    """Wire everything; nothing talks to Discord yet. Raises ConfigError."""
    async with AsyncExitStack() as stack:
        stack.enter_context(aimed_at(settings.discord.api_base, settings.discord.gateway_url))
        metrics = Metrics(now=now)
        client = GridbrushClient(
            registered=settings.data.dir / "commands.json",
            guilds=settings.discord.guilds,
            guild_ready_timeout=guild_ready_timeout,
            acknowledged=metrics.acknowledged,
            limited=metrics.rate_limited,
        )
        courier = DiscordCourier(client)
        cards = DiscordReporter(client)

        def circuit_changed(away: bool, detail: str) -> None:
            metrics.circuit_changed(away, detail)
            if settings.queue.when_paused == "refuse":
                engine.queue.door.closed_because = f"{AWAY} Try again later." if away else ""
            cards.line_changed()

        def store_changed(cause: str) -> None:
            metrics.store_changed(cause)
            cards.line_changed()

        def notice() -> str:
            away = AWAY if engine.circuit.open else ""
            cause = engine.database.unavailable
            return " ".join(filter(None, (STORE_AWAY.format(cause=cause) if cause else "", away)))

        engine = await stack.enter_async_context(
            open_engine(
                settings,
                courier=courier,
                reporters=[cards, metrics, *reporters],
                now=now,
                entropy=entropy,
                sleep=sleep,
                on_circuit=circuit_changed,
                on_settled=metrics.settled,
                on_store=store_changed,
            )
        )

        def opened(guild_id: int, author_id: int) -> None:
            engine.kept.opened(guild_id=guild_id, author_id=author_id)
            if not author_id:
                cards.reopen()

        client.desk = Desk(
            queue=engine.queue,
            limits=engine.limits,
            collector=engine.collector,
            posts=Posts(engine.database, now=now),
            prints=Prints(engine.collector),
            allowances=Allowances(engine.database, settings.default_quota(), now=now),
            privacy=Privacy(
                engine.database, engine.collector.folder, forget=engine.backend.forget, now=now
            ),
            now=now,
            entropy=entropy,
            moderator_role=settings.discord.moderator_role,
            rows=settings.delivery.rows,
            upscaling=engine.menu.upscale is not None,
            notice=notice,
            opened=opened,
        )
        client.desk.settling.on_card = cards.take_up
        url = await stack.enter_async_context(
            serve(
                metrics,
                settings.metrics.address,
                readiness=lambda: _readiness(engine, client),
                refresh=lambda: _refresh(engine, metrics),
            )
        )

        async def write_cards() -> None:
            cards.line_changed()  # what was being written when it broke off is written anew
            await cards.run()

        writing = asyncio.get_running_loop().create_task(
            keep_running("writing cards", write_cards), name="cards"
        )
        stack.push_async_callback(_stop, writing)
        yield Service(engine, client, cards, courier, writing, metrics, url)


def store_holder(settings: Settings) -> Callable[[float], Awaitable[None]]:
    """Return what keeps this bot's store from being written for so many seconds."""
    return partial(hold_store, settings.data.dir / DATABASE)


async def run_service(
    settings: Settings,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[Service], None] = lambda _service: None,
    reporters: Iterable[Reporter] = (),
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
            open_service(settings, reporters=reporters, guild_ready_timeout=guild_ready_timeout)
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
            await service.hush()
            await _stop(connected)


async def _hold_folder(folder: Path, stack: AsyncExitStack, stop: asyncio.Event | None) -> bool:
    """Hold the data folder for as long as ``stack``; with ``stop`` wait until that can be.

    False if the wait was stopped. Raises FolderInUse if there is none to be done.
    """
    told = False
    with private_umask():
        await asyncio.to_thread(make_folder, folder)
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


async def _back_up(service: Service) -> None:
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


async def _work(service: Service, on_ready: Callable[[Service], None]) -> None:
    """Once signed in, take up what was interrupted, then dispatch for ever."""
    await service.client.signed_in.wait()
    engine = service.engine
    # First of all: what Discord shows already must not be made again.
    await keep_running("settling posts", lambda: settle_posted(engine, service.courier))
    # Before the jobs: a result that is due becomes its card, if that is still found.
    await keep_running("taking up first answers", lambda: first_answers.resume(service.client))
    # Were the line dispatched before its running jobs are known, too many would run.
    await keep_running("taking up jobs", engine.dispatcher.recover)

    async def dispatch() -> None:
        engine.dispatcher.wake()  # it may have broken off in the middle of a look
        await engine.dispatcher.run()

    on_ready(service)
    await asyncio.gather(
        keep_running("taking up settlements", engine.purse.recover),
        keep_running("taking up cards", service.cards.resume),
        keep_running("taking up rows", service.courier.resume),
        keep_running("delivering what was kept", engine.kept.run),
        keep_running("dispatching", dispatch),
    )


async def _drain(service: Service) -> None:
    """What runs gets a moment to be delivered."""
    log.info("stopping: nothing new starts; running jobs go on at their backend")
    service.engine.dispatcher.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await service.engine.dispatcher.idle()


async def _readiness(engine: Engine, client: GridbrushClient) -> dict[str, bool | str]:
    cause = await _within(READY_SECONDS, engine.database.try_out())
    parts: dict[str, bool | str] = {
        "discord": client.is_ready(),
        "database": not cause,
        "backend": not engine.circuit.open,
    }
    return parts | {"cause": cause} if cause else parts


async def _refresh(engine: Engine, metrics: Metrics) -> None:
    async def count() -> None:
        waiting = await engine.queue.jobs.waiting()
        metrics.line(waiting=len(waiting), running=engine.dispatcher.running)

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


async def examine_discord(settings: Settings) -> list[Finding]:
    """Check the token, the invitation and the permissions of the configured servers' channels."""
    discord = settings.discord
    with aimed_at(discord.api_base, discord.gateway_url):
        return await inspect(discord.token.get_secret_value(), discord.guilds)
