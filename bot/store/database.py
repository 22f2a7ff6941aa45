"""The database file: opened, checked, migrated, read, written and copied. Knows no table.

One writer (``bot.store.writer``) and one read-only connection (aiosqlite): in WAL mode a reader
never waits for the writer nor the writer for a reader. Two processes may share the file, such as
the bot and its command line; each waits for the other's transaction.

Once open, a full disk, a file held by another program and the like are waited out (see
``bot.store.wait_limits``): writes and reads are tried again until they work or their caller's time is
up. That this begins and that it is over is said once each, in the log and to ``on_change``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

import aiosqlite

from bot.domain.errors import ConfigError, StoreDamaged, StoreUnavailable
from bot.store import backups, identity
from bot.store import migrations as schema
from bot.store.wait_limits import max_wait_s, pause_after
from bot.store.writer import Later, OpenTransaction, TransactionEnd, Writer, WriteRequest

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Value: TypeAlias = str | bytes | int | float | None


@dataclass(frozen=True, slots=True)
class Query(Generic[Result]):
    """``shape`` turns all rows into the answer; it may run in any thread, so it must be pure."""

    sql: str
    parameters: tuple[Value, ...]
    map_rows: Callable[[Sequence[sqlite3.Row]], Result]

    def run(self, connection: sqlite3.Connection) -> Result:
        """The answer as seen from inside the transaction that ``connection`` is in."""
        return self.map_rows(connection.execute(self.sql, self.parameters).fetchall())


def placeholders(count: int) -> str:
    """So many placeholders for an ``IN`` list: ``?, ?, ?``."""
    return ", ".join("?" * count)


RESTORE = "Stop the bot and run `gridbrush restore`: it lists the backups and puts one in place"
_TROUBLES = {
    sqlite3.SQLITE_BUSY: (
        "the database is held by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_LOCKED: (
        "the database is held by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        "the database is held by another program",
        "End the other program (a second bot, a SQLite shell with an open transaction)",
    ),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written to",
        "Give the bot's user write permission on this file and on its folder",
    ),
    sqlite3.SQLITE_PERM: (
        "the database cannot be written to",
        "Give the bot's user write permission on this file and on its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the database cannot be opened",
        "Check that [data] dir is a folder the bot's user may write to",
    ),
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space; nothing that was saved is lost"),
    sqlite3.SQLITE_IOERR: (
        "the disk could not be read or written",
        "Check the disk and the system log",
    ),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", RESTORE),
    sqlite3.SQLITE_NOTADB: ("this is not a SQLite database", RESTORE),
}
_HELD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow any further",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "the data folder cannot be written to",
    errno.EPERM: "the data folder cannot be written to",
    errno.EIO: "the disk could not be read or written",
    errno.ESTALE: "the disk could not be read or written",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}


def kind_of(error: sqlite3.Error) -> int:
    """Return the primary result code: the low byte; the rest tells variants apart."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_held(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the database, which is normal for a moment."""
    return kind_of(error) in _HELD


def map_sqlite_error(error: sqlite3.Error, path: Path) -> Exception:
    """The ConfigError to raise in place of ``error``, or ``error`` itself if it is a defect."""
    trouble = _TROUBLES.get(kind_of(error))
    if trouble is None:
        return error
    problem, hint = trouble
    return ConfigError(str(path), f"{problem} ({error})", hint + ".")


def explain_open(error: sqlite3.Error, path: Path) -> Exception:
    """Return what to raise in place of ``error`` once the database is open.

    StoreUnavailable for what passes, StoreDamaged for what does not, ``error`` itself for a defect.
    """
    trouble = _TROUBLES.get(kind_of(error))
    if trouble is None:
        return error
    problem, hint = trouble
    if kind_of(error) in _DAMAGED:
        return StoreDamaged(str(path), f"{problem} ({error})", hint + ".")
    return StoreUnavailable(problem)


def explain_disk(error: OSError) -> StoreUnavailable | None:
    """Return StoreUnavailable if the disk or the folder is the trouble, None for anything else."""
    cause = _DISK.get(error.errno or 0)
    return None if cause is None else StoreUnavailable(cause)


@contextmanager
def disk_faults() -> Iterator[None]:
    """Raise StoreUnavailable in place of an OSError that waiting can help."""
    try:
        yield
    except OSError as error:
        fault = explain_disk(error)
        if fault is None:
            raise
        raise fault from error


_BUSY_SECONDS = 10.0
"""How long opening waits for another program."""

# Once open, waiting is done outside of SQLite, so that neither thread is ever stuck in it.
_WRITER_BUSY_MS = 200
_READER_BUSY_MS = 100
_TRIAL = Query("SELECT count(*) FROM schema_version", (), lambda rows: int(rows[0][0]))
_TRIAL_BYTES = 16_384


