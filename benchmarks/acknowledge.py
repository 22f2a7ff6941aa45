"""How long members wait for the first answer: from Discord's sending an event to its receipt.

Seen from Discord's side, so the way there and back and the bot's library count. In the first case
sketches are painted on the same cores that the bot runs on.
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

SECONDS = 10.0
MEMBERS = 20
JOBS = 200


async def _steadily(rate: float, seconds: float) -> AsyncIterator[int]:
    """Numbers at a steady rate, whatever the answers take: members do not wait for each other."""
    begin = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        yield number


async def _command(number: int, member: MemberDriver, prompts: str) -> Invocation:
    """Half are requests for pictures; the others look around."""
    match number % 4:
        case 1:
            return await member.slash(harness.CHANNEL, "queue")
        case 3:
            return await member.slash(harness.CHANNEL, "quota")
        case _:
            return await harness.imagine(member, prompts)


async def _use(members: Sequence[MemberDriver], rate: float, prompts: str) -> None:
    asked = [
        await _command(number, members[number % len(members)], prompts)
        async for number in _steadily(rate, SECONDS)
    ]
    await asyncio.gather(*(one.acked() for one in asked), return_exceptions=True)


def _say(name: str, sights: harness.Sights, goal: str) -> None:
    took = [seconds * 1000 for seconds in sights.answers]
    figure = (
        f"p50 {percentile(took, 50):.0f}, p99 {percentile(took, 99):.0f}, max {max(took):.0f} ms"
        f" (n {len(took)})"
    )
    show(name, figure, goal)
    if sights.silent:
        show("  never answered", str(sights.silent), "goal 0")


async def _while_painting(folder: Path, settings: Mapping[str, str], name: str) -> None:
    async with (
        harness.playing(MEMBERS) as (playground, members),
        harness.bot(playground, folder, {**harness.PLENTY, **settings}),
    ):
        # A job for each slot is painted from before the first command to after the last.
        early = [await harness.imagine(member) for member in members[:4]]
        await asyncio.gather(*(one.answered() for one in early))
        sights = harness.Sights(playground)
        await _use(members, 10, "a fox in the snow")
        _say(name, sights, "goal p99 < 25 ms")


async def _while_following(folder: Path) -> None:
    """The jobs' logs tell of each of four rows every two seconds, as long as this goes on."""
    recording = recordings.write(folder / "long", seconds=60, rows=4, lines=30)
    settings = {
        **harness.PLENTY,
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(recording),
        "GRIDBRUSH_QUEUE__RUNNING": str(JOBS),
    }
    async with (
        harness.playing(MEMBERS) as (playground, members),
        harness.bot(playground, folder, settings),
    ):
        early = [
            await harness.imagine(members[number % MEMBERS])
            async for number in _steadily(25, JOBS / 25)
        ]
        await asyncio.gather(*(one.answered(within=60) for one in early))
        sights = harness.Sights(playground)
        await _use(members, 50, "a fox in the snow")
        _say(f"first answer, 50/s, {JOBS} jobs run", sights, "goal p99 < 100 ms, max < 3 s")


def main() -> None:
    """Print the percentiles of each case."""
    with tempfile.TemporaryDirectory() as name:
        settings = {"GRIDBRUSH_IMAGINE__SAMPLES": "2"}
        case = "first answer, 10/s, 20 members, sketching"
        asyncio.run(_while_painting(Path(name), settings, case))
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_while_following(Path(name)))


if __name__ == "__main__":
    main()
