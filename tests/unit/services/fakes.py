"""Fakes for the tests of the services: clock, entropy, sleep, observer, transport, slow backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.backends.base import LifecycleEvent, LogLine
from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import DeliveryError
from bot.domain.events import BackendJobRef, JobEvent, MessageRef
from bot.domain.job import Job
from bot.services.results import JobResult

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
GUILD, CHANNEL = 1, 2


class Clock:
    """A clock that advances by 1 ms at each call, so that no two times are equal."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at


class CountingEntropy:
    """Entropy that counts up: ids differ, sort by age, and are the same in every run."""

    def __init__(self) -> None:
        self._thrown = 0

    def __call__(self, size: int) -> bytes:
        self._thrown += 1
        return self._thrown.to_bytes(size, "big")


class RecordedSleeps:
    """A replacement for ``asyncio.sleep`` that records the seconds and lets other tasks run."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


class EventLog:
    """An observer that records events and lets a test wait for them."""

    def __init__(self) -> None:
        self.entries: list[tuple[Job, JobEvent]] = []
        self._added = asyncio.Condition()

    async def on_event(self, job: Job, event: JobEvent) -> None:
        async with self._added:
            self.entries.append((job, event))
            self._added.notify_all()

    def of(self, kind: type[JobEvent]) -> list[str]:
        """Return the ids of the jobs with this event, in order."""
        return [job.id for job, event in self.entries if isinstance(event, kind)]

    async def until(self, true: Callable[[EventLog], bool]) -> None:
        """Wait until the condition holds for the recorded events."""
        async with self._added:
            await self._added.wait_for(lambda: true(self))


@dataclass
class FakeTransport:
    """A transport whose methods fail on demand; it records what was sent."""

    accepted_methods: tuple[str, ...] = ("interaction", "channel", "direct")
    broken: dict[str, Exception] = field(default_factory=dict)
    there: dict[str, MessageRef] = field(default_factory=dict)
    blind: bool = False
    posted: list[tuple[str, str]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    async def methods(self, job: Job) -> tuple[str, ...]:
        return self.accepted_methods

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        if method in self.broken:
            raise self.broken[method]
        assert await asyncio.to_thread(package.grid.is_file)
        self.posted.append((method, job.id))
        return MessageRef(CHANNEL, 1000 + len(self.posted))

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        self.looked.append(method)
        if self.blind:
            raise DeliveryError("the channel is gone")
        return self.there.get(method)


class GatedBackend(ScriptedBackend):
    """A backend whose jobs log nothing before the gate is open."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, speed=0)
        self.gate = asyncio.Event()

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        await self.gate.wait()
        async for item in super().follow(handle, cursor):
            yield item
