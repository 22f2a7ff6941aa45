"""The single writer: one thread that owns the writing connection and commits for many at once.

The house reads through aiosqlite, but writes through this. Every durable commit costs one fsync,
and what decides the number of accepts per second is how many callers share it. aiosqlite hands
over one statement at a time, so a transaction of five statements is five trips between threads with
the write lock held, and two callers cannot share a commit. Here a whole transaction travels as one
function; the thread runs all that have gathered, each under a SAVEPOINT, commits once, and only
then tells the callers. A call that raises is rolled back alone.

It knows nothing of tables, paths or migrations.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

_MOST_PER_COMMIT = 128


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One function to run inside a transaction, and the future its caller waits on."""

    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A transaction held open over several calls; its inbox ends with a verdict (commit or not)."""

    inbox: SimpleQueue[Call | Verdict]
    begun: asyncio.Future[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How a session ends."""

    commit: bool
    future: asyncio.Future[Any]


class _Stop:
    """The last thing in the inbox."""


_Work: TypeAlias = tuple[Call, ...] | Session | _Stop
_Answer: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer:
    """Takes work from the event loop's thread only; ``explain`` translates SQLite's errors."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        explain: Callable[[sqlite3.Error], Exception],
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._explain = explain
        self._inbox: SimpleQueue[_Work] = SimpleQueue()
        self._gathered: list[Call] = []
        self._thread = Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Run ``function`` in a transaction; its result comes only after the commit.

        What is submitted in the same turn of the event loop shares one commit.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(Call(function, future))
        return future

    def begin(self) -> Session:
        """Open a transaction of several calls; ``session.begun`` resolves when its turn comes."""
        self._flush()
        session = Session(SimpleQueue(), self._loop.create_future())
        self._inbox.put(session)
        return session

    async def aclose(self) -> None:
        """Finish what was submitted, then close the connection."""
        self._flush()
        self._inbox.put(_Stop())
        await asyncio.to_thread(self._thread.join)

    def _flush(self) -> None:
        # In slices, so that one flood cannot delay every answer in it until its very end.
        for start in range(0, len(self._gathered), _MOST_PER_COMMIT):
            self._inbox.put(tuple(self._gathered[start : start + _MOST_PER_COMMIT]))
        self._gathered.clear()

    # From here on everything runs in the writer's thread.

    def _serve(self) -> None:
        held: _Work | None = None
        while True:
            work = held or self._inbox.get()
            held = None
            match work:
                case _Stop():
                    self._connection.close()
                    return
                case Session():
                    self._hold(work)
                case _:
                    calls, held = self._gather(work)
                    self._tell(self._commit_together(calls))

    def _gather(self, first: tuple[Call, ...]) -> tuple[list[Call], _Work | None]:
        """All calls that wait by now, up to a limit, and the other work that ended the search."""
        calls = list(first)
        while len(calls) < _MOST_PER_COMMIT:
            try:
                work = self._inbox.get_nowait()
            except Empty:
                break
            if not isinstance(work, tuple):
                return calls, work
            calls.extend(work)
        return calls, None

    def _commit_together(self, calls: Sequence[Call]) -> list[_Answer]:
        answers: list[_Answer] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                # A caller who was cancelled before the turn came no longer wants it done.
                if not call.future.cancelled():
                    answers.append(self._run_alone(call))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # Disk full, file locked …: SQLite kept nothing of this batch, so nobody succeeded.
            self._roll_back()
            return [(call.future, None, self._explain(error)) for call in calls]
        return answers

    def _run_alone(self, call: Call) -> _Answer:
        """Run one call so that its failure undoes its own changes and nobody else's."""
        self._connection.execute("SAVEPOINT one")
        try:
            result = call.function(self._connection)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not self._connection.in_transaction:
                # SQLite has dropped the whole transaction (disk full …): the batch is over.
                raise
            self._connection.execute("ROLLBACK TO one")
            self._connection.execute("RELEASE one")
            return call.future, None, self._translated(error)
        self._connection.execute("RELEASE one")
        return call.future, result, None

    def _hold(self, session: Session) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._tell([(session.begun, None, self._explain(error))])
            return
        self._tell([(session.begun, None, None)])
        while True:
            work = session.inbox.get()
            if isinstance(work, Verdict):
                self._tell([self._end(work)])
                return
            try:
                if not self._connection.in_transaction:
                    # What follows would otherwise be committed statement by statement.
                    raise sqlite3.OperationalError(
                        "the transaction was dropped by an earlier error"
                    )
                answer: _Answer = (work.future, work.function(self._connection), None)
            except Exception as error:
                answer = (work.future, None, self._translated(error))
            self._tell([answer])

    def _end(self, verdict: Verdict) -> _Answer:
        if not verdict.commit:
            self._roll_back()
            return verdict.future, None, None
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            return verdict.future, None, self._explain(error)
        return verdict.future, None, None

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has rolled back by itself, as it does when the disk is full.
            return

    def _translated(self, error: Exception) -> Exception:
        return self._explain(error) if isinstance(error, sqlite3.Error) else error

    def _tell(self, answers: Sequence[_Answer]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            # The loop is closed: the process is going down, and nobody is left to be told.
            return


def _resolve(answers: Sequence[_Answer]) -> None:
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
