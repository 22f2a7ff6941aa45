"""An open database in a real file, and one with a purse of 100 in it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store.database import Database
from tests.unit.store.builders import fixed_now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "gridbrush.sqlite3", now=fixed_now) as opened:
        yield opened


@pytest.fixture
async def account(database: Database) -> Database:
    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE account (name TEXT PRIMARY KEY, left INTEGER NOT NULL)")
        connection.execute("INSERT INTO account VALUES ('purse', 100)")

    await database.write(prepare)
    return database
