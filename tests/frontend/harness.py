"""The whole bot on a stage: a real client in a playground, the real engine, a backend on cue."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.backends.base import LifecycleEvent, LogLine, Submission
from bot.backends.scripted import Recording, ScriptedBackend, synthetic_recording
from bot.bootstrap import load_templates
from bot.concurrency import Signal
from bot.domain.errors import RequestError, Unavailable
from bot.domain.events import BackendJobRef, Cancelled, Redelivered
from bot.domain.job import Job, JobState
from bot.domain.quota import Quota
from bot.domain.request import Request, RequestLimits
from bot.frontend.commands.imagine import handle_prompt_form
from bot.frontend.component_handlers import DYNAMIC_ITEMS, refuse_unknown
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.delivery import ROWS_SECONDS, DiscordDelivery
from bot.frontend.edit_schedule import EditSchedule
from bot.frontend.first_response import answer_accepted
from bot.frontend.gallery_channel import DiscordGallery
from bot.frontend.log_channel import DiscordLogChannel
from bot.frontend.responses import with_error_response
from bot.frontend.status_updater import EDIT_SECONDS, StatusUpdater
from bot.frontend.submission import submit_request
from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.runtime import retry_refused
from bot.services.budget import BudgetLimits, BudgetService
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.delivery import ATTEMPT_TIMEOUT_S, DeliveryService, MessageStore
from bot.services.gallery import GalleryPoster, GalleryService
from bot.services.image_check import PictureCheck
from bot.services.init_images import InitImageStore
from bot.services.lifecycle import CompositeObserver, JobLifecycle
from bot.services.moderation import ModerationService
from bot.services.moderation_poster import LogPoster
from bot.services.privacy import PrivacyService
from bot.services.queue import Actor, JobQueue, QueueLimits
from bot.services.quotas import QuotaService
from bot.services.redelivery import KeptResults
from bot.services.rendering import WorkflowRenderer
from bot.services.renditions import RenditionCache
from bot.services.reports import ReportService
from bot.services.request_sets import RequestSets
from bot.services.results import ResultFetcher
from bot.services.scheduler import Scheduler
from bot.services.worker import JobWorker
from bot.settings import Settings
from bot.store.database import Database
from tests.playground.bots import pointed_at
from tests.playground.clock import Clock

QUOTA_IMAGES = 40
TIMEOUTS = 0.5
LIMITS = RequestLimits(
    rows=2, samples=2, width=64, height=64, steps=4, max_pixels=128 * 128, max_rows=8, max_samples=4
)


class Backend(ScriptedBackend):
    """Replays at once, but holds its breath before lines it was told to wait with."""

    def __init__(self, root: Path, recording: Callable[[Submission], Recording]) -> None:
        super().__init__(root, recording=recording, speed=0)
        self._gates: list[tuple[str, asyncio.Event]] = []
        self._stopped: set[str] = set()
        self.deaf = False

    def hold(self, fragment: str) -> asyncio.Event:
        """Keep back every line that holds this, until the event is set."""
        gate = asyncio.Event()
        self._gates.append((fragment, gate))
        return gate

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        async for item in super().follow(handle, cursor):
            text = item.data.decode() if isinstance(item, LogLine) else ""
            for fragment, gate in self._gates:
                if fragment in text:
                    await gate.wait()
            if handle.id in self._stopped:
                yield Cancelled(0)
                return
            yield item

    async def cancel(self, handle: BackendJobRef) -> None:
        if self.deaf:
            raise Unavailable("nobody listens")
        # A replay without waiting is over, by its clock, as soon as it was taken.
        self._stopped.add(handle.id)
        for _, gate in self._gates:
            gate.set()


class Hurry:
    """A clock that jumps ahead whenever somebody wants to sleep."""

    def __init__(self) -> None:
        self._at = 0.0

    def clock(self) -> float:
        return self._at

    async def sleep(self, seconds: float) -> None:
        self._at += seconds
        await asyncio.sleep(min(seconds, 0.05))  # but long enough for Discord to answer


class Naps:
    """Stands in for ``asyncio.sleep``: hours pass in no time, and are written down."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0.005)  # but long enough for Discord to answer


class HarnessClient(ContextClient):
    """Nothing but ``/imagine`` with flags, the buttons and the form."""

    def __init__(
        self,
        context: BotContext,
        build_log_poster: Callable[[ContextClient], LogPoster],
        build_gallery_poster: Callable[[ContextClient], GalleryPoster],
    ) -> None:
        super().__init__(
            context,
            build_log_poster,
            build_gallery_poster,
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            guild_ready_timeout=0.05,
        )
        self.tree: app_commands.CommandTree[HarnessClient] = app_commands.CommandTree(self)

        async def imagine(interaction: discord.Interaction[HarnessClient], prompt: str) -> None:
            async def submit(interaction: discord.Interaction[Any]) -> None:
                accepted = await submit_request(interaction, lambda make: make.parse(prompt))
                await answer_accepted(interaction, accepted)

            await with_error_response(interaction, submit)

        command: app_commands.Command[Any, ..., None] = app_commands.Command(
            name="imagine", description="Paint", callback=imagine
        )
        self.tree.add_command(command)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(*DYNAMIC_ITEMS)
        await self.tree.sync()

    async def on_interaction(self, interaction: discord.Interaction[discord.Client]) -> None:
        self.context.opened(0, interaction.user.id)
        if not await handle_prompt_form(interaction):
            await refuse_unknown(interaction, DYNAMIC_ITEMS)


