"""From the last marker in a job's log to its result's leaving for Discord; the upload is apart.

The grid comes finished from the backend and is passed through, or is composed here because the
workflow did not make one. What does not fit the place's 10 MiB is written smaller on the way.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness, recordings
from benchmarks.measure import show

JOBS = 6
SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of job: ``size`` is a picture's edge in pixels."""

    name: str
    size: int
    rows: int
    samples: int
    grid: bool
    photographs: bool
    goal: str


CASES = (
    Case("2 × 2 of 512, photographs, passed through", 512, 2, 2, True, True, "goal < 60 ms"),
    Case("2 × 2 of 512, photographs, composed", 512, 2, 2, False, True, "goal < 150 ms"),
    Case("4 × 3 of 768, plain, passed through", 768, 4, 3, True, False, "goal < 60 ms"),
    Case("4 × 3 of 768, plain, composed", 768, 4, 3, False, False, "goal < 150 ms"),
    Case("4 × 3 of 768, photographs, passed through", 768, 4, 3, True, True, "goal < 60 ms"),
    Case("4 × 3 of 768, photographs, composed", 768, 4, 3, False, True, "goal < 150 ms"),
)


def settings(case: Case, folder: Path, seconds: float) -> dict[str, str]:
    """The environment for a witness that runs such jobs."""
    path = folder / "recording"
    recordings.write(path, seconds=seconds, rows=case.rows, grid=case.grid)
    return {
        **harness.PLENTY,
        "GRIDBRUSH_IMAGINE__WIDTH": str(case.size),
        "GRIDBRUSH_IMAGINE__HEIGHT": str(case.size),
        "GRIDBRUSH_IMAGINE__ROWS": str(case.rows),
        "GRIDBRUSH_IMAGINE__SAMPLES": str(case.samples),
        "GRIDBRUSH_DELIVERY__ROWS": "links",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(path),
        "WITNESS_PHOTOGRAPHS": "yes" if case.photographs else "",
    }


async def _run(case: Case, folder: Path) -> None:
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, settings(case, folder, SECONDS), harness.RECORDER) as bot,
    ):
        sights = harness.Sights(playground)
        for number in range(JOBS):
            await harness.imagine(members[number])
            await harness.results(playground, sights, number + 1)
        posted = sorted(sights.results.values())
        await bot.stop()
    markers = [fact["at"] for fact in bot.said if "marker" in fact]
    sent = [fact["at"] for fact in bot.said if "sent" in fact]
    # One job after the other, so a result's upload is the last PATCH before it is seen. The first
    # job pays for what the process does once.
    ours, theirs = [], []
    for marker, at in list(zip(markers, posted, strict=True))[1:]:
        left = max(moment for moment in sent if moment < at)
        ours.append((left - marker) * 1000)
        theirs.append((at - left) * 1000)
    figure = f"{statistics.median(ours):.0f} ms (upload: {statistics.median(theirs):.0f} ms)"
    show(case.name, figure, case.goal)


def main() -> None:
    """Print the median of each case."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(_run(case, Path(name)))


if __name__ == "__main__":
    main()
