from __future__ import annotations

import asyncio
import sqlite3

import pytest

from bot.store.database import Database, Query
from tests.unit.store.accounts import add, balance


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
