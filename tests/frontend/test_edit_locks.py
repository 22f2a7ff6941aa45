"""Only one writes on a card at a time."""

from __future__ import annotations

import asyncio

from bot.concurrency import KeyedLock


async def test_a_card_has_one_pen_and_another_card_another() -> None:
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
            order.append("other card")
        order.append("first")
    await task

    assert order == ["other card", "first", "second"]
    assert len(locks) == 0


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    locks = KeyedLock()

    async def wait() -> None:
        async with locks.acquire("a"):
            raise AssertionError("never gets it")

    async with locks.acquire("a"):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert len(locks) == 0
