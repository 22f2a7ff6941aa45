"""Open, check, migrate, read and write the database file.

One writer (``bot.store.writer``) and one read-only connection (aiosqlite): in WAL mode readers and
the writer never wait for each other. Two processes may share the file, such as the bot and its
command line; each waits for the other's transaction.

Once open, outages such as a full disk or a file locked by another program are waited out: writes
and reads are retried until they succeed or the caller's time is up (``bot.store.wait_limits``). The
log and ``on_change`` are notified once when an outage starts and once when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeAlias, TypeVar

import aiosqlite

from bot.concurrency import cancel_and_wait
from bot.domain.errors import ConfigError, StoreDamaged, StoreUnavailable
from bot.store import identity
from bot.store import migrations as schema
from bot.store.sqlite_errors import explain_open, map_sqlite_error
from bot.store.wait_limits import NO_ANSWER, max_wait_s, pause_after
from bot.store.writer import Later, Writer

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Value: TypeAlias = str | bytes | int | float | None


@dataclass(frozen=True, slots=True)
class Query(Generic[Result]):
    """A SELECT; ``map_rows`` turns all rows into the result, in any thread, so it must be pure."""

    sql: str
    parameters: tuple[Value, ...]
    map_rows: Callable[[Sequence[sqlite3.Row]], Result]

    def run(self, connection: sqlite3.Connection) -> Result:
        """Return the result as seen by the transaction of ``connection``."""
        return self.map_rows(connection.execute(self.sql, self.parameters).fetchall())


def placeholders(count: int) -> str:
    """Return ``count`` placeholders for an ``IN`` list: ``?, ?, ?``."""
    return ", ".join("?" * count)


_BUSY_SECONDS = 10.0
"""How long opening the file waits for another program."""

# Once open, waiting happens outside SQLite, so that neither thread is ever stuck in it.
_WRITER_BUSY_MS = 200
_READER_BUSY_MS = 100
_PROBE = Query("SELECT count(*) FROM schema_version", (), lambda rows: int(rows[0][0]))
_PROBE_BYTES = 16_384


class Database:
    """An open database; close it with ``aclose`` or use it with ``async with``."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        reader: aiosqlite.Connection,
        *,
        on_change: Callable[[str], None] = lambda _cause: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        later: Later | None = None,
    ) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(
            connection,
            self._loop,
            self._explain,
            probe=_probe_write,
            on_change=lambda cause: self._changed(writing=cause),
            later=later,
        )
        self._reader = reader
        self._on_change = on_change
        self._sleep = sleep
        self._open = True
        self._writing_cause = ""
        self._reading_cause = ""
        self._probe_task: asyncio.Task[int] | None = None
        self.damaged: asyncio.Future[None] = self._loop.create_future()
        """Fails with StoreDamaged when the file is found damaged; never succeeds."""

    @property
    def unavailable(self) -> str:
        """Return why the database cannot be used at the moment; "" while it can."""
        return self._writing_cause or self._reading_cause

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        now: Callable[[], datetime],
        migrations: Sequence[schema.Migration] | None = None,
        on_change: Callable[[str], None] = lambda _cause: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        later: Later | None = None,
    ) -> Database:
        """Open ``path``: create it if missing, check it, and migrate it to this release.

        ``on_change`` gets the cause when the store becomes unavailable, and "" when it is available
        again. ``sleep`` pauses between attempts to read, ``later`` times the deadlines of writes.
        Raises ConfigError if the file is damaged, newer than this release, another program's, or
        cannot be written to.
        """
        try:
            connection = await asyncio.to_thread(_prepare, path, migrations, now)
            reader = await aiosqlite.connect(
                schema.read_only(path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS
            )
            await reader.execute(f"PRAGMA busy_timeout = {_READER_BUSY_MS}")
        except sqlite3.Error as error:
            raise map_sqlite_error(error, path) from error
        except OSError as error:
            raise ConfigError(
                str(path),
                f"the database cannot be opened ({error.strerror})",
                "Check that [data] dir is a folder the bot's user may write to.",
            ) from error
        reader.row_factory = sqlite3.Row
        return cls(path, connection, reader, on_change=on_change, sleep=sleep, later=later)

    async def write(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``function`` in its own transaction and return its result once it is durable.

        ``function`` runs in the writer's thread and sees everything written before. If it raises,
        its changes are rolled back and the error is raised here. It must not commit, roll back or
        wait, and may run several times, but takes effect once. If the caller is cancelled, it has
        run completely or not at all. Waits while the store is unavailable; in a task with limited
        waits it raises StoreUnavailable afterwards, and then nothing was or will be written.
        Raises StoreDamaged.
        """
        if not self._open:
            raise RuntimeError("the database is closed")
        result: Result = await self._writer.submit(function, max_wait_s())
        return result

    async def read(self, query: Query[Result]) -> Result:
        """Return the result as of the last commit, without waiting for the writer.

        Waits like ``write`` while the store is unavailable. Raises StoreUnavailable, StoreDamaged.
        """
        limit = max_wait_s()
        try:
            # A disk that hangs gives no error to count attempts by.
            async with asyncio.timeout(limit):
                return await self._read(query, limit)
        except TimeoutError as error:
            raise StoreUnavailable(self.unavailable or NO_ANSWER) from error

    async def _read(self, query: Query[Result], limit: float | None) -> Result:
        waited, attempt = 0.0, 0
        while True:
            try:
                rows = await self._reader.execute_fetchall(query.sql, query.parameters)
            except sqlite3.Error as error:
                reason = self._explain(error)
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
                    raise  # a query that writes is a bug
                if not isinstance(reason, StoreUnavailable):
                    raise reason from error
                self._changed(reading=reason.cause)
                if limit is not None and waited >= limit:
                    raise reason from error
                waited += pause_after(attempt) + _READER_BUSY_MS / 1000
                await self._sleep(pause_after(attempt))
                attempt += 1
            else:
                if self._reading_cause:
                    self._changed(reading="")
                return query.map_rows(list(rows))

    async def probe(self) -> None:
        """Test writing and reading; leaves nothing behind. Raises what ``write`` raises."""
        await self.write(_probe_write)
        await self.read(_PROBE)

    async def aclose(self) -> None:
        """Finish pending writes and close the file. Idempotent."""
        if not self._open:
            return
        self._open = False
        await cancel_and_wait(self._probe_task)
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

    def _explain(self, error: sqlite3.Error) -> Exception:
        """Translate an SQLite error, in any thread, and report damage."""
        reason = explain_open(error, self.path)
        if isinstance(reason, StoreDamaged):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._found_damaged, reason)
        return reason

    def _found_damaged(self, reason: StoreDamaged) -> None:
        if not self.damaged.done():
            log.critical("%s", reason)
            self.damaged.set_exception(reason)
            self.damaged.exception()  # marks it as retrieved: nobody has to await it

    def _changed(self, *, writing: str | None = None, reading: str | None = None) -> None:
        before = self.unavailable
        if writing is not None:
            self._writing_cause = writing
        if reading is not None:
            self._reading_cause = reading
        if reading and self._open and (self._probe_task is None or self._probe_task.done()):
            # The caller may give up; this task notices when the outage is over.
            self._probe_task = self._loop.create_task(self.read(_PROBE), context=Context())
            self._probe_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        after = self.unavailable
        if bool(after) is not bool(before):
            if after:
                log.error("the store is unavailable: %s; jobs wait and continue afterwards", after)
            else:
                log.warning("the store is available again")
        if after != before:
            self._on_change(after)


def _probe_write(connection: sqlite3.Connection) -> None:
    """Allocate some pages and free them: a full disk refuses that, even if it accepts less."""
    connection.execute(
        "INSERT INTO schema_version (version, name, applied_at) VALUES (-1, ?, '')",
        ("x" * _PROBE_BYTES,),
    )
    connection.execute("DELETE FROM schema_version WHERE version = -1")


def create(path: Path, now: Callable[[], datetime]) -> None:
    """Create an empty database of this release at ``path``, which must not exist. Blocking."""
    _prepare(path, None, now).close()


def _prepare(
    path: Path, migrations: Sequence[schema.Migration] | None, now: Callable[[], datetime]
) -> sqlite3.Connection:
    """Check and migrate the file and return the connection for writing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity.refuse_stale_log(path)
    schema.create_private_file(path)
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.row_factory = sqlite3.Row
        schema.check_integrity(connection, path)
        schema.enable_wal(connection, path)
        # FULL: an accepted request survives a power cut, not only a crash.
        connection.execute("PRAGMA synchronous = FULL")
        # Erased prompts are overwritten, not merely unlinked.
        connection.execute("PRAGMA secure_delete = ON")
        schema.migrate(connection, path, migrations or schema.load_migrations(), now)
        identity.establish(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA busy_timeout = {_WRITER_BUSY_MS}")
    except BaseException:
        connection.close()
        raise
    return connection
