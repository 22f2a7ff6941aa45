"""Resident memory of the bot's process: idle, after a thousand jobs, and for each followed job.

Followed jobs are those of a recording, and those of a DeepSquare of the tests' own on loopback.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks import harness, recordings
from benchmarks.measure import show
from bot.playground.client.driver import MemberDriver
from bot.playground.server import Playground
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import GridJob, Status
from tests.deepsquare.testnet.credit_token import Budget
from tests.deepsquare.testnet.deploy import Offer
from tests.deepsquare.testnet.site import Setup, TestGrid

WARM_UP = 100
JOBS = 1000
AT_ONCE = 16
FOLLOWED = 200
FIRST = 20
LINES = 50
MEGABYTE = 1e6


async def _idle(folder: Path) -> None:
    async with (
        harness.playing(1) as (playground, (member,)),
        harness.bot(playground, folder, {}) as bot,
    ):
        asked = await member.slash(harness.CHANNEL, "help")
        await asked.answered()
        resident = bot.resident / MEGABYTE
    show("resident, idle, local backend", f"{resident:.1f} MB", "goal < 70 MB")


async def _finish(
    playground: Playground, sights: harness.Sights, members: tuple[MemberDriver, ...], count: int
) -> None:
    """Ask for so many pictures, a few at a time, and wait until all were seen."""
    begun = len(sights.results)
    for number in range(count):
        await harness.results(playground, sights, begun + number - AT_ONCE)
        await harness.imagine(members[number % len(members)])
    await harness.results(playground, sights, begun + count)


async def _growth(folder: Path) -> None:
    settings = {
        **harness.PLENTY,
        **harness.SMALL,
        "GRIDBRUSH_QUEUE__RUNNING": str(AT_ONCE),
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(folder / "recording", seconds=0)
        ),
    }
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, settings) as bot,
    ):
        sights = harness.Sights(playground)
        await _finish(playground, sights, members, WARM_UP)
        before = bot.resident
        await _finish(playground, sights, members, JOBS)
        after = bot.resident
    grown = 100 * (after - before) / before
    figure = f"{grown:+.1f} % ({before / MEGABYTE:.1f} → {after / MEGABYTE:.1f} MB)"
    show(f"growth over {JOBS} jobs, after {WARM_UP}", figure, "goal < 10 %")


async def _followed(folder: Path) -> None:
    """Each job's log tells of a row every second or so, as long as this goes on."""
    recording = recordings.write(folder / "long", seconds=600, rows=4, lines=400)
    settings = {
        **harness.PLENTY,
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
        "GRIDBRUSH_QUEUE__RUNNING": str(2 * FOLLOWED),
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(recording),
    }
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, settings) as bot,
    ):
        await _ask(members, FIRST)
        await asyncio.sleep(2)
        before = bot.resident
        await _ask(members, FOLLOWED)
        await asyncio.sleep(4)
        each = (bot.resident - before) / FOLLOWED
    show(f"memory for each of {FOLLOWED} followed jobs", f"{each / 1000:.0f} kB", "goal < 200 kB")


async def _followed_on_the_grid(folder: Path) -> None:
    """Each job runs until it is cancelled, and its log tells of four rows."""
    setup = Setup(
        offers=(Offer(gpus_per_node=10_000, cpus_per_node=100_000),),
        budget=Budget(credits=10_000_000, allowance=10_000_000),
        usual=Conduct(runs=False, instantly=False),
    )
    async with await TestGrid.start(folder / "grid", setup) as grid:
        settings = {
            **harness.PLENTY,
            **grid.environment(),
            "GRIDBRUSH_QUEUE__RUNNING": str(2 * FOLLOWED),
        }
        async with (
            harness.playing() as (playground, members),
            harness.bot(playground, folder, settings) as bot,
        ):
            await _ask(members, FIRST)
            await _told(grid, FIRST)
            before = bot.resident
            await _ask(members, FOLLOWED)
            await _told(grid, FIRST + FOLLOWED)
            each = (bot.resident - before) / FOLLOWED
    what = f"the same, {FOLLOWED} jobs on the test grid"
    show(what, f"{each / 1000:.0f} kB", "goal < 200 kB")


async def _ask(members: tuple[MemberDriver, ...], count: int) -> None:
    for number in range(count):
        await (await harness.imagine(members[number % len(members)])).answered()


async def _told(grid: TestGrid, count: int) -> None:
    """Wait until so many jobs run and are listened to, and let all of them tell of their rows."""
    while _running(await grid.request_new_jobs()) < count:  # noqa: ASYNC110 - the chain's own word
        await asyncio.sleep(0.5)
    await grid.logger.attended(count)
    for step in range(LINES):
        bar = f"DDIM Sampler: {step:3d}%|#####     | {step}/{LINES} [00:01<00:01]"
        for job in await grid.request_new_jobs():
            for row in range(1, 5):
                grid.logger.write(job.customer, job.job_id, f"[row {row}] {bar}".encode())
    await asyncio.sleep(4)


def _running(jobs: list[GridJob]) -> int:
    return sum(job.status is Status.RUNNING for job in jobs)


def main() -> None:
    """Print all four."""
    for measure in (_idle, _growth, _followed, _followed_on_the_grid):
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    main()
