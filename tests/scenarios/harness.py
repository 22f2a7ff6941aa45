"""The whole bot as ``gridbrush run`` wires it, in this process, beside a playground.

``open_house`` opens ``bot.runtime`` with a clock of the test's own and connects the real client. At
the end of every scenario the ledger has to balance.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.backends.scripted import ScriptedBackend
from bot.domain.events import JobEvent, Scheduled
from bot.domain.job import Job, JobState
from bot.frontend import first_response
from bot.frontend.custom_ids import ComponentAction, CustomId
from bot.frontend.gateway import run_client
from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.rest.http import RecordedCall
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.restore import settle_posted
from bot.runtime import Runtime, open_runtime
from bot.settings import Settings
from bot.store.ledger import LedgerRepository
from tests.playground.clock import Clock


class Recorder:
    """A reporter: told right after each saved change, it remembers, and can hold a job there.

    Each change takes a moment of the clock, so that no two have the same time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seen: list[Job] = []
        self.starts: list[str] = []
        self._holds: list[tuple[type[JobEvent] | JobState, asyncio.Event]] = []
        self._stirred = asyncio.Event()

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Remember it, and wait where the scenario has put a hold."""
        self._clock.pass_time(milliseconds=10)
        self.seen.append(job)
        if isinstance(event, Scheduled):
            self.starts.append(job.id)
        self._stirred.set()
        for what, gate in self._holds:
            if job.state is what or (isinstance(what, type) and isinstance(event, what)):
                await gate.wait()

    def hold(self, what: type[JobEvent] | JobState) -> asyncio.Event:
        """Jobs stop at this event, or in this state, until the returned event is set."""
        gate = asyncio.Event()
        self._holds.append((what, gate))
        return gate

    async def reached(self, job_id: str, *states: JobState) -> Job:
        """Wait until the job is or was in one of these states; the job as it was then."""
        async with asyncio.timeout(20):
            while True:
                for job in self.seen:
                    if job.id == job_id and job.state in states:
                        return job
                self._stirred.clear()
                await self._stirred.wait()


async def _briefly(seconds: float) -> None:
    """Shorten the pauses between attempts to fetch a file."""
    await asyncio.sleep(min(seconds, 0.01))


@dataclass(slots=True)
class Harness:
    """A running bot, and everything a scenario may want to touch."""

    playground: Playground
    clock: Clock
    service: Runtime
    recorder: Recorder

    @property
    def backend(self) -> ScriptedBackend:
        """The machines, with their faults."""
        backend = self.service.application.backend
        assert isinstance(backend, ScriptedBackend)
        return backend

    def member(self, name: str = "Ada") -> MemberDriver:
        """Somebody at the keyboard."""
        return self.playground.as_member(name)

    async def imagine(
        self, prompt: str = "a fox in the snow", who: str = "Ada", **options: object
    ) -> Invocation:
        """Ask for a picture and wait for the card. A little time passes first."""
        self.clock.pass_time(milliseconds=50)
        asked = await self.member(who).slash("imagine", "imagine", prompt=prompt, **options)
        await asked.answered()
        return asked

    async def ask(
        self, command: str, who: str = "Ada", channel: str | int = "random", **options: object
    ) -> Message:
        """Use any other command and wait for its answer."""
        self.clock.pass_time(milliseconds=50)
        return await (await self.member(who).slash(channel, command, **options)).answered()

    async def job(self, asked: Invocation) -> Job:
        """The job that a command or press has made."""
        job = await self.service.application.queue.jobs.by_interaction(asked.id)
        assert job is not None
        return job

    async def jobs(self) -> list[Job]:
        """Every job of everybody's, the oldest first."""
        found: list[Job] = []
        for user_id in self.playground.world.users:
            found += await self.service.application.queue.jobs.history(user_id, limit=1000)
        return sorted(found, key=lambda job: job.created_at)

    async def reached(self, asked: Invocation, *states: JobState) -> Job:
        """The job, as it was when it reached one of these states."""
        return await self.recorder.reached((await self.job(asked)).id, *states)

    async def ended(self, asked: Invocation) -> Job:
        """The job, once it has ended."""
        return await self.reached(asked, *(state for state in JobState if state.terminal))

    def results(self, job: Job) -> list[Message]:
        """Every message, wherever it is, that shows this job's picture with its controls."""
        wanted = str(CustomId(ComponentAction.DETAILS, job.id))
        return [
            message
            for message in self.playground.world.messages.values()
            if message.attachments
            and any(control.get("custom_id") == wanted for control in message.controls())
        ]

    async def shows(self, asked: Invocation, words: str) -> Message:
        """Wait until the answer to a command says this."""

        def found(_: object) -> Message | None:
            message = asked.response
            return message if message is not None and words in message.text else None

        return await self.playground.until(found)

    def called(self, message: Message) -> list[int]:
        """Whom a message called when it was posted; edits call nobody."""
        (told,) = [
            call.reply["mentions"]
            for call in self.calls("POST", "/messages")
            if (call.reply or {}).get("id") == str(message.id)
        ]
        return [int(user["id"]) for user in told]

    def calls(self, method: str, ending: str) -> list[RecordedCall]:
        """The answered requests of the bot whose path ends so."""
        return [
            call
            for call in self.playground.requests
            if call.method == method and call.path.endswith(ending) and call.status is not None
        ]


