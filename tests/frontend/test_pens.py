"""Only one writes on a card at a time."""

from __future__ import annotations

import asyncio

from bot.concurrency import KeyedLock


async def test_a_card_has_one_pen_and_another_card_another() -> None:
    pens = KeyedLock()
    order: list[str] = []
    entered = asyncio.Event()

    async def second() -> None:
        entered.set()
        async with pens.acquire("a"):
            order.append("second")

    async with pens.acquire("a"):
        task = asyncio.create_task(second())
        await entered.wait()
        async with pens.acquire("b"):
            order.append("other card")
        order.append("first")
    await task

    assert order == ["other card", "first", "second"]
    assert len(pens) == 0


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    pens = KeyedLock()

    async def wait() -> None:
        async with pens.acquire("a"):
            raise AssertionError("never gets it")

    async with pens.acquire("a"):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert len(pens) == 0
