"""The bot as it is run: its own client with all commands, wired to an engine by ``open_engine``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from discord.http import Route

from bot.bootstrap import (
    Application,
    Services,
    build_reports,
    open_scheduler,
    open_services,
)
from bot.concurrency import Signal
from bot.domain.job import Job
from bot.frontend.client import GridbrushClient
from bot.frontend.context import BotContext
from bot.frontend.delivery import DiscordDelivery
from bot.frontend.edit_schedule import EditSchedule
from bot.frontend.gateway import discord_endpoints, run_client
from bot.frontend.result_removal import run_removals
from bot.frontend.status_updater import StatusUpdater
from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.runtime import build_gallery_poster, build_log_poster
from bot.services.delivery import MessageStore
from bot.services.gallery import GalleryService
from bot.services.pictures import PictureLinks
from bot.services.privacy import PrivacyService
from bot.services.quotas import QuotaService
from bot.services.renditions import RenditionCache
from bot.services.request_sets import RequestSets
from bot.settings import Settings
from bot.startup import build_image_check, build_picture_check, open_picture_server
from tests.playground.clock import Clock


@dataclass(slots=True)
class Bot:
    """What a test may want to touch. Jobs only wait until ``dispatch`` lets them start."""

    playground: Playground
    clock: Clock
    client: GridbrushClient
    engine: Application
    observe_ack: list[float]
    connection: asyncio.Task[None]
    others: list[asyncio.Task[None]]

    @property
    def context(self) -> BotContext:
        return self.client.context

    def dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        self.others.append(loop.create_task(self.engine.scheduler.run()))
        self.engine.scheduler.wake()

    def member(self, name: str = "Ada") -> MemberDriver:
        return self.playground.as_member(name)

    async def ask(
        self, command: str, who: str = "Ada", channel: str = "imagine", **options: object
    ) -> Message:
        """Use a command and wait for the answer. A second passes first, so that ids differ."""
        self.clock.pass_time(seconds=1)
        return await (await self.member(who).slash(channel, command, **options)).answered()

    async def imagine(self, prompt: str, who: str = "Ada", channel: str = "imagine") -> Job:
        """Ask for a picture; the job as it was accepted."""
        self.clock.pass_time(seconds=1)
        asked = await self.member(who).slash(channel, "imagine", prompt=prompt)
        await asked.answered()
        return await self.job(asked)

    async def job(self, asked: Invocation) -> Job:
        job = await self.engine.queue.jobs.by_interaction(asked.id)
        assert job is not None
        return job

    async def finished(self, job: Job) -> Message:
        """Wait for a job's picture in its channel."""

        def found(_: object) -> Message | None:
            for message in self.playground.world.messages_in(job.request.place.channel_id):
                if message.attachments and job.id in str(message.controls()):
                    return message
            return None

        message = await self.playground.until(found)
        await self.engine.scheduler.idle()
        return message


def context_for(
    engine: Services,
    settings: Settings,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
    status_found: Callable[[Job], None],
    rows: str = "links",
    links: PictureLinks | None = None,
) -> BotContext:
    database = engine.database
    renditions = RenditionCache(engine.results)
    return BotContext(
        queue=engine.queue,
        limits=engine.limits,
        fetcher=engine.results,
        messages=MessageStore(database, now=clock),
        renditions=renditions,
        quotas=QuotaService(database, settings.default_quota(), now=clock),
        moderation=engine.moderation,
        privacy=PrivacyService(
            database,
            engine.results.folder,
            forget=engine.backend.delete_job_data,
            pictures=engine.init_images,
            now=clock,
        ),
        reports=build_reports(engine, renditions),
        gallery=GalleryService(database, now=clock),
        image_check_problem=lambda: engine.detector.problem if engine.detector else "",
        init_images=engine.init_images,
        picture_check=build_picture_check(engine),
        sets=RequestSets(database, engine.queue, now=clock),
        now=clock,
        entropy=os.urandom,
        moderator_role=settings.discord.moderator_role,
        rows=rows,
        links=links,
        sleep=sleep,
        status_found=status_found,
    )


async def blink(_seconds: float) -> None:
    """Wait a moment in place of the seconds between two looks at the store."""
    await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    playground: Playground,
    settings: Settings,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    *,
    rows: str = "links",
) -> AsyncIterator[Bot]:
    """The whole bot, connected until the block ends."""
    acknowledged: list[float] = []
    async with AsyncExitStack() as stack:
        moderated: Signal[[]] = Signal()
        services = await stack.enter_async_context(
            open_services(settings, now=clock, on_moderation=moderated)
        )
        status_found: Signal[Job] = Signal()
        _, links = await stack.enter_async_context(
            open_picture_server(
                services, entropy=os.urandom, on_served=lambda _status, _bytes: None
            )
        )
        context = context_for(services, settings, clock, sleep, status_found, rows, links)
        client = GridbrushClient(
            context,
            partial(build_log_poster, services, context, now=clock, sleep=blink),
            partial(build_gallery_poster, services, now=clock, sleep=blink),
            sync_file=settings.data.dir / "commands.json",
            guilds=settings.discord.guilds,
            observe_ack=acknowledged.append,
            guild_ready_timeout=0.05,
        )
        transport = DiscordDelivery(client)
        observer = StatusUpdater(
            client,
            schedule=EditSchedule(min_interval_s=0.0, max_edits_per_s=1000.0),
            queue_check_s=0.01,
        )
        services.observers.add(observer)
        status_found.connect(observer.refresh)
        moderated.connect(observer.refresh_queue)
        image_check = build_image_check(services, context.reports)
        engine = await stack.enter_async_context(open_scheduler(services, transport, image_check))
        with discord_endpoints(playground.api_base, playground.gateway_url):
            assert not Route.BASE.startswith("https://discord.com")
            connection = asyncio.create_task(run_client(client, playground.token))
            others = [
                asyncio.create_task(observer.run()),
                asyncio.create_task(client.log_poster.run()),
                asyncio.create_task(run_removals(client, sleep=blink)),
                asyncio.create_task(client.gallery_poster.run()),
            ]
            try:
                online = asyncio.create_task(playground.online())
                await asyncio.wait({online, connection}, return_when=asyncio.FIRST_COMPLETED)
                if connection.done():
                    online.cancel()
                    await connection
                await client.wait_until_ready()
                yield Bot(playground, clock, client, engine, acknowledged, connection, others)
            finally:
                # A component that was acknowledged may still be at work in the library's task.
                names = ((task.get_name(), task) for task in asyncio.all_tasks())
                if handling := [task for name, task in names if name.startswith("discord-ui-")]:
                    await asyncio.wait(handling, timeout=2.0)
                await transport.aclose()
                await client.context.status_tasks.aclose()
                tasks = [*others, connection]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def said(message: Message) -> str:
    """Everything that a message says, its embeds included."""
    parts = [message.content]
    for embed in message.embeds:
        parts += [embed.get("title", ""), embed.get("description", "")]
        parts += [f"{field['name']}: {field['value']}" for field in embed.get("fields", ())]
    return "\n".join(parts)