class Transaction:
    """A transaction over several awaits, made by ``Database.transaction``."""

    def __init__(self, session: OpenTransaction, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop

    async def run(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``function`` in the writer's thread, inside this transaction."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._session.inbox.put(WriteRequest(function, future))
        return await future


class Database:
    """An open database file; close it with ``aclose`` or use it with ``async with``."""

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
            probe=_trial_write,
            on_change=lambda cause: self._changed(writing=cause),
            later=later,
        )
        self._reader = reader
        self._on_change = on_change
        self._sleep = sleep
        self._holders: set[asyncio.Task[Any] | None] = set()
        self._open = True
        self._writing_cause = ""
        self._reading_cause = ""
        self._trial: asyncio.Task[int] | None = None
        self.damaged: asyncio.Future[None] = self._loop.create_future()
        """Fails with StoreDamaged when the file is found damaged; never succeeds."""

    @property
    def unavailable(self) -> str:
        """Why the database cannot be used at the moment; "" while it can."""
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
        """Open ``path``, created if missing, checked and migrated; by default to this release.

        ``on_change`` is told the cause when the store becomes unavailable, and "" when that is
        over. ``sleep`` pauses between attempts to read, ``later`` times the deadlines of writes.
        Raises ConfigError if the file is damaged, newer than this code, another program's, or
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
        """Run ``function`` in a transaction of its own and return its result once it is durable.

        ``function`` runs in the writer's thread and sees everything written before; if it raises,
        its changes are undone and the error is raised here. It must not commit, roll back or wait
        for anything, and may be run several times until it is kept once. A cancelled caller's
        function has run whole or not at all. While the disk or the file gives trouble this waits;
        in a task whose waits are limited it raises StoreUnavailable when they are over, and then
        nothing is or will be done. Raises StoreDamaged.
        """
        self._refuse_if_closed_or_held()
        result: Result = await self._writer.submit(function, max_wait_s())
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
        outcome: asyncio.Future[None] = loop.create_future()
        try:
            await asyncio.shield(session.begun)
        except BaseException:
            # Cancelled while waiting in line: the writer finds this when the turn comes.
            session.inbox.put(TransactionEnd(commit=False, future=outcome))
            raise
        holder = asyncio.current_task()
        self._holders.add(holder)
        try:
            yield Transaction(session, loop)
        except BaseException:
            session.inbox.put(TransactionEnd(commit=False, future=outcome))
            await _outlast(outcome)
            raise
        else:
            session.inbox.put(TransactionEnd(commit=True, future=outcome))
            await _outlast(outcome)
        finally:
            self._holders.discard(holder)

    async def read(self, query: Query[Result]) -> Result:
        """The answer as of the last commit, without waiting for the writer.

        Waits for the disk and the file like ``write``. Raises StoreUnavailable, StoreDamaged.
        """
        waited, attempt = 0.0, 0
        while True:
            try:
                rows = await self._reader.execute_fetchall(query.sql, query.parameters)
            except sqlite3.Error as error:
                reason = self._explain(error)
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
                    raise  # a question that writes is a defect
                if not isinstance(reason, StoreUnavailable):
                    raise reason from error
                self._changed(reading=reason.cause)
                limit = max_wait_s()
                if limit is not None and waited >= limit:
                    raise reason from error
                waited += pause_after(attempt) + _READER_BUSY_MS / 1000
                await self._sleep(pause_after(attempt))
                attempt += 1
            else:
                if self._reading_cause:
                    self._changed(reading="")
                return query.map_rows(list(rows))

    async def try_out(self) -> None:
        """Write and read for a trial; leaves nothing behind. Raises like ``write``."""
        await self.write(_trial_write)
        await self.read(_TRIAL)

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
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)
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
        """In any thread."""
        reason = explain_open(error, self.path)
        if isinstance(reason, StoreDamaged):
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to know
                self._loop.call_soon_threadsafe(self._found_damaged, reason)
        return reason

    def _found_damaged(self, reason: StoreDamaged) -> None:
        if not self.damaged.done():
            log.critical("%s", reason)
            self.damaged.set_exception(reason)
            self.damaged.exception()  # nobody has to look

    def _changed(self, *, writing: str | None = None, reading: str | None = None) -> None:
        before = self.unavailable
        if writing is not None:
            self._writing_cause = writing
        if reading is not None:
            self._reading_cause = reading
        if reading and self._open and (self._trial is None or self._trial.done()):
            # Whoever asked may give up: somebody has to find out when it is over.
            self._trial = self._loop.create_task(self.read(_TRIAL), context=Context())
            self._trial.add_done_callback(lambda task: task.cancelled() or task.exception())
        after = self.unavailable
        if bool(after) is not bool(before):
            if after:
                log.error("the store is unavailable: %s; jobs wait and go on afterwards", after)
            else:
                log.warning("the store is available again")
        if after != before:
            self._on_change(after)

    def _refuse_if_closed_or_held(self) -> None:
        if not self._open:
            raise RuntimeError("the database is closed")
        if asyncio.current_task() in self._holders:
            # It would wait for its own transaction to end, for ever.
            raise RuntimeError("this task holds a transaction: write through it")


def _trial_write(connection: sqlite3.Connection) -> None:
    """Take some new pages and give them back: a full disk refuses that, even if not the rest."""
    connection.execute(
        "INSERT INTO schema_version (version, name, applied_at) VALUES (-1, ?, '')",
        ("x" * _TRIAL_BYTES,),
    )
    connection.execute("DELETE FROM schema_version WHERE version = -1")


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
        # FULL: what a member was told is accepted survives a power cut, not only a crash.
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
