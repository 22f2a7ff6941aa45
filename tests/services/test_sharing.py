"""Many who ask at once share an answer, and nobody gets one from before their question."""

from __future__ import annotations

import asyncio

from bot.concurrency import SingleFlight


class Clerk:
    """Counts how often it is asked, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.fault: Exception | None = None

    async def find(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return number


async def turns() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_while_one_answer_is_worked_out_gets_the_next_one() -> None:
    clerk = Clerk()
    shared = SingleFlight(clerk.find)
    first = asyncio.create_task(shared.get())
    await turns()
    later = [asyncio.create_task(shared.get()) for _ in range(50)]
    await turns()
    assert clerk.asked == 1
    clerk.may_answer.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 50
    assert await shared.get() == 3


async def test_one_who_gives_up_takes_the_answer_from_nobody() -> None:
    clerk = Clerk()
    shared = SingleFlight(clerk.find)
    impatient, patient = (asyncio.create_task(shared.get()) for _ in range(2))
    await turns()
    impatient.cancel()
    clerk.may_answer.set()
    assert await patient == 1
    assert impatient.cancelled()


async def test_a_failure_is_everyones_who_asked_and_no_one_elses() -> None:
    clerk = Clerk()
    clerk.may_answer.set()
    clerk.fault = RuntimeError("the file is gone")
    shared = SingleFlight(clerk.find)
    first, second = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert first is clerk.fault
    assert second is clerk.fault
    clerk.fault = None
    assert await shared.get() == 2
