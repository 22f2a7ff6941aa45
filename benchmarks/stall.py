"""The longest stall of the event loop while large grids are composed and uploaded, four at a time.

A task that sleeps 2 ms says how late it was woken. On a busy machine that counts waiting for a
processor too, so the same bot's stalls while it has nothing to do stand beside it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.deliver import Case, settings
from benchmarks.measure import percentile, show

JOBS = 8
CASE = Case("4 × 3 of 768, photographs, composed", 768, 4, 3, False, True, "")


async def _run(folder: Path) -> None:
    environment = settings(CASE, folder, 1.0) | {"GRIDBRUSH_QUEUE__RUNNING": "4"}
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, environment, harness.RECORDER) as bot,
    ):
        sights = harness.Sights(playground)
        # What the process does once (drawing the backend's pictures, first imports) is not meant.
        await harness.imagine(members[0])
        await harness.results(playground, sights, 1)
        begin = time.monotonic()
        for number in range(JOBS):
            await harness.imagine(members[number])
        await harness.results(playground, sights, 1 + JOBS, within=120)
        end = time.monotonic()
        await asyncio.sleep(end - begin)
        rest = time.monotonic()
        await bot.stop()
    stalls = [(fact["at"], fact["stall"] * 1000) for fact in bot.said if "stall" in fact]
    busy = [late for at, late in stalls if begin < at <= end]
    idle = [late for at, late in stalls if end < at <= rest]
    figure = f"{max(busy, default=0):.0f} ms in {end - begin:.0f} s"
    if busy:
        figure += f" (p99 of {len(busy)}: {percentile(busy, 99):.0f} ms)"
    show(f"longest stall, {JOBS} grids of {CASE.name[:12]}", figure, "goal < 50 ms")
    show("  the same bot at rest, as long", f"{max(idle, default=0):.0f} ms")


def main() -> None:
    """Print the longest stall, working and at rest."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name)))


if __name__ == "__main__":
    main()
