"""Measure jobs per second in one slot, with a backend that takes half a second for each."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks import harness, recordings
from benchmarks.measure import show

JOBS = 25
JOB_SECONDS = 0.5
MAX_RATE = 1 / JOB_SECONDS


async def _run(folder: Path) -> float:
    """Return jobs per second, from the first visible result to the last."""
    settings = {
        **harness.HIGH_LIMITS,
        "GRIDBRUSH_IMAGINE__WIDTH": "512",
        "GRIDBRUSH_IMAGINE__HEIGHT": "512",
        "GRIDBRUSH_IMAGINE__ROWS": "1",
        "GRIDBRUSH_IMAGINE__SAMPLES": "1",
        "GRIDBRUSH_QUEUE__RUNNING": "1",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(folder / "recording", seconds=JOB_SECONDS)
        ),
    }
    async with (
        harness.open_playground() as (playground, members),
        harness.run_bot(playground, folder, settings),
    ):
        observer = harness.PlaygroundObserver(playground)
        for number in range(JOBS):
            await harness.imagine(members[number % len(members)])
        await harness.results(playground, observer, JOBS)
    moments = sorted(observer.results.values())
    return (len(moments) - 1) / (moments[-1] - moments[0])


def main() -> None:
    """Print jobs per second."""
    with tempfile.TemporaryDirectory() as name:
        rate = asyncio.run(_run(Path(name)))
    figure = f"{rate:.2f} jobs/s of {MAX_RATE:.1f} possible"
    show(f"one slot, {JOB_SECONDS} s backend", figure, "goal > 1.90")


if __name__ == "__main__":
    main()
