"""Ten jobs on a Slurm cluster whose controller goes away for half a minute in the middle of them.

A real cluster on loopback (Debian: slurm-wlm and munge). Besides what is counted it takes two
minutes: so long Slurm holds back jobs that it started wrongly after its return.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import harness
from benchmarks.measure import show
from bot.playground.client.driver import Invocation
from bot.runtime import BACKEND_UNAVAILABLE_NOTICE
from tests.slurm.cluster import Cluster, missing

JOBS = 10
SECONDS = 30.0
STEPS, STEP_SECONDS = 20, 1.0
DONE = "Done"


def _settings(cluster: Cluster, folder: Path) -> dict[str, str]:
    section = "GRIDBRUSH_BACKEND__SLURM__"
    return {
        **harness.PLENTY,
        **harness.SMALL,
        "GRIDBRUSH_IMAGINE__ROWS": "2",
        "GRIDBRUSH_IMAGINE__STEPS": str(STEPS),
        "GRIDBRUSH_QUEUE__RUNNING": str(JOBS),
        "GRIDBRUSH_BACKEND__KIND": "slurm",
        f"{section}SHARED_DIR": str(folder / "shared"),
        f"{section}ENGINE": "sketch",
        f"{section}STEP_SECONDS": str(STEP_SECONDS),
        "PATH": cluster.environ["PATH"],
        "SLURM_CONF": str(cluster.configuration),
    }


async def _until(true: Callable[[], bool], within: float) -> float:
    """Wait; the moment at which it was so. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.1)
    return time.monotonic()


def _saying(asked: list[Invocation], words: str) -> int:
    return sum(one.response is not None and words in one.response.text for one in asked)


async def _run(cluster: Cluster, folder: Path) -> None:
    async with (
        harness.playing() as (playground, members),
        harness.bot(playground, folder, _settings(cluster, folder), harness.RECORDER) as bot,
    ):
        asked = [await harness.imagine(members[number]) for number in range(JOBS)]
        await _until(lambda: cluster.jobs("%T").count("RUNNING") >= JOBS // 2, within=60)
        await asyncio.to_thread(cluster.stop_controller)
        gone = time.monotonic()
        told = await _until(
            lambda: _saying(asked, BACKEND_UNAVAILABLE_NOTICE) + _saying(asked, DONE) == JOBS,
            SECONDS,
        )
        said = _saying(asked, BACKEND_UNAVAILABLE_NOTICE)
        await asyncio.sleep(gone + SECONDS - time.monotonic())
        meanwhile = _saying(asked, DONE)
        await asyncio.to_thread(cluster.start_controller)
        back = await _until(lambda: _saying(asked, DONE) == JOBS, within=300)
        names = await asyncio.to_thread(cluster.jobs, "%j")
        await bot.stop()
    stalls = [(fact["at"], fact["stall"] * 1000) for fact in bot.said if "stall" in fact]
    away = [late for at, late in stalls if gone < at <= gone + SECONDS]
    after = [late for at, late in stalls if gone + SECONDS < at <= back]
    show(f"cards saying it, controller away {SECONDS:g} s", f"{said} after {told - gone:.1f} s")
    show("  grids posted meanwhile, and at last", f"{meanwhile}, {_saying(asked, DONE)} of {JOBS}")
    show("  jobs in Slurm, names of them", f"{len(names)}, {len(set(names))}")
    show("  longest stall while it is away", f"{max(away, default=0):.0f} ms", "goal < 50 ms")
    show("  longest stall after it, ten grids composed", f"{max(after, default=0):.0f} ms")


def main() -> None:
    """Print what was seen; on a machine without Slurm, that."""
    if lacking := missing():
        show("outage of a Slurm controller", f"not measured, without {', '.join(lacking)}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cluster").mkdir()
        cluster = Cluster(folder / "cluster")
        cluster.up()
        try:
            asyncio.run(_run(cluster, folder))
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
