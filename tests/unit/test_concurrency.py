"""Shared calls, locks by key, delays between attempts, and tasks that are stopped."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from bot.concurrency import (
    EXPONENTIAL_DELAYS_S,
    MAX_REQUESTED_DELAY_S,
    Backoff,
    KeyedLock,
    SingleFlight,
    cancel_and_wait,
    delay_after,
    wait_for_event,
)


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


async def test_a_key_has_one_holder_and_another_key_another() -> None:
    locks = KeyedLock()
    order: list[str] = []
    entered = asyncio.Event()

    async def second() -> None:
        entered.set()
        async with locks.acquire("a"):
            order.append("second")

    async with locks.acquire("a"):
        task = asyncio.create_task(second())
        await entered.wait()
        async with locks.acquire("b"):
            order.append("other key")
        order.append("first")
    await task

    assert order == ["other key", "first", "second"]
    assert len(locks) == 0


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    locks = KeyedLock()

    async def wait() -> None:
        async with locks.acquire("a"):
            raise AssertionError("never gets it")

    async with locks.acquire("a"):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await cancel_and_wait(task)

    assert len(locks) == 0


@pytest.mark.parametrize("delays", [(1.0,), (1.0, 2.0, 5.0), EXPONENTIAL_DELAYS_S])
def test_the_delays_are_taken_in_order_and_the_last_repeats(delays: Sequence[float]) -> None:
    backoff = Backoff(delays)
    expected = [*delays, delays[-1], delays[-1]]

    assert [backoff.next() for _ in expected] == expected
    assert [delay_after(delays, attempt) for attempt in range(len(expected))] == expected
    backoff.reset()
    assert backoff.next() == delays[0]


@pytest.mark.parametrize(
    ("chance", "expected"), [(0.0, [0.5, 1.0, 2.0, 2.0]), (0.5, [0.75, 1.5, 3.0, 3.0])]
)
def test_half_of_each_delay_may_be_left_to_chance(chance: float, expected: list[float]) -> None:
    backoff = Backoff((1.0, 2.0, 4.0), jitter=0.5, chance=lambda: chance)

    assert [backoff.next() for _ in expected] == expected


@pytest.mark.parametrize(
    ("delays", "at_least", "expected"),
    [
        ((1.0, 5.0), 0.0, 1.0),
        ((1.0, 5.0), -2.0, 1.0),
        ((1.0, 5.0), 0.9, 1.0),
        ((1.0, 5.0), 3.0, 3.0),
        ((1.0, 5.0), 61.0, 61.0),
        (EXPONENTIAL_DELAYS_S, 600.0, 600.0),
        (EXPONENTIAL_DELAYS_S, 3600.0, 3600.0),
        (EXPONENTIAL_DELAYS_S, 86_400.0, MAX_REQUESTED_DELAY_S),
        (EXPONENTIAL_DELAYS_S, math.inf, MAX_REQUESTED_DELAY_S),
        (EXPONENTIAL_DELAYS_S, math.nan, 0.5),
        ((7200.0, 86_400.0), 5.0, 7200.0),
    ],
)
def test_a_delay_asked_for_is_honoured_up_to_an_hour(
    delays: Sequence[float], at_least: float, expected: float
) -> None:
    assert Backoff(delays).next(at_least) == expected


def test_a_delay_asked_for_once_does_not_lengthen_the_next() -> None:
    backoff = Backoff((1.0, 5.0))

    assert [backoff.next(600.0), backoff.next()] == [600.0, 5.0]
    assert backoff.attempts == 2


async def test_tasks_are_cancelled_and_have_ended_however_they_end() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def fail_when_cancelled() -> None:
        try:
            await wait()
        finally:
            raise ValueError("while it ended")

    async def finish() -> int:
        return 7

    async def take_time() -> None:
        try:
            await wait()
        finally:
            await turns()

    waiting, failing, finished, slow = (
        asyncio.create_task(wait()),
        asyncio.create_task(fail_when_cancelled()),
        asyncio.create_task(finish()),
        asyncio.create_task(take_time()),
    )
    await turns()

    for _ in range(2):
        await cancel_and_wait(waiting, None, failing, finished, slow)

    assert waiting.cancelled()
    assert isinstance(failing.exception(), ValueError)
    assert finished.result() == 7
    assert slow.cancelled()


@pytest.mark.parametrize("first", ["event", "sleep"])
async def test_a_wait_ends_with_the_event_or_the_time_and_leaves_no_task(first: str) -> None:
    event, asked = asyncio.Event(), []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        if first == "event":
            event.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    await wait_for_event(event, 7.0, sleep)
    await asyncio.sleep(0)
    assert asked == [7.0]
    assert event.is_set() is (first == "event")
    assert asyncio.all_tasks() == before
