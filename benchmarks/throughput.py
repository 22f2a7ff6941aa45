"""Jobs a second through one slot with a backend that takes half a second for each."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks import harness, recordings
from benchmarks.measure import show

JOBS = 25
SECONDS = 0.5
POSSIBLE = 1 / SECONDS


async def _run(folder: Path) -> float:
    """From the first result that members see to the last."""
    settings = {
        **harness.PLENTY,
        "GRIDBRUSH_IMAGINE__WIDTH": "512",
        "GRIDBRUSH_IMAGINE__HEIGHT": "512",
        "GRIDBRUSH_IMAGINE__ROWS": "1",
        "GRIDBRUSH_IMAGINE__SAMPLES": "1",
        "GRIDBRUSH_QUEUE__RUNNING": "1",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(folder / "recording", seconds=SECONDS)
        ),
    }
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, settings),
    ):
        sights = harness.Sights(playground)
        for number in range(JOBS):
            await harness.imagine(members[number % len(members)])
        await harness.results(playground, sights, JOBS)
    moments = sorted(sights.results.values())
    return (len(moments) - 1) / (moments[-1] - moments[0])


def main() -> None:
    """Print jobs a second."""
    with tempfile.TemporaryDirectory() as name:
        rate = asyncio.run(_run(Path(name)))
    figure = f"{rate:.2f} jobs/s of {POSSIBLE:.1f} possible"
    show(f"one slot, {SECONDS} s backend", figure, "goal > 1.90")


if __name__ == "__main__":
    main()
