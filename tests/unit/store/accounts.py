"""A purse of 100 in the database, to withdraw from, and a gate to hold the writer at."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.store.database import Database, Query


def left_in(connection: sqlite3.Connection, name: str = "purse") -> int | None:
    row = connection.execute("SELECT left FROM account WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def balance(name: str = "purse") -> Query[int | None]:
    sql = "SELECT left FROM account WHERE name = ?"
    return Query(sql, (name,), lambda rows: rows[0][0] if rows else None)


def add(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO account VALUES (?, 1)", (name,))


class Gate:
    """Holds the writer's thread inside a call until it is opened."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()

    def wait(self) -> None:
        self._entered.set()
        assert self._opened.wait(20)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 20)

    def open(self) -> None:
        self._opened.set()


def hold_reader(database: Database, gate: Gate) -> asyncio.Task[None]:
    """Keep whoever reads waiting until the gate is opened, like a disk that hangs."""
    return asyncio.create_task(database._reader._execute(gate.wait))  # type: ignore[no-untyped-call]


@asynccontextmanager
async def half_done(database: Database, sql: str) -> AsyncIterator[None]:
    """Hold a transaction open that has run ``sql``; it commits when the block ends."""
    gate = Gate()

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(sql)
        gate.wait()

    writing = asyncio.create_task(database.write(write))
    await gate.reached()
    try:
        yield
    finally:
        gate.open()
        await writing