@dataclass(slots=True)
class Harness:
    """Everything a test may want to touch."""

    playground: Playground
    clock: Clock
    client: HarnessClient
    backend: Backend
    database: Database
    queue: JobQueue
    messages: MessageStore
    scheduler: Scheduler
    delivery: DeliveryService
    fetcher: ResultFetcher
    lifecycle: JobLifecycle
    observer: StatusUpdater
    transport: DiscordDelivery
    kept: KeptResults

    def member(self, name: str = "Ada") -> MemberDriver:
        return self.playground.as_member(name)

    async def imagine(self, prompt: str = "a lighthouse", who: str = "Ada") -> Invocation:
        """Ask, and wait for the card."""
        asked = await self.member(who).slash("imagine", "imagine", prompt=prompt)
        await asked.answered()
        return asked

    async def job(self, asked: Invocation) -> Job:
        """The job that a command or press has made."""
        job = await self.queue.jobs.by_interaction(asked.id)
        assert job is not None
        return job

    async def ended(self, asked: Invocation) -> Job:
        """The job, once nothing runs any more."""
        await self.scheduler.idle()
        return await self.job(asked)

    async def reached(self, asked: Invocation, state: JobState) -> Job:
        """The job, as soon as it is in a state."""
        job = await self.job(asked)
        async for _ in turns():
            job = await self.job(asked)
            if job.state is state:
                return job
        raise AssertionError(f"the job is {job.state}")

    async def forgotten(self) -> None:
        """Wait until the reporter keeps no card in mind."""
        async for _ in turns():
            if not self.observer.tracked_count:
                return
        raise AssertionError("the reporter still follows a card")

    async def shows(self, asked: Invocation, words: str) -> Message:
        """Wait until the answer to a command says this."""

        def found(_: object) -> Message | None:
            message = asked.response
            return message if message is not None and words in message.text else None

        return await self.playground.until(found)

    async def posted(self, words: str, channel: str = "imagine") -> Message:
        """Wait until somebody has posted this in a channel."""

        def found(_: object) -> Message | None:
            for message in self.playground.world.messages_in(channel):
                if words in message.text:
                    return message
            return None

        return await self.playground.until(found)

    async def result(self, prompt: str = "a lighthouse", who: str = "Ada") -> Message:
        """Ask, and wait for the picture."""
        asked = await self.imagine(prompt, who)
        return await self.shows(asked, "Done")


async def turns(seconds: float = 10.0) -> AsyncIterator[None]:
    """Let others have their turn, again and again, but not for ever."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        # Not 0: a loop that never rests keeps threads from their turn, 5 ms for each call.
        await asyncio.sleep(0.002)
        yield


def stock(submission: Submission) -> Recording:
    """What the stock workflow says; a prompt can ask for a failing row."""
    env = {variable.key: variable.value for variable in submission.workflow.env}
    words = " ".join(env.values())
    failing = frozenset({2}) if "breaks" in words else frozenset[int]()
    if "hopeless" in words:
        failing = frozenset(range(1, int(env["ROWS"]) + 1))
    return synthetic_recording(submission.workflow, failing=failing)


@asynccontextmanager
async def open_harness(
    playground: Playground,
    folder: Path,
    clock: Clock,
    *,
    rows: str = "links",
    slots: int = 2,
    pace: EditSchedule | None = None,
    limits: RequestLimits = LIMITS,
    hurry: bool = False,
    naps: Naps | None = None,
    upscaling: bool = True,
    forbidden: str = "",
    notice: Callable[[], str] = lambda: "",
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Harness]:
    """Raise the curtain: signed in, nothing dispatched by anybody but the dispatcher.

    ``hurry``: the reporter waits for nothing but Discord's answers. ``naps``: nor does a delivery,
    and no answer takes longer than PATIENCE.
    """
    templates = await asyncio.to_thread(load_templates, Settings())
    quota = Quota(images=QUOTA_IMAGES, window=timedelta(days=1), running=1, waiting=5)
    async with AsyncExitStack() as stack:
        database = await Database.open(folder / "gridbrush.sqlite3", now=clock)
        stack.push_async_callback(database.aclose)
        backend = Backend(folder / "scripted", stock)
        observers = CompositeObserver()
        lifecycle = JobLifecycle(database, observers, now=clock)
        breaker = CircuitBreaker(backend.health)
        fetcher = ResultFetcher(backend, folder / "jobs", now=clock)
        wakeup = asyncio.Event()

        async def stop(job: Job) -> None:
            if job.handle is not None:
                await backend.cancel(job.handle)

        queue = JobQueue(
            database,
            lifecycle,
            QueueLimits(slots, 100, quota),
            now=clock,
            entropy=os.urandom,
            wake=wakeup.set,
            stop=stop,
        )

        async def check(request: Request, member: Actor) -> None:
            if forbidden and forbidden in request.prompt:
                raise RequestError("Not that word, please.")

        messages = MessageStore(database, now=clock)
        access_changed: Signal[int, int] = Signal()
        status_found: Signal[Job] = Signal()
        renditions = RenditionCache(fetcher)
        moderation = ModerationService(database, lifecycle, queue, now=clock, wake=wakeup.set)
        init_images = InitImageStore(folder / "inputs", database)
        context = BotContext(
            queue=queue,
            limits=replace(limits, negative=True, styles=dict(templates.styles)),
            fetcher=fetcher,
            messages=messages,
            renditions=renditions,
            quotas=QuotaService(database, quota, now=clock),
            privacy=PrivacyService(
                database,
                fetcher.folder,
                forget=backend.delete_job_data,
                pictures=init_images,
                now=clock,
            ),
            init_images=init_images,
            picture_check=PictureCheck(database, None, action="allow", thresholds={}),
            moderation=moderation,
            reports=ReportService(
                database,
                moderation,
                renditions,
                folder / "evidence",
                default=quota,
                keep=timedelta(days=90),
                now=clock,
            ),
            gallery=GalleryService(database, now=clock),
            sets=RequestSets(database, queue, now=clock),
            now=clock,
            entropy=os.urandom,
            rows=rows,
            upscaling=upscaling,
            checks=(check,),
            notice=notice,
            sleep=sleep,
            opened=access_changed,
            status_found=status_found,
        )
        client = HarnessClient(
            context,
            lambda client: LogPoster(
                database, DiscordLogChannel(client, context.reports.picture_path), now=clock
            ),
            lambda client: GalleryPoster(database, DiscordGallery(client), now=clock),
        )
        hours = Hurry()
        observer = StatusUpdater(
            client,
            schedule=pace or EditSchedule(min_interval_s=0.0, max_edits_per_s=1000.0),
            queue_check_s=0.01,
            clock=hours.clock if hurry or naps else time.monotonic,
            sleep=hours.sleep if hurry or naps else asyncio.sleep,
            edit_seconds=TIMEOUTS if naps else EDIT_SECONDS,
        )
        status_found.connect(observer.refresh)
        nap = naps or asyncio.sleep
        transport = DiscordDelivery(
            client, sleep=nap, rows_seconds=TIMEOUTS if naps else ROWS_SECONDS
        )
        delivery = DeliveryService(
            database,
            transport,
            now=clock,
            sleep=nap,
            attempt_seconds=TIMEOUTS if naps else ATTEMPT_TIMEOUT_S,
        )

        async def redeliver(job: Job) -> Job:
            done = await delivery.deliver(job, fetcher.result(job), again=True)
            return await lifecycle.apply_event(job, Redelivered(done.method, done.message))

        years = Hurry()
        kept = KeptResults(database, redeliver, now=clock, clock=years.clock, sleep=years.sleep)
        observers.add(observer, kept)
        access_changed.connect(partial(retry_refused, kept, observer))
        budget = BudgetService(
            database, backend, BudgetLimits(total=None, per_server=None), now=clock
        )
        stack.push_async_callback(budget.aclose)
        worker = JobWorker(
            lifecycle=lifecycle,
            backend=backend,
            renderer=WorkflowRenderer(queue.jobs, backend, templates, init_images),
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
            slots=slots,
            per_user=1,
            now=clock,
            wakeup=wakeup,
        )
        stack.push_async_callback(scheduler.aclose)
        stack.push_async_callback(transport.aclose)
        with pointed_at(playground):
            tasks = [
                asyncio.create_task(client.start(playground.token)),
                asyncio.create_task(observer.run()),
                asyncio.create_task(scheduler.run()),
            ]
            try:
                await playground.online()
                await client.wait_until_ready()
                yield Harness(
                    playground,
                    clock,
                    client,
                    backend,
                    database,
                    queue,
                    messages,
                    scheduler,
                    delivery,
                    fetcher,
                    lifecycle,
                    observer,
                    transport,
                    kept,
                )
            finally:
                await transport.aclose()
                await client.context.status_tasks.aclose()
                for task in tasks[1:]:
                    task.cancel()
                await client.close()
                await asyncio.gather(*tasks, return_exceptions=True)
