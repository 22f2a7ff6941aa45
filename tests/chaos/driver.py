"""A night of trouble in a minute: the real bot under load while a seeded schedule breaks things.

``run`` plays one schedule and returns what became of it, with everything needed to play it again.
The bot is a process of its own on a loopback Discord; what is broken is broken for real: the
process is killed, the connections are cut, the database is locked by another program, the disk is
full. What must hold afterwards is for ``invariants`` to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation
from bot.playground.rest.faults import ERROR_PAGE
from bot.playground.server import Playground
from bot.playground.validation.errors import ApiError
from tests.bot_process import ROOT, environment, log_of
from tests.chaos.facts import read_history
from tests.chaos.invariants import History, broken

MEMBERS: Final = ("Ada", "Ben", "Mo")
SETTINGS: Final = {
    "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch",
    "GRIDBRUSH_BACKEND__LOCAL__TASKS": "2",
    "GRIDBRUSH_IMAGINE__STEPS": "4",
    "GRIDBRUSH_QUEUE__RUNNING": "2",
    "GRIDBRUSH_QUOTA__IMAGES": "1000000",
    "GRIDBRUSH_QUEUE__WAITING": "100000",
    "GRIDBRUSH_QUEUE__WAITING_PER_USER": "10000",
    "GRIDBRUSH_QUEUE__RUNNING_PER_USER": "2",
}
DISK_BYTES: Final = 24 * 1024 * 1024
READY_SECONDS: Final = 60.0
UP_FIRST: Final = 0.8
STOP_SECONDS: Final = 40.0
_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
time.sleep(float(sys.argv[2]))
"""


@dataclass
class Stage:
    """A playground, a bot that is started again whenever it ends, and what happened so far."""

    playground: Playground
    folder: Path
    rng: random.Random
    asked: list[Invocation] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    kills: int = 0
    began: float = field(default_factory=time.monotonic)
    process: asyncio.subprocess.Process | None = None

    @property
    def data(self) -> Path:
        """The bot's data folder."""
        return self.folder / "data"

    @property
    def database(self) -> Path:
        """The bot's database."""
        return self.data / "gridbrush.sqlite3"

    def note(self, what: str) -> None:
        """Write down what was done, and when."""
        self.done.append(f"{time.monotonic() - self.began:7.2f} s  {what}")

    async def start(self) -> None:
        """Start a bot, unless one lives; one that ended by itself is noted."""
        if self.process is not None:
            if self.process.returncode is None:
                return
            self._note_exit(self.process.returncode)
        with log_of(self.folder).open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run"),
                cwd=ROOT,
                env=environment(self.playground, self.folder, SETTINGS),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _note_exit(self, status: int) -> None:
        """Note that the bot ended by itself, with the last words of its log."""
        lines = log_of(self.folder).read_text(errors="replace").splitlines()[-3:]
        self.exits.append(f"the bot ended by itself with status {status}: {' / '.join(lines)}")

    async def end(self, number: signal.Signals) -> None:
        """End the bot with a signal; one that outlives SIGTERM for long is killed and noted."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is not None:
            self._note_exit(process.returncode)
            return
        process.send_signal(number)
        try:
            status = await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.exits.append("the bot did not stop when it was asked to")
            process.kill()
            await process.wait()
            return
        # Before it has come up it has nothing to finish, and ends as any program does.
        if number is signal.SIGTERM and status not in (0, -signal.SIGTERM):
            self.exits.append(f"the bot stopped with status {status}")

    async def rest(self, least: float, most: float) -> None:
        """Let some time pass, as the seed says."""
        await asyncio.sleep(self.rng.uniform(least, most))


# What can go wrong


async def kill(stage: Stage) -> None:
    """``kill -9``, and a new start a moment later."""
    await stage.end(signal.SIGKILL)
    stage.kills += 1
    await stage.rest(0, 0.5)
    await stage.start()


async def restart(stage: Stage) -> None:
    """SIGTERM, as a deployment does, and a new start."""
    await stage.end(signal.SIGTERM)
    await stage.start()


async def away(stage: Stage) -> None:
    """Discord away: every connection breaks, and every new one."""
    seconds = stage.rng.uniform(0.3, 3)
    stage.playground.world.faults.away(seconds)
    await asyncio.sleep(seconds)


async def unavailable(stage: Stage) -> None:
    """Discord's proxy answers everything with a page and 503."""
    seconds = stage.rng.uniform(0.5, 3)
    page = ERROR_PAGE % "503 Service Unavailable"
    stage.playground.world.faults.answer("*", "", 503, page=page, seconds=seconds)
    await asyncio.sleep(seconds)


