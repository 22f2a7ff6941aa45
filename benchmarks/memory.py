"""Measure the bot's resident memory: idle, after a thousand jobs, and for each followed job.

Followed jobs run on the scripted backend, and on the tests' DeepSquare grid on loopback.
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
CONCURRENT_JOBS = 16
FOLLOWED = 200
WARM_UP_FOLLOWED = 20
LINES = 50
MEGABYTE = 1e6


async def _idle(folder: Path) -> None:
    async with (
        harness.open_playground(1) as (playground, (member,)),
        harness.run_bot(playground, folder, {}) as bot,
    ):
        invocation = await member.slash(harness.CHANNEL, "help")
        await invocation.answered()
        resident = bot.resident / MEGABYTE
    show("resident, idle, local backend", f"{resident:.1f} MB", "goal < 70 MB")


async def _run_jobs(
    playground: Playground,
    observer: harness.PlaygroundObserver,
    members: tuple[MemberDriver, ...],
    count: int,
) -> None:
    """Run so many jobs, a few at a time, and wait for all results."""
    results_before = len(observer.results)
    for number in range(count):
        await harness.results(playground, observer, results_before + number - CONCURRENT_JOBS)
        await harness.imagine(members[number % len(members)])
    await harness.results(playground, observer, results_before + count)


async def _growth(folder: Path) -> None:
    settings = {
        **harness.HIGH_LIMITS,
        **harness.SMALLEST_JOB,
        "GRIDBRUSH_QUEUE__RUNNING": str(CONCURRENT_JOBS),
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(folder / "recording", seconds=0)
        ),
    }
    async with (
        harness.open_playground() as (playground, members),
        harness.run_bot(playground, folder, settings) as bot,
    ):
        observer = harness.PlaygroundObserver(playground)
        await _run_jobs(playground, observer, members, WARM_UP)
        before = bot.resident
        await _run_jobs(playground, observer, members, JOBS)
        after = bot.resident
    grown = 100 * (after - before) / before
    figure = f"{grown:+.1f} % ({before / MEGABYTE:.1f} → {after / MEGABYTE:.1f} MB)"
    show(f"growth over {JOBS} jobs, after {WARM_UP}", figure, "goal < 10 %")


async def _followed(folder: Path) -> None:
    """Measure the memory for each job whose log reports a row about every second."""
    recording = recordings.write(folder / "long", seconds=600, rows=4, lines=400)
    settings = {
        **harness.HIGH_LIMITS,
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
        "GRIDBRUSH_QUEUE__RUNNING": str(2 * FOLLOWED),
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(recording),
    }
    async with (
        harness.open_playground() as (playground, members),
        harness.run_bot(playground, folder, settings) as bot,
    ):
        await _submit(members, WARM_UP_FOLLOWED)
        await asyncio.sleep(2)
        before = bot.resident
        await _submit(members, FOLLOWED)
        await asyncio.sleep(4)
        bytes_per_job = (bot.resident - before) / FOLLOWED
    show(
        f"memory for each of {FOLLOWED} followed jobs",
        f"{bytes_per_job / 1000:.0f} kB",
        "goal < 200 kB",
    )


async def _followed_on_the_grid(folder: Path) -> None:
    """Measure the memory for each job that runs on the test grid and logs four rows."""
    setup = Setup(
        offers=(Offer(gpus_per_node=10_000, cpus_per_node=100_000),),
        budget=Budget(credits=10_000_000, allowance=10_000_000),
        usual=Conduct(runs=False, instantly=False),
    )
    async with await TestGrid.start(folder / "grid", setup) as grid:
        settings = {
            **harness.HIGH_LIMITS,
            **grid.environment(),
            "GRIDBRUSH_QUEUE__RUNNING": str(2 * FOLLOWED),
        }
        async with (
            harness.open_playground() as (playground, members),
            harness.run_bot(playground, folder, settings) as bot,
        ):
            await _submit(members, WARM_UP_FOLLOWED)
            await _log_progress(grid, WARM_UP_FOLLOWED)
            before = bot.resident
            await _submit(members, FOLLOWED)
            await _log_progress(grid, WARM_UP_FOLLOWED + FOLLOWED)
            bytes_per_job = (bot.resident - before) / FOLLOWED
    case = f"the same, {FOLLOWED} jobs on the test grid"
    show(case, f"{bytes_per_job / 1000:.0f} kB", "goal < 200 kB")


async def _submit(members: tuple[MemberDriver, ...], count: int) -> None:
    for number in range(count):
        await (await harness.imagine(members[number % len(members)])).answered()


async def _log_progress(grid: TestGrid, count: int) -> None:
    """Wait until so many jobs are followed, and write progress of their rows to all logs."""
    while _running(await grid.request_new_jobs()) < count:  # noqa: ASYNC110 - only the chain knows
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
    """Print all four figures."""
    for measure in (_idle, _growth, _followed, _followed_on_the_grid):
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    main()
