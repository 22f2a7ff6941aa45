"""Run the bot as a process on the playground, and observe it from outside.

The playground runs in the measuring process, so on another core. Waits are for events, never for
time to pass.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.server import Playground
from bot.playground.state.guild import Event
from bot.playground.state.models import Message

ROOT = Path(__file__).parents[1]
RUN_BOT = ("-m", "bot", "run")
RUN_PROBE = ("-m", "benchmarks.probe")
CHANNEL = "imagine"

HIGH_LIMITS = {
    "GRIDBRUSH_QUOTA__IMAGES": "1000000",
    "GRIDBRUSH_QUEUE__WAITING": "100000",
    "GRIDBRUSH_QUEUE__WAITING_PER_USER": "10000",
    "GRIDBRUSH_QUEUE__RUNNING_PER_USER": "1000",
}
"""Limits that no benchmark reaches."""

SMALLEST_JOB = {
    "GRIDBRUSH_IMAGINE__WIDTH": "64",
    "GRIDBRUSH_IMAGINE__HEIGHT": "64",
    "GRIDBRUSH_IMAGINE__ROWS": "1",
    "GRIDBRUSH_IMAGINE__SAMPLES": "1",
}
"""The smallest job, with almost no work on images."""


class PlaygroundObserver:
    """Record how long first responses take (seconds) and when results appear (monotonic)."""

    def __init__(self, playground: Playground) -> None:
        self._begun: dict[int, float] = {}
        self.latencies: list[float] = []
        self.unanswered = 0
        self.results: dict[int, float] = {}
        playground.world.listeners.append(self._on_event)

    def _on_event(self, event: Event) -> None:
        at = time.monotonic()
        match event.name:
            case "INTERACTION_CREATE":
                self._begun[event.data["interaction"].id] = at
            case "INTERACTION_ACK":
                self.latencies.append(at - self._begun.pop(event.data["interaction"].id))
            case "INTERACTION_FAILED":
                self.unanswered += 1
            case "MESSAGE_CREATE" | "MESSAGE_UPDATE":
                if event.message is not None and is_result(event.message):
                    self.results.setdefault(event.message.id, at)
            case _:
                pass


def is_result(message: Message) -> bool:
    """Whether a message shows the result of a finished job."""
    return any(file.filename.startswith("gridbrush-") for file in message.attachments)


@dataclass(slots=True)
class Running:
    """A bot process. ``began`` and ``ready`` are times of ``time.monotonic``.

    ``reports`` is what ``benchmarks.probe`` has printed so far.
    """

    process: asyncio.subprocess.Process
    began: float
    ready: float = 0.0
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def resident(self) -> int:
        """Return the resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def stop(self) -> None:
        """Stop it gracefully. Idempotent. Afterwards ``reports`` is complete."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


@asynccontextmanager
async def open_playground(
    members: int = 20,
) -> AsyncIterator[tuple[Playground, tuple[MemberDriver, ...]]]:
    """Open a playground with so many members."""
    playground = Playground()
    added_members = [
        playground.world.add_member(f"member{n}", f"Member {n}") for n in range(members)
    ]
    await playground.start()
    try:
        yield playground, tuple(playground.as_member(one.user) for one in added_members)
    finally:
        await playground.aclose()


@asynccontextmanager
async def run_bot(
    playground: Playground,
    folder: Path,
    settings: Mapping[str, str],
    program: Sequence[str] = RUN_BOT,
    *,
    wait: bool = True,
) -> AsyncIterator[Running]:
    """Run a bot in ``folder``; with ``wait``, yield it when it is ready and receives commands."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
        "GRIDBRUSH_DISCORD__GUILDS": json.dumps([playground.world.guild_id]),
        "GRIDBRUSH_DATA__DIR": str(folder / "data"),
        "GRIDBRUSH_METRICS__LISTEN": "127.0.0.1:0",
        "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch",
        "GRIDBRUSH_LOG__LEVEL": "warning",
        "COLUMNS": "200",
        **settings,
    }
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    running = Running(process, began)
    ready = asyncio.Event()
    readers = [
        asyncio.create_task(_read_log(running, ready)),
        asyncio.create_task(_read_reports(running)),
    ]
    try:
        if wait:
            # "ready" is printed when it can post; commands arrive once the gateway accepts it.
            await asyncio.wait_for(ready.wait(), 60)
            if process.returncode is not None:
                raise RuntimeError(f"the bot left with {process.returncode} before it was ready")
            await playground.online(within=60)
            running.ready = time.monotonic()
        yield running
    finally:
        await running.stop()
        await asyncio.gather(*readers)
        # Its connection ends a moment later; it must not be mistaken for that of the next bot.
        await playground.until(lambda _: not playground.gateway.online)


async def _read_log(running: Running, ready: asyncio.Event) -> None:
    assert running.process.stderr is not None, "stderr is a pipe"
    started = False
    async for line in running.process.stderr:
        if line.startswith(b"ready"):
            started = True
            ready.set()
        elif b"ERROR" in line or b"Traceback" in line or not started:
            sys.stderr.write(line.decode(errors="replace"))
    await running.process.wait()
    # Wake the caller: the process has ended, ready or not.
    ready.set()


async def _read_reports(running: Running) -> None:
    assert running.process.stdout is not None, "stdout is a pipe"
    async for line in running.process.stdout:
        running.reports.append(json.loads(line))


async def imagine(member: MemberDriver, prompt: str = "a lighthouse at dawn") -> Invocation:
    """Use /imagine."""
    return await member.slash(CHANNEL, "imagine", prompt=prompt)


async def results(
    playground: Playground, observer: PlaygroundObserver, count: int, within: float = 60
) -> None:
    """Wait until so many results have appeared. Raises TimeoutError."""
    await playground.until(lambda _: len(observer.results) >= count, within=within)