async def banned(stage: Stage) -> None:
    """Cloudflare bans the address: 429 without Via."""
    seconds = stage.rng.uniform(0.5, 3)
    stage.playground.world.faults.rate_limit("*", "", seconds, seconds=seconds, via=False)
    await asyncio.sleep(seconds)


async def limited(stage: Stage) -> None:
    """Discord's own rate limit on the next calls."""
    times = stage.rng.randint(1, 4)
    stage.playground.world.faults.rate_limit("*", "/messages", 0.3, times=times)


async def cut_before(stage: Stage) -> None:
    """The connection breaks before the next calls with a file take effect."""
    stage.playground.world.faults.drop("*", "", times=stage.rng.randint(1, 2), over_bytes=0)


async def cut_after(stage: Stage) -> None:
    """The connection breaks after the next calls with a file took effect."""
    stage.playground.world.faults.drop(
        "*", "", times=stage.rng.randint(1, 2), over_bytes=0, carried_out=True
    )


async def cut_any(stage: Stage) -> None:
    """The connection breaks after the next calls of any sort took effect."""
    times = stage.rng.randint(1, 3)
    stage.playground.world.faults.drop("*", "", times=times, carried_out=True)


async def lock(stage: Stage) -> None:
    """Another program holds the database for some seconds."""
    if not stage.database.exists():
        return
    seconds = stage.rng.uniform(0.5, 4)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOCK, str(stage.database), str(seconds)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await program.wait()


async def full(stage: Stage) -> None:
    """The disk is full for some seconds; the data folder is a small disk of its own."""
    filler = stage.data / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    try:
        await asyncio.to_thread(fill)
        await stage.rest(0.5, 4)
    finally:
        filler.unlink(missing_ok=True)


async def kicked(stage: Stage) -> None:
    """The bot is thrown off the server and invited back."""
    stage.playground.world.kick_bot()
    await stage.rest(0.3, 2)
    stage.playground.world.invite_bot()


async def forbidden(stage: Stage) -> None:
    """The bot may not post in the channel for a while."""
    world = stage.playground.world
    world.add_deny_overwrite("imagine", stage.rng.choice(["ATTACH_FILES", "SEND_MESSAGES"]))
    await stage.rest(0.3, 2)
    world.restore("imagine")


Ingredient = Callable[[Stage], Awaitable[None]]
INGREDIENTS: Final[dict[str, Ingredient]] = {
    one.__name__: one
    for one in (
        *(kill, restart, away, unavailable, banned, limited, cut_before, cut_after, cut_any),
        *(lock, full, kicked, forbidden),
    )
}
"""By name, so that each can be switched on and off."""


