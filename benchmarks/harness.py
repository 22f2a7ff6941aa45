"""The bot as a process of its own on a loopback Discord, and what can be seen of it from outside.

The playground runs in the measuring process: on the other core, as Discord would be elsewhere.
Nothing is measured here; waits are for what is seen to happen, never for time to pass.
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
RUN = ("-m", "bot", "run")
RECORDER = ("-m", "benchmarks.probe")
CHANNEL = "imagine"

PLENTY = {
    "GRIDBRUSH_QUOTA__IMAGES": "1000000",
    "GRIDBRUSH_QUEUE__WAITING": "100000",
    "GRIDBRUSH_QUEUE__WAITING_PER_USER": "10000",
    "GRIDBRUSH_QUEUE__RUNNING_PER_USER": "1000",
}
"""No limit but the machine's."""

SMALL = {
    "GRIDBRUSH_IMAGINE__WIDTH": "64",
    "GRIDBRUSH_IMAGINE__HEIGHT": "64",
    "GRIDBRUSH_IMAGINE__ROWS": "1",
    "GRIDBRUSH_IMAGINE__SAMPLES": "1",
}
"""A job that is all bookkeeping and no picture."""


class Sights:
    """Listens to a playground: how long answers take, and when results appear."""

    def __init__(self, playground: Playground) -> None:
        self._begun: dict[int, float] = {}
        self.answers: list[float] = []
        self.silent = 0
        self.results: dict[int, float] = {}
        playground.world.listeners.append(self._see)

    def _see(self, event: Event) -> None:
        at = time.monotonic()
        match event.name:
            case "INTERACTION_CREATE":
                self._begun[event.data["interaction"].id] = at
            case "INTERACTION_ACK":
                self.answers.append(at - self._begun.pop(event.data["interaction"].id))
            case "INTERACTION_FAILED":
                self.silent += 1
            case "MESSAGE_CREATE" | "MESSAGE_UPDATE":
                if event.message is not None and is_result(event.message):
                    self.results.setdefault(event.message.id, at)
            case _:
                pass


def is_result(message: Message) -> bool:
    """Whether a message is a finished job's: its card has become the grid."""
    return any(file.filename.startswith("gridbrush-") for file in message.attachments)


@dataclass(slots=True)
class Running:
    """A bot process. ``began`` and ``ready`` are moments of ``time.monotonic``.

    ``said`` is what a witness has printed so far; see ``benchmarks.probe``.
    """

    process: asyncio.subprocess.Process
    began: float
    ready: float = 0.0
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def resident(self) -> int:
        """Bytes of memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def stop(self) -> None:
        """Let it drain; afterwards ``said`` is complete."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


@asynccontextmanager
async def playing(members: int = 20) -> AsyncIterator[tuple[Playground, tuple[MemberDriver, ...]]]:
    """A playground with so many members."""
    playground = Playground()
    people = [playground.world.add_member(f"member{n}", f"Member {n}") for n in range(members)]
    await playground.start()
    try:
        yield playground, tuple(playground.as_member(one.user) for one in people)
    finally:
        await playground.aclose()


@asynccontextmanager
async def bot(
    playground: Playground,
    folder: Path,
    settings: Mapping[str, str],
    program: Sequence[str] = RUN,
    *,
    wait: bool = True,
) -> AsyncIterator[Running]:
    """A bot in ``folder``, by default once it says that it is ready and hears commands."""
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
        asyncio.create_task(_listen(running, ready)),
        asyncio.create_task(_read_reports(running)),
    ]
    try:
        if wait:
            # It says so once it can post; it hears commands once the gateway has let it in too.
            await asyncio.wait_for(ready.wait(), 60)
            if process.returncode is not None:
                raise RuntimeError(f"the bot left with {process.returncode} before it was ready")
            await playground.online(within=60)
            running.ready = time.monotonic()
        yield running
    finally:
        await running.stop()
        await asyncio.gather(*readers)
        # Its connection outlives it by an instant; the next bot's is not to be taken for it.
        await playground.until(lambda _: not playground.gateway.online)


async def _listen(running: Running, ready: asyncio.Event) -> None:
    assert running.process.stderr is not None, "it was asked for"
    started = False
    async for line in running.process.stderr:
        if line.startswith(b"ready"):
            started = True
            ready.set()
        elif b"ERROR" in line or b"Traceback" in line or not started:
            sys.stderr.write(line.decode(errors="replace"))
    await running.process.wait()
    # Whoever waits for a bot that is gone is let go, and finds that it never was ready.
    ready.set()


async def _read_reports(running: Running) -> None:
    assert running.process.stdout is not None, "it was asked for"
    async for line in running.process.stdout:
        running.said.append(json.loads(line))


async def imagine(member: MemberDriver, prompt: str = "a lighthouse at dawn") -> Invocation:
    """Ask for a picture."""
    return await member.slash(CHANNEL, "imagine", prompt=prompt)


async def results(playground: Playground, sights: Sights, count: int, within: float = 60) -> None:
    """Wait until so many results have appeared."""
    await playground.until(lambda _: len(sights.results) >= count, within=within)
