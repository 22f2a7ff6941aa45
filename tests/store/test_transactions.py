from __future__ import annotations

import asyncio
import sqlite3

import pytest

from bot.store.database import Database
from tests.store.accounts import Gate, add, balance, left_in


async def test_withdrawals_that_think_between_reading_and_writing_do_not_race(
    account: Database,
) -> None:
    async def withdraw() -> bool:
        async with account.transaction() as transaction:
            left = await transaction.run(left_in)
            await asyncio.sleep(0)
            if left is None or left < 60:
                return False
            await transaction.run(
                lambda connection: connection.execute("UPDATE account SET left = left - 60")
            )
            return True

    taken = await asyncio.gather(*(withdraw() for _ in range(3)))
    assert sorted(taken) == [False, False, True]
    assert await account.read(balance()) == 40


async def test_writes_that_gather_behind_a_slow_one_are_kept_apart_from_a_transaction(
    account: Database,
) -> None:
    gate = Gate()
    slow = asyncio.create_task(account.write(lambda _: gate.wait()))
    await gate.reached()
    behind = asyncio.create_task(account.write(lambda connection: add(connection, "behind")))
    await asyncio.sleep(0)

    async def look() -> int | None:
        async with account.transaction() as transaction:
            return await transaction.run(lambda connection: left_in(connection, "behind"))

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(slow, behind)
    assert await looking == 1


async def test_a_transaction_that_raises_leaves_nothing_and_takes_nobody_with_it(
    account: Database,
) -> None:
    inside = asyncio.Event()
    go_on = asyncio.Event()

    async def fail() -> None:
        async with account.transaction() as transaction:
            await transaction.run(lambda connection: add(connection, "ghost"))
            inside.set()
            await go_on.wait()
            raise LookupError

    failing = asyncio.create_task(fail())
    await inside.wait()
    other = asyncio.create_task(account.write(lambda connection: add(connection, "other")))
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(LookupError):
        await failing
    await other
    assert await account.read(balance("ghost")) is None
    assert await account.read(balance("other")) == 1


async def test_a_transaction_cancelled_in_its_middle_is_undone(account: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with account.transaction() as transaction:
            await transaction.run(lambda connection: add(connection, "ghost"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await account.write(lambda connection: left_in(connection, "ghost")) is None


async def test_a_transaction_cancelled_while_it_commits_is_kept_whole(account: Database) -> None:
    gate = Gate()
    ending = asyncio.Event()
    slow: list[asyncio.Task[None]] = []

    async def end_behind_a_slow_call() -> None:
        async with account.transaction() as transaction:
            await transaction.run(lambda connection: add(connection, "kept"))
            slow.append(asyncio.create_task(transaction.run(lambda _: gate.wait())))
            await gate.reached()
            # Nothing is awaited from here to the wait for the commit.
            ending.set()

    task = asyncio.create_task(end_behind_a_slow_call())
    await ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    await slow[0]
    assert await account.read(balance("kept")) == 1


async def test_a_transaction_cancelled_while_it_waits_its_turn_holds_nobody_up(
    account: Database,
) -> None:
    entered = False

    async def second() -> None:
        nonlocal entered
        async with account.transaction():
            entered = True

    async with account.transaction() as first:
        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await first.run(lambda connection: add(connection, "first"))
    await account.write(lambda connection: add(connection, "third"))
    assert not entered
    assert await account.read(balance("first")) == 1


async def test_a_task_cannot_wait_for_its_own_transaction(account: Database) -> None:
    async with account.transaction():
        with pytest.raises(RuntimeError, match="write through it"):
            await account.write(left_in)


async def test_a_failed_call_in_a_transaction_may_be_survived(account: Database) -> None:
    async with account.transaction() as transaction:
        with pytest.raises(sqlite3.IntegrityError):
            await transaction.run(lambda connection: add(connection, "purse"))
        await transaction.run(lambda connection: add(connection, "second try"))
    assert await account.read(balance("second try")) == 1