# The whole


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one schedule. ``problems`` are sentences; none if all is well."""

    seed: int
    ingredients: tuple[str, ...]
    done: tuple[str, ...]
    history: History
    problems: tuple[str, ...]
    kills: int
    log: str

    def told(self) -> str:
        """All that is needed to understand a failure and to play it again."""
        names = ",".join(self.ingredients)
        return "\n".join(
            [
                f"GRIDBRUSH_CHAOS_SEED={self.seed} GRIDBRUSH_CHAOS={names}",
                *self.done,
                f"{len(self.history.asks)} asked, {len(self.history.jobs)} accepted, wrong:",
                *(self.problems or ("nothing",)),
            ]
        )


def lacking(name: str) -> str:
    """Why an ingredient cannot be had on this machine, or nothing."""
    if name != "full":
        return ""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "only root can make a small disk"
    return ""


async def run(
    folder: Path,
    *,
    seed: int,
    ingredients: Sequence[str],
    events: int | None = None,
    kills: int | None = None,
    seconds: float | None = None,
    timeouts: float = 60.0,
) -> Outcome:
    """Play one schedule in ``folder`` until so many events, kills or seconds have passed.

    Then nothing is broken any more, and the bot is to set all right: it may take as long as the
    machine needs, but nothing may stand still for ``timeouts`` seconds. The seed decides what is
    broken, for how long and what is asked; how a machine keeps pace decides at which moment of a
    job's life it comes. Raises ValueError for an unknown ingredient.
    """
    if unknown := set(ingredients) - set(INGREDIENTS):
        raise ValueError(f"no such ingredient: {', '.join(sorted(unknown))}")
    chosen = tuple(ingredients)
    async with _disk(folder, small="full" in chosen), _playing() as playground:
        stage = Stage(playground, folder, random.Random(seed))
        loader = random.Random(seed + 1)
        await stage.start()
        await playground.online(within=READY_SECONDS)
        stage.began = time.monotonic()
        asking = asyncio.create_task(_load(stage, loader))
        count = 0
        while not (
            (events is not None and count >= events)
            or (kills is not None and stage.kills >= kills)
            or (seconds is not None and time.monotonic() - stage.began >= seconds)
        ):
            name = stage.rng.choice(chosen)
            stage.note(name)
            await INGREDIENTS[name](stage)
            await stage.rest(0.1, 1.5)
            await stage.start()
            # Mostly the bot comes up before the next blow; now and then not even that.
            if stage.rng.random() < UP_FIRST:
                with contextlib.suppress(TimeoutError):
                    await playground.online(within=READY_SECONDS / 4)
                await stage.rest(0, 2)
            count += 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        stage.note("calm")
        history, problems = await _calm(stage, timeouts)
        stage.note("end")
        log = await asyncio.to_thread(log_of(folder).read_text, "utf-8", "replace")
        return Outcome(seed, chosen, tuple(stage.done), history, problems, stage.kills, log)


async def _calm(stage: Stage, timeouts: float) -> tuple[History, tuple[str, ...]]:
    """Break nothing any more, wait until all is well or stands still, and stop the bot."""
    world = stage.playground.world
    world.faults.clear()
    world.invite_bot()
    world.restore("imagine")
    ends = time.monotonic() + timeouts
    history, left = History(), sys.maxsize
    while True:
        await stage.start()
        with contextlib.suppress(sqlite3.Error, FileNotFoundError):
            history = await read_history(stage.playground, stage.data, stage.asked, stage.exits)
            problems = broken(history)
            if not problems and stage.playground.gateway.online:
                break
            if len(problems) < left:  # a busy machine is slow, but it comes on
                left, ends = len(problems), time.monotonic() + timeouts
        if time.monotonic() > ends:
            break
        await asyncio.sleep(0.5)
    await stage.end(signal.SIGTERM)
    history = await read_history(stage.playground, stage.data, stage.asked, stage.exits)
    return history, broken(history)


async def _load(stage: Stage, rng: random.Random) -> None:
    """Members ask for pictures, one after the other, for ever."""
    number = 0
    while True:
        await asyncio.sleep(rng.uniform(0.5, 2.5))
        number += 1
        member = stage.playground.as_member(rng.choice(MEMBERS))
        # Without the bot on the server, or before its commands are known, there is no command.
        with contextlib.suppress(ClientError, ApiError, KeyError):
            prompt, rows = f"picture {number}", rng.randint(1, 2)
            stage.asked.append(await member.slash("imagine", "imagine", prompt=prompt, rows=rows))


@asynccontextmanager
async def _playing() -> AsyncIterator[Playground]:
    playground = Playground()
    await playground.start()
    try:
        yield playground
    finally:
        await playground.aclose()


@asynccontextmanager
async def _disk(folder: Path, *, small: bool) -> AsyncIterator[None]:
    """The data folder; with ``small`` it is a disk of its own that can be filled."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not small:
        yield
        return
    size = f"size={DISK_BYTES}"
    await asyncio.to_thread(
        subprocess.run, ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(data)], check=True
    )
    # The runs write to another disk: one whose disk is full fails, and rightly.
    runs = folder / "local"
    runs.mkdir()
    (data / "local").symlink_to(runs)
    try:
        yield
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "--lazy", str(data)], check=True)
