"""Measure from the last marker of a job to the start of its upload; the upload is shown apart.

The grid is fetched from the backend, or composed here because the workflow did not make one. A grid
above Discord's 10 MiB is written smaller first.
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
JOB_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of job. ``size`` is the edge of an image in pixels."""

    name: str
    size: int
    rows: int
    samples: int
    grid: bool
    like_photographs: bool
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
    """Return the environment of a ``benchmarks.probe`` that runs such jobs."""
    path = folder / "recording"
    recordings.write(path, seconds=seconds, rows=case.rows, grid=case.grid)
    return {
        **harness.HIGH_LIMITS,
        "GRIDBRUSH_IMAGINE__WIDTH": str(case.size),
        "GRIDBRUSH_IMAGINE__HEIGHT": str(case.size),
        "GRIDBRUSH_IMAGINE__ROWS": str(case.rows),
        "GRIDBRUSH_IMAGINE__SAMPLES": str(case.samples),
        "GRIDBRUSH_DELIVERY__ROWS": "links",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(path),
        "PROBE_PHOTOGRAPHS": "yes" if case.like_photographs else "",
    }


async def _run(case: Case, folder: Path) -> None:
    async with (
        harness.open_playground() as (playground, members),
        harness.run_bot(
            playground, folder, settings(case, folder, JOB_SECONDS), harness.RUN_PROBE
        ) as bot,
    ):
        observer = harness.PlaygroundObserver(playground)
        for number in range(JOBS):
            await harness.imagine(members[number])
            await harness.results(playground, observer, number + 1)
        posted = sorted(observer.results.values())
        await bot.stop()
    markers = [fact["at"] for fact in bot.reports if "marker" in fact]
    sent = [fact["at"] for fact in bot.reports if "sent" in fact]
    # Jobs run one by one, so the upload of a result is the last PATCH before it is visible. The
    # first job is skipped: it includes what the process does once.
    delivery_ms, upload_ms = [], []
    for marker, at in list(zip(markers, posted, strict=True))[1:]:
        sent_at = max(moment for moment in sent if moment < at)
        delivery_ms.append((sent_at - marker) * 1000)
        upload_ms.append((at - sent_at) * 1000)
    figure = (
        f"{statistics.median(delivery_ms):.0f} ms (upload: {statistics.median(upload_ms):.0f} ms)"
    )
    show(case.name, figure, case.goal)


def main() -> None:
    """Print the median of each case."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(_run(case, Path(name)))


if __name__ == "__main__":
    main()
