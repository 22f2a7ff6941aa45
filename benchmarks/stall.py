"""Measure the longest stall of the event loop while four large grids at a time are delivered.

A task that sleeps 2 ms reports how late it was woken. That includes waiting for a busy processor,
so the stalls of the idle bot are shown for comparison.
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
        harness.open_playground() as (playground, members),
        harness.run_bot(playground, folder, environment, harness.RUN_PROBE) as bot,
    ):
        observer = harness.PlaygroundObserver(playground)
        # The first job is not measured: it includes imports and making the backend's images.
        await harness.imagine(members[0])
        await harness.results(playground, observer, 1)
        begin = time.monotonic()
        for number in range(JOBS):
            await harness.imagine(members[number])
        await harness.results(playground, observer, 1 + JOBS, within=120)
        end = time.monotonic()
        await asyncio.sleep(end - begin)
        rest_end = time.monotonic()
        await bot.stop()
    stalls = [(fact["at"], fact["stall"] * 1000) for fact in bot.reports if "stall" in fact]
    stalls_busy = [stall for at, stall in stalls if begin < at <= end]
    stalls_idle = [stall for at, stall in stalls if end < at <= rest_end]
    figure = f"{max(stalls_busy, default=0):.0f} ms in {end - begin:.0f} s"
    if stalls_busy:
        figure += f" (p99 of {len(stalls_busy)}: {percentile(stalls_busy, 99):.0f} ms)"
    show(f"longest stall, {JOBS} grids of {CASE.name[:12]}", figure, "goal < 50 ms")
    show("  the idle bot, for the same time", f"{max(stalls_idle, default=0):.0f} ms")


def main() -> None:
    """Print the longest stall of the busy and of the idle bot."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name)))


if __name__ == "__main__":
    main()
