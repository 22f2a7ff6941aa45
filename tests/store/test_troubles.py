from __future__ import annotations

import asyncio
import sqlite3

import pytest

from bot.domain.errors import StoreUnavailable
from bot.store.database import Database, Query
from tests.store.accounts import add, balance


async def test_the_reader_cannot_write(account: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await account.read(Query("DELETE FROM account RETURNING left", (), len))


async def test_a_misspelt_question_is_a_defect_and_not_the_operators_fault(
    account: Database,
) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await account.read(Query("SELECT nothing FROM nowhere", (), len))


async def test_a_dropped_transaction_fails_everybody_in_it(account: Database) -> None:
    def drop(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")  # what SQLite does by itself when the disk is full
        connection.execute("SELECT nothing FROM nowhere")

    results = await asyncio.gather(
        account.write(lambda connection: add(connection, "lost")),
        account.write(drop),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [sqlite3.OperationalError] * 2
    assert await account.read(balance("lost")) is None
    await account.write(lambda connection: add(connection, "next"))
    assert await account.read(balance("next")) == 1


async def test_nothing_is_written_after_a_transaction_was_dropped(account: Database) -> None:
    async def go_on_regardless() -> None:
        async with account.transaction() as transaction:
            await transaction.run(lambda connection: connection.execute("ROLLBACK"))
            with pytest.raises(sqlite3.OperationalError, match="dropped"):
                await transaction.run(lambda connection: add(connection, "stray"))

    with pytest.raises(sqlite3.OperationalError, match="no transaction"):
        await go_on_regardless()
    assert await account.read(balance("stray")) is None


async def test_a_transaction_does_not_wait_for_another_program(account: Database) -> None:
    await account.write(lambda connection: connection.execute("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(account.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="held by another program"):
        async with account.transaction():
            pytest.fail("the block must not be entered")
    other.execute("ROLLBACK")
    other.close()
    await account.write(lambda connection: add(connection, "free"))
    assert await account.read(balance("free")) == 1
