"""Measure accepted requests per second: committed with synchronous=FULL, then returned."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time

from benchmarks import fixtures
from benchmarks.measure import percentile, show
from bot.bootstrap import Application

CALLERS = (1, 10, 100)
DURATION_S = 2.0
MEMBERS = 50


async def _accept_continuously(engine: Application, callers: int) -> tuple[float, list[float]]:
    """Return accepts per second and the latencies, with callers that wait for each answer."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def caller(first: int) -> None:
        user = first
        while (started := time.perf_counter()) < begin + DURATION_S:
            await engine.queue.submit(fixtures.request(user), fixtures.member(user))
            latencies.append(time.perf_counter() - started)
            user = user % MEMBERS + 1

    await asyncio.gather(*(caller(number % MEMBERS + 1) for number in range(callers)))
    return len(latencies) / (time.perf_counter() - begin), latencies


def measure_fdatasync_rate() -> float:
    """Return how often per second this disk can sync a page: the limit for one caller."""
    with tempfile.TemporaryFile() as file:
        begin, count = time.perf_counter(), 0
        while time.perf_counter() < begin + 0.5:
            file.write(b"\0" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begin)


async def _run() -> None:
    show("fdatasync of 4 kB on this disk", f"{measure_fdatasync_rate():.0f}/s")
    for callers in CALLERS:
        async with fixtures.open_engine() as engine:
            rate, latencies = await _accept_continuously(engine, callers)
        goal = "goal > 1000/s" if callers == max(CALLERS) else ""
        slow = percentile(latencies, 99) * 1000
        show(f"durable accepts, {callers} callers", f"{rate:.0f}/s, p99 {slow:.1f} ms", goal)


def main() -> None:
    """Print accepts per second for each number of callers."""
    asyncio.run(_run())


if __name__ == "__main__":
    main()
