"""The database file: opened, checked, migrated, read, written and copied. Knows no table.

One writer (``bot.store.writer``) and one read-only connection (aiosqlite): in WAL mode a reader
never waits for the writer nor the writer for a reader. Two processes may share the file, such as
the bot and its command line; each waits ``busy_timeout`` for the other's transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiosqlite

from bot.domain.errors import ConfigError
from bot.store import backups, identity, schema
from bot.store.faults import explain
from bot.store.query import Query
from bot.store.writer import Call, Session, Verdict, Writer

Result = TypeVar("Result")

_BUSY_SECONDS = 10.0


class Transaction:
    """A transaction over several awaits, made by ``Database.transaction``."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop

    async def run(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``function`` in the writer's thread, inside this transaction."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._session.inbox.put(Call(function, future))
        return await future


class Database:
    """An open database file; close it with ``aclose`` or use it with ``async with``."""

    def __init__(self, path: Path, writer: Writer, reader: aiosqlite.Connection) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._holders: set[asyncio.Task[Any] | None] = set()
        self._open = True

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        now: Callable[[], datetime],
        migrations: Sequence[schema.Migration] | None = None,
    ) -> Database:
        """Open ``path``, created if missing, checked and migrated; by default to this release.

        Raises ConfigError if the file is damaged, newer than this code, another program's, or
        cannot be written to.
        """
        try:
            connection = await asyncio.to_thread(_prepare, path, migrations, now)
            reader = await aiosqlite.connect(
                schema.read_only(path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS
            )
        except sqlite3.Error as error:
            raise explain(error, path) from error
        except OSError as error:
            raise ConfigError(
                str(path),
                f"the database cannot be opened ({error.strerror})",
                "Check that [data] dir is a folder the bot's user may write to.",
            ) from error
        reader.row_factory = sqlite3.Row
        loop = asyncio.get_running_loop()
        return cls(path, Writer(connection, loop, lambda error: explain(error, path)), reader)

    async def write(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``function`` in a transaction of its own and return its result once it is durable.

        ``function`` runs in the writer's thread and sees everything written before; if it raises,
        its changes are undone and the error is raised here. It must not commit, roll back or wait
        for anything. A cancelled caller's function has run whole or not at all. Raises ConfigError
        when the disk or the file gives trouble.
        """
        self._refuse_if_closed_or_held()
        result: Result = await self._writer.submit(function)
        return result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction over several awaits; every other writer waits until it ends.

        Commits when the block ends, rolls back when it raises or is cancelled. Prefer ``write``;
        inside the block wait for nothing but this transaction.
        """
        self._refuse_if_closed_or_held()
        session = self._writer.begin()
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[None] = loop.create_future()
        try:
            await asyncio.shield(session.begun)
        except BaseException:
            # Cancelled while waiting in line: the writer finds this when the turn comes.
            session.inbox.put(Verdict(commit=False, future=verdict))
            raise
        holder = asyncio.current_task()
        self._holders.add(holder)
        try:
            yield Transaction(session, loop)
        except BaseException:
            session.inbox.put(Verdict(commit=False, future=verdict))
            await _outlast(verdict)
            raise
        else:
            session.inbox.put(Verdict(commit=True, future=verdict))
            await _outlast(verdict)
        finally:
            self._holders.discard(holder)

    async def read(self, query: Query[Result]) -> Result:
        """The answer as of the last commit, without waiting for the writer."""
        try:
            rows = await self._reader.execute_fetchall(query.sql, query.parameters)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return query.shape(list(rows))

    async def backup(self, target: Path) -> None:
        """Copy the database, while it is in use, to ``target``, which must not exist.

        Raises ConfigError naming ``target`` if that fails; then nothing is left behind.
        """
        await asyncio.to_thread(backups.back_up, self.path, target)

    async def aclose(self) -> None:
        """Finish what was submitted and let go of the file; may be called twice."""
        if not self._open:
            return
        self._open = False
        await self._reader.close()
        await self._writer.aclose()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _refuse_if_closed_or_held(self) -> None:
        if not self._open:
            raise RuntimeError("the database is closed")
        if asyncio.current_task() in self._holders:
            # It would wait for its own transaction to end, for ever.
            raise RuntimeError("this task holds a transaction: write through it")


async def _outlast(future: asyncio.Future[None]) -> None:
    """Wait for ``future`` even if cancelled meanwhile, and be cancelled only then."""
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        raise


def create(path: Path, now: Callable[[], datetime]) -> None:
    """Make an empty database of this release at ``path``, where none may be. Blocking."""
    _prepare(path, None, now).close()


def _prepare(
    path: Path, migrations: Sequence[schema.Migration] | None, now: Callable[[], datetime]
) -> sqlite3.Connection:
    """The writing connection to a sound file of the right schema."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity.refuse_stale_log(path)
    schema.create_private(path)
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.row_factory = sqlite3.Row
        schema.check_file(connection, path)
        schema.write_ahead(connection, path)
        # FULL: what a member was told is accepted survives a power cut, not only a crash.
        connection.execute("PRAGMA synchronous = FULL")
        # Erased prompts are overwritten, not merely unlinked.
        connection.execute("PRAGMA secure_delete = ON")
        schema.migrate(connection, path, migrations or schema.stock_migrations(), now)
        identity.establish(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection
