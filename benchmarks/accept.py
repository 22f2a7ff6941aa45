"""Durable accepts a second through the one door: committed with synchronous=FULL, then told."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time

from benchmarks import fixtures
from benchmarks.measure import percentile, show
from bot.bootstrap import Application

CALLERS = (1, 10, 100)
SECONDS = 2.0
MEMBERS = 50


async def _flood(engine: Application, callers: int) -> tuple[float, list[float]]:
    """Accepts a second by callers who ask again once they were told, and how long each took."""
    took: list[float] = []
    begin = time.perf_counter()

    async def caller(first: int) -> None:
        user = first
        while (asked := time.perf_counter()) < begin + SECONDS:
            await engine.queue.submit(fixtures.request(user), fixtures.member(user))
            took.append(time.perf_counter() - asked)
            user = user % MEMBERS + 1

    await asyncio.gather(*(caller(number % MEMBERS + 1) for number in range(callers)))
    return len(took) / (time.perf_counter() - begin), took


def syncs_a_second() -> float:
    """How often this disk can be made to keep a page for good: what one caller is bounded by."""
    with tempfile.TemporaryFile() as file:
        begin, count = time.perf_counter(), 0
        while time.perf_counter() < begin + 0.5:
            file.write(b"\0" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begin)


async def _run() -> None:
    show("fdatasync of 4 kB on this disk", f"{syncs_a_second():.0f}/s")
    for callers in CALLERS:
        async with fixtures.engine() as engine:
            rate, took = await _flood(engine, callers)
        goal = "goal > 1000/s" if callers == max(CALLERS) else ""
        slow = percentile(took, 99) * 1000
        show(f"durable accepts, {callers} callers", f"{rate:.0f}/s, p99 {slow:.1f} ms", goal)


def main() -> None:
    """Print accepts a second for each number of callers."""
    asyncio.run(_run())


if __name__ == "__main__":
    main()
