"""Measure when a member's job starts behind 200 jobs of another member, with one slot."""

from __future__ import annotations

import asyncio

from benchmarks import fixtures
from benchmarks.measure import show
from bot.domain.events import JobEvent, Scheduled
from bot.domain.job import Job

FLOOD = 200
BUSY_MEMBER, OTHER_MEMBER = 1, 2


class StartLog:
    """The authors of started jobs, in order. ``first`` is set at the first start."""

    def __init__(self) -> None:
        self.authors: list[int] = []
        self.first = asyncio.Event()
        self.served = asyncio.Event()

    async def on_event(self, job: Job, event: JobEvent) -> None:
        if isinstance(event, Scheduled):
            self.authors.append(job.request.author.id)
            self.first.set()
            if job.request.author.id == OTHER_MEMBER:
                self.served.set()


async def _start_number(*, late: bool) -> int:
    """Return the number of starts from the acceptance of the other member's job to its start."""
    starts = StartLog()
    async with fixtures.open_engine(observers=[starts]) as engine:
        queue = engine.queue
        for _ in range(FLOOD):
            await queue.submit(fixtures.request(BUSY_MEMBER), fixtures.member(BUSY_MEMBER))
        running = None
        if late:
            running = asyncio.create_task(engine.scheduler.run())
            await starts.first.wait()
        await queue.submit(fixtures.request(OTHER_MEMBER), fixtures.member(OTHER_MEMBER))
        before = len(starts.authors)
        running = running or asyncio.create_task(engine.scheduler.run())
        await starts.served.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return starts.authors.index(OTHER_MEMBER) + 1 - before


def main() -> None:
    """Print both numbers."""
    for name, late in (("before anything runs", False), ("while the flood runs", True)):
        number = asyncio.run(_start_number(late=late))
        show(f"1 job behind {FLOOD}, {name}", f"starts as number {number}", "goal at most 2")


if __name__ == "__main__":
    main()
