"""One job by one member behind a 200-job flood by another, in the real engine with one slot."""

from __future__ import annotations

import asyncio

from benchmarks import fixtures
from benchmarks.measure import show
from bot.domain.events import JobEvent, Scheduled
from bot.domain.job import Job

FLOOD = 200
GREEDY, MODEST = 1, 2


class Starts:
    """Whose jobs were started, in order; ``first`` is set with the first of them."""

    def __init__(self) -> None:
        self.authors: list[int] = []
        self.first = asyncio.Event()
        self.served = asyncio.Event()

    async def on_event(self, job: Job, event: JobEvent) -> None:
        if isinstance(event, Scheduled):
            self.authors.append(job.request.author.id)
            self.first.set()
            if job.request.author.id == MODEST:
                self.served.set()


async def _place(*, late: bool) -> int:
    """How many starts, from when the modest member was accepted, it took to their own."""
    starts = Starts()
    async with fixtures.engine(observers=[starts]) as engine:
        queue = engine.queue
        for _ in range(FLOOD):
            await queue.submit(fixtures.request(GREEDY), fixtures.member(GREEDY))
        running = None
        if late:
            running = asyncio.create_task(engine.scheduler.run())
            await starts.first.wait()
        await queue.submit(fixtures.request(MODEST), fixtures.member(MODEST))
        before = len(starts.authors)
        running = running or asyncio.create_task(engine.scheduler.run())
        await starts.served.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return starts.authors.index(MODEST) + 1 - before


def main() -> None:
    """Print both places."""
    for name, late in (("before anything runs", False), ("while the flood runs", True)):
        place = asyncio.run(_place(late=late))
        show(f"1 job behind {FLOOD}, {name}", f"starts as number {place}", "goal at most 2")


if __name__ == "__main__":
    main()
