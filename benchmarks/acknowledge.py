"""Measure the time to the first response, from sending the interaction to receiving the answer.

It is measured on Discord's side, so network and library count. In the first case images are
generated on the same cores that the bot runs on.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from benchmarks import harness, recordings
from benchmarks.measure import percentile, show
from bot.playground.client.driver import Invocation, MemberDriver

DURATION_S = 10.0
MEMBERS = 20
JOBS = 200


async def _at_rate(rate: float, seconds: float) -> AsyncIterator[int]:
    """Yield numbers at a steady rate, however long answers take."""
    begin = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        yield number


async def _use_command(number: int, member: MemberDriver, prompts: str) -> Invocation:
    """Use /imagine for every second number, else /queue or /quota."""
    match number % 4:
        case 1:
            return await member.slash(harness.CHANNEL, "queue")
        case 3:
            return await member.slash(harness.CHANNEL, "quota")
        case _:
            return await harness.imagine(member, prompts)


async def _use_commands(members: Sequence[MemberDriver], rate: float, prompts: str) -> None:
    invocations = [
        await _use_command(number, members[number % len(members)], prompts)
        async for number in _at_rate(rate, DURATION_S)
    ]
    await asyncio.gather(*(one.acked() for one in invocations), return_exceptions=True)


def _show_latencies(name: str, observer: harness.PlaygroundObserver, goal: str) -> None:
    latencies_ms = [seconds * 1000 for seconds in observer.latencies]
    figure = (
        f"p50 {percentile(latencies_ms, 50):.0f}, p99 {percentile(latencies_ms, 99):.0f}, "
        f"max {max(latencies_ms):.0f} ms (n {len(latencies_ms)})"
    )
    show(name, figure, goal)
    if observer.unanswered:
        show("  never answered", str(observer.unanswered), "goal 0")


async def _while_generating(folder: Path, settings: Mapping[str, str], name: str) -> None:
    async with (
        harness.open_playground(MEMBERS) as (playground, members),
        harness.run_bot(playground, folder, {**harness.HIGH_LIMITS, **settings}),
    ):
        # One job for each slot runs from before the first command until after the last.
        first_jobs = [await harness.imagine(member) for member in members[:4]]
        await asyncio.gather(*(one.answered() for one in first_jobs))
        observer = harness.PlaygroundObserver(playground)
        await _use_commands(members, 10, "a fox in the snow")
        _show_latencies(name, observer, "goal p99 < 25 ms")


async def _while_following(folder: Path) -> None:
    """Measure while the log of each job reports four rows every two seconds."""
    recording = recordings.write(folder / "long", seconds=60, rows=4, lines=30)
    settings = {
        **harness.HIGH_LIMITS,
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(recording),
        "GRIDBRUSH_QUEUE__RUNNING": str(JOBS),
    }
    async with (
        harness.open_playground(MEMBERS) as (playground, members),
        harness.run_bot(playground, folder, settings),
    ):
        first_jobs = [
            await harness.imagine(members[number % MEMBERS])
            async for number in _at_rate(25, JOBS / 25)
        ]
        await asyncio.gather(*(one.answered(within=60) for one in first_jobs))
        observer = harness.PlaygroundObserver(playground)
        await _use_commands(members, 50, "a fox in the snow")
        _show_latencies(
            f"first answer, 50/s, {JOBS} jobs run", observer, "goal p99 < 100 ms, max < 3 s"
        )


def main() -> None:
    """Print the percentiles of each case."""
    with tempfile.TemporaryDirectory() as name:
        settings = {"GRIDBRUSH_IMAGINE__SAMPLES": "2"}
        case = "first answer, 10/s, 20 members, sketching"
        asyncio.run(_while_generating(Path(name), settings, case))
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_while_following(Path(name)))


if __name__ == "__main__":
    main()