def settings_for(playground: Playground, folder: Path, **sections: dict[str, Any]) -> Settings:
    """Small pictures, two slots and machines that need no time; ``sections`` change that."""
    plain: dict[str, dict[str, Any]] = {
        "discord": {
            "token": playground.token,
            "api_base": playground.api_base,
            "gateway_url": playground.gateway_url,
        },
        "data": {"dir": folder / "data"},
        "imagine": {"width": 64, "height": 64, "rows": 2, "samples": 2, "steps": 4},
        "queue": {"running": 2},
        "quota": {"images": 120},
        "backend": {"kind": "scripted", "scripted": {"speed": 0}},
        "metrics": {"listen": ""},
    }
    for name, values in sections.items():
        plain[name] = plain.get(name, {}) | values
    return Settings.model_validate(plain)


def replaying(recording: Path, speed: float = 0) -> dict[str, Any]:
    """The section ``backend`` for machines that replay a recording; 0 means at once."""
    return {"kind": "scripted", "scripted": {"recording": recording, "speed": speed}}


@asynccontextmanager
async def open_harness(
    playground: Playground, folder: Path, clock: Clock, **sections: dict[str, Any]
) -> AsyncIterator[Harness]:
    """The bot, connected and dispatching until the block ends; then the ledger is checked."""
    async with open_with(
        settings_for(playground, folder, **sections), playground, clock
    ) as harness:
        yield harness


@asynccontextmanager
async def open_with(
    settings: Settings, playground: Playground, clock: Clock
) -> AsyncIterator[Harness]:
    """The same with settings from elsewhere."""
    recorder = Recorder(clock)
    async with open_runtime(
        settings, observers=[recorder], now=clock, sleep=_briefly, guild_ready_timeout=0.05
    ) as service:
        scheduler = service.application.scheduler
        connected = asyncio.create_task(run_client(service.client, playground.token))
        tasks = [connected]
        try:
            ready = asyncio.create_task(service.client.signed_in.wait())
            await asyncio.wait({ready, connected}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if connected.done():
                await connected
            await playground.online()
            await service.client.wait_until_ready()
            await settle_posted(service.application, service.transport)
            await first_response.resume(service.client)
            await scheduler.resume_jobs()
            await service.status_updater.resume()
            await service.transport.resume_pending_rows()
            tasks.append(asyncio.create_task(service.application.kept.run()))
            tasks.append(asyncio.create_task(scheduler.run()))
            yield Harness(playground, clock, service, recorder)
            assert await LedgerRepository(service.application.database).check() == ()
        finally:
            # The dispatcher first, the connection last, as when the bot is stopped.
            for task in reversed(tasks):
                if task is connected:
                    await service.shut_down_delivery()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
