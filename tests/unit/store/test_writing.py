from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from bot.store.database import Database
from bot.store.writer import Writer
from tests.unit.store.accounts import Gate, add, balance, half_done, left_in
from tests.unit.store.builders import fixed_now


async def test_two_withdrawals_of_60_out_of_100_leave_40(account: Database) -> None:
    def withdraw(connection: sqlite3.Connection) -> bool:
        left = left_in(connection)
        assert left is not None
        if left < 60:
            return False
        connection.execute("UPDATE account SET left = left - 60 WHERE name = 'purse'")
        return True

    taken = await asyncio.gather(*(account.write(withdraw) for _ in range(3)))
    assert sorted(taken) == [False, False, True]
    assert await account.read(balance()) == 40


async def test_a_write_that_raises_is_undone_and_its_neighbours_are_kept(
    account: Database,
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add(connection, "ghost")
        raise LookupError("changed my mind")

    results = await asyncio.gather(
        account.write(lambda connection: add(connection, "before")),
        account.write(fail),
        account.write(lambda connection: add(connection, "after")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert await account.read(balance("ghost")) is None
    assert await account.read(balance("before")) == 1
    assert await account.read(balance("after")) == 1


async def test_a_broken_constraint_is_raised_as_it_is(account: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await account.write(lambda connection: add(connection, "purse"))


async def test_writes_of_one_moment_share_one_commit(account: Database) -> None:
    seen: list[str] = []
    await account.write(lambda connection: connection.set_trace_callback(seen.append))
    seen.clear()
    names = [f"member {number}" for number in range(50)]
    await asyncio.gather(*(account.write(partial(add, name=name)) for name in names))
    await account.write(lambda connection: connection.set_trace_callback(None))
    # One for the fifty; the trace ends before the commit of the write that ends it.
    assert seen.count("COMMIT") == 1
    assert [await account.read(balance(name)) for name in names] == [1] * 50


async def test_writes_that_gather_during_a_commit_share_the_next(account: Database) -> None:
    seen: list[str] = []
    gate = Gate()

    def slow(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(seen.append)
        gate.wait()

    tasks = [asyncio.create_task(account.write(slow))]
    await gate.reached()
    for name in ("one turn", "the next turn", "and the next"):
        tasks.append(asyncio.create_task(account.write(partial(add, name=name))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*tasks)
    await account.write(lambda connection: connection.set_trace_callback(None))
    assert seen.count("COMMIT") == 2


async def test_a_flood_of_writes_is_answered_in_order(account: Database) -> None:
    order: list[int] = []

    def note(_: sqlite3.Connection, number: int) -> None:
        order.append(number)

    await asyncio.gather(*(account.write(partial(note, number=number)) for number in range(700)))
    assert order == list(range(700))


async def test_a_cancelled_write_that_has_begun_is_kept_whole(account: Database) -> None:
    gate = Gate()

    def twice(connection: sqlite3.Connection) -> None:
        add(connection, "first half")
        gate.wait()
        add(connection, "second half")

    task = asyncio.create_task(account.write(twice))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await account.write(lambda connection: left_in(connection, "first half")) == 1
    assert await account.read(balance("second half")) == 1


async def test_a_cancelled_write_whose_turn_has_not_come_is_not_done(account: Database) -> None:
    gate = Gate()
    slow = asyncio.create_task(account.write(lambda _: gate.wait()))
    await gate.reached()
    waiting = asyncio.create_task(account.write(lambda connection: add(connection, "late")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    gate.open()
    await slow
    assert await account.write(lambda connection: left_in(connection, "late")) is None


async def test_a_reader_does_not_wait_for_the_writer(account: Database) -> None:
    async with half_done(account, "UPDATE account SET left = 0"):
        assert await account.read(balance()) == 100
    assert await account.read(balance()) == 0


async def test_two_programs_share_one_file_and_lose_nothing(account: Database) -> None:
    def count_up(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE account SET left = left + 1")

    async with await Database.open(account.path, now=fixed_now) as other:
        await asyncio.gather(
            *(program.write(count_up) for _ in range(40) for program in (account, other))
        )
        assert await other.read(balance()) == 180
    assert await account.read(balance()) == 180


async def test_closing_finishes_what_was_submitted(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    database = await Database.open(path, now=fixed_now)
    write = asyncio.create_task(
        database.write(lambda connection: connection.execute("CREATE TABLE kept (a)"))
    )
    await asyncio.sleep(0)
    await database.aclose()
    await write
    await database.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(lambda _: None)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    connection.close()


def test_a_writer_outlives_the_loop_it_answers_to(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    loop = asyncio.new_event_loop()
    writer = Writer(connection, loop, lambda error: error)
    gate = Gate()
    writer.submit(lambda _: gate.wait())
    writer.submit(lambda inside: inside.execute("CREATE TABLE kept (a)"))
    loop.run_until_complete(asyncio.sleep(0))  # both are with the writer now
    loop.close()
    gate.open()
    asyncio.run(writer.aclose())
    reopened = sqlite3.connect(path)
    assert reopened.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    reopened.close()
