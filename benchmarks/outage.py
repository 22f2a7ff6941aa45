"""Run ten jobs on a Slurm cluster whose controller is stopped for half a minute meanwhile.

It needs a real cluster on loopback (Debian: slurm-wlm and munge). Slurm requeues jobs whose start
failed only after two minutes, so the benchmark takes that much longer.
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
OUTAGE_S = 30.0
STEPS, STEP_SECONDS = 20, 1.0
DONE = "Done"


def _settings(cluster: Cluster, folder: Path) -> dict[str, str]:
    section = "GRIDBRUSH_BACKEND__SLURM__"
    return {
        **harness.HIGH_LIMITS,
        **harness.SMALLEST_JOB,
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


async def _wait_until(condition: Callable[[], bool], within: float) -> float:
    """Wait until the condition holds and return the time. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the state of another process
            await asyncio.sleep(0.1)
    return time.monotonic()


def _count_showing(invocations: list[Invocation], text: str) -> int:
    return sum(one.response is not None and text in one.response.text for one in invocations)


async def _run(cluster: Cluster, folder: Path) -> None:
    async with (
        harness.open_playground() as (playground, members),
        harness.run_bot(playground, folder, _settings(cluster, folder), harness.RUN_PROBE) as bot,
    ):
        invocations = [await harness.imagine(members[number]) for number in range(JOBS)]
        await _wait_until(lambda: cluster.jobs("%T").count("RUNNING") >= JOBS // 2, within=60)
        await asyncio.to_thread(cluster.stop_controller)
        stopped_at = time.monotonic()
        notified_at = await _wait_until(
            lambda: (
                _count_showing(invocations, BACKEND_UNAVAILABLE_NOTICE)
                + _count_showing(invocations, DONE)
                == JOBS
            ),
            OUTAGE_S,
        )
        notified = _count_showing(invocations, BACKEND_UNAVAILABLE_NOTICE)
        await asyncio.sleep(stopped_at + OUTAGE_S - time.monotonic())
        done_during_outage = _count_showing(invocations, DONE)
        await asyncio.to_thread(cluster.start_controller)
        done_at = await _wait_until(lambda: _count_showing(invocations, DONE) == JOBS, within=300)
        names = await asyncio.to_thread(cluster.jobs, "%j")
        await bot.stop()
    stalls = [(fact["at"], fact["stall"] * 1000) for fact in bot.reports if "stall" in fact]
    stalls_during = [stall for at, stall in stalls if stopped_at < at <= stopped_at + OUTAGE_S]
    stalls_after = [stall for at, stall in stalls if stopped_at + OUTAGE_S < at <= done_at]
    show(
        f"status messages with the notice, {OUTAGE_S:g} s outage",
        f"{notified} after {notified_at - stopped_at:.1f} s",
    )
    show(
        "  grids posted during the outage, in the end",
        f"{done_during_outage}, {_count_showing(invocations, DONE)} of {JOBS}",
    )
    show("  jobs in Slurm, names of them", f"{len(names)}, {len(set(names))}")
    show(
        "  longest stall during the outage",
        f"{max(stalls_during, default=0):.0f} ms",
        "goal < 50 ms",
    )
    show("  longest stall afterwards, ten grids composed", f"{max(stalls_after, default=0):.0f} ms")


def main() -> None:
    """Print the figures, or what is missing to measure them."""
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
