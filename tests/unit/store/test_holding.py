"""Keeping the store from being written, as the playground's page may ask for."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bot.store.holding import hold_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "gridbrush.sqlite3"
    with sqlite3.connect(made) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    return made


def write(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=0)
    try:
        with connection:
            connection.execute("INSERT INTO t VALUES (1)")
    finally:
        connection.close()


async def locked(path: Path) -> None:
    """Wait until nobody else can write."""
    while True:
        try:
            write(path)
        except sqlite3.OperationalError:
            return
        await asyncio.sleep(0)


async def test_nobody_writes_while_it_is_held_and_cancelling_ends_it(path: Path) -> None:
    holding = asyncio.create_task(hold_store(path, 600))
    await locked(path)
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) >= 0 FROM t").fetchone() == (1,)
    reader.close()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    write(path)


async def test_it_ends_by_itself(path: Path) -> None:
    await hold_store(path, 0)
    write(path)
