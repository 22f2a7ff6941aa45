"""Write to the database from one thread that commits for many callers at once.

Reads use aiosqlite, writes use this. Every durable commit costs one fsync, so throughput depends on
how many callers share it. aiosqlite hands over one statement at a time: five statements are five
round trips between threads with the write lock held, and callers cannot share a commit. Here a
transaction is one function. The thread runs all that are queued, each under a SAVEPOINT, commits
once, and then resolves the callers' futures. A function that raises is rolled back alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeAlias

from bot.domain.errors import StoreUnavailable
from bot.store.sqlite_errors import is_held
from bot.store.wait_limits import NO_ANSWER, pause_after

_MAX_CALLS_PER_COMMIT = 128
_MAX_LOCKED_ATTEMPTS = 5
"""How many attempts another program may lock the database before that counts as an outage."""

Later: TypeAlias = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


@dataclass(slots=True, eq=False)
class WriteRequest:
    """A function to run in a transaction, and the future of its caller.

    ``taken`` is set while an attempt to commit it is in progress, ``expired`` once its deadline has
    passed; both change under the writer's lock.
    """

    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    taken: bool = False
    expired: bool = False


class _Stop:
    """The last item in the inbox."""


_Work: TypeAlias = tuple[WriteRequest, ...] | _Stop
_Outcome: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer:
    """Run submitted functions in one thread. Call its methods in the event loop's thread only.

    ``explain`` translates SQLite's errors. ``probe`` is a test write for when nobody else writes
    while the store is unavailable. ``on_change`` gets, in the loop's thread, the cause when an
    outage starts and "" when it ends. ``later`` replaces ``loop.call_later``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        explain: Callable[[sqlite3.Error], Exception],
        *,
        probe: Callable[[sqlite3.Connection], None] = lambda _: None,
        on_change: Callable[[str], None] = lambda _: None,
        later: Later | None = None,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._explain = explain
        self._probe = probe
        self._on_change = on_change
        self._later: Later = later or loop.call_later
        self._inbox: SimpleQueue[_Work] = SimpleQueue()
        self._gathered: list[WriteRequest] = []
        self._lock = Lock()
        self._closing = Event()
        self._cause = ""
        self._announced = ""
        self._thread = Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, function: Callable[[sqlite3.Connection], Any], max_wait_s: float | None = None
    ) -> asyncio.Future[Any]:
        """Queue ``function`` for a transaction and return the future of its committed result.

        Functions submitted in the same iteration of the event loop share one commit. After
        ``max_wait_s`` the future fails with StoreUnavailable, unless the commit is in progress:
        then its outcome decides. ``function`` may run several times, but takes effect once.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._flush)
        call = WriteRequest(function, future)
        self._gathered.append(call)
        if max_wait_s is not None:
            timer = self._later(max_wait_s, lambda: self._expire(call))
            future.add_done_callback(lambda _: timer.cancel())
        return future

    async def aclose(self) -> None:
        """Finish pending calls, then close the connection.

        While the store is unavailable, pending calls are tried once more and then fail.
        """
        self._flush()
        self._closing.set()
        self._inbox.put(_Stop())
        await asyncio.to_thread(self._thread.join)

    def _flush(self) -> None:
        # In chunks, so that a flood of calls does not delay all their results until its end.
        for start in range(0, len(self._gathered), _MAX_CALLS_PER_COMMIT):
            self._inbox.put(tuple(self._gathered[start : start + _MAX_CALLS_PER_COMMIT]))
        self._gathered.clear()

    def _expire(self, call: WriteRequest) -> None:
        with self._lock:
            call.expired = True
            if call.taken:
                return  # the attempt in progress decides
        if not call.future.done():
            call.future.set_exception(StoreUnavailable(self._cause or NO_ANSWER))

    # From here on everything runs in the writer's thread.

    def _serve(self) -> None:
        stopping = False
        while not stopping:
            work = self._inbox.get()
            stopping = isinstance(work, _Stop) or self._commit(work)
        self._connection.close()

    def _commit(self, first: tuple[WriteRequest, ...]) -> bool:
        """Commit ``first`` and what is queued by now, retrying for as long as it takes.

        Return whether the stop request was reached.
        """
        calls, stopping = self._gather(first)
        attempt = 0
        while True:
            taken = self._take(calls)
            if not taken and attempt == 0:
                return stopping  # every caller was cancelled or has timed out
            try:
                outcomes = self._commit_together(taken)
            except Exception as error:
                self._roll_back()
                reason = self._translate(error)
                if not isinstance(reason, StoreUnavailable):
                    self._resolve_later([(call.future, None, reason) for call in taken])
                    return stopping
                calls = self._requeue(taken, reason)
                held_by_another = isinstance(error, sqlite3.Error) and is_held(error)
                if not held_by_another or attempt + 1 >= _MAX_LOCKED_ATTEMPTS:
                    self._announce(reason.cause)
            else:
                self._cause = ""
                self._resolve_later(outcomes)
                self._announce("")
                return stopping
            if self._closing.is_set() and attempt:
                self._resolve_later([(call.future, None, reason) for call in calls])
                return stopping
            self._closing.wait(pause_after(attempt))
            attempt += 1
            if not stopping:
                more, stopping = self._gather(())
                calls += more

    def _take(self, calls: Sequence[WriteRequest]) -> list[WriteRequest]:
        """Start an attempt and return its calls: its outcome now decides, not a deadline."""
        with self._lock:
            # A caller that was cancelled before the attempt no longer wants the write.
            taken = [call for call in calls if not (call.expired or call.future.cancelled())]
            for call in taken:
                call.taken = True
        return taken

    def _requeue(
        self, taken: Sequence[WriteRequest], reason: StoreUnavailable
    ) -> list[WriteRequest]:
        """End a failed attempt and return the calls that still have time, in order."""
        self._cause = reason.cause
        with self._lock:
            for call in taken:
                call.taken = False
            late = [call for call in taken if call.expired]
        self._resolve_later([(call.future, None, reason) for call in late])
        return [call for call in taken if call not in late]

    def _announce(self, cause: str) -> None:
        if cause == self._announced:
            return
        self._announced = cause
        self._call_in_loop(self._on_change, cause)

    def _gather(self, first: tuple[WriteRequest, ...]) -> tuple[list[WriteRequest], bool]:
        """Return the queued calls, up to a limit, and whether the stop request was reached."""
        calls = list(first)
        while len(calls) < _MAX_CALLS_PER_COMMIT:
            try:
                work = self._inbox.get_nowait()
            except Empty:
                break
            if isinstance(work, _Stop):
                return calls, True
            calls.extend(work)
        return calls, False

    def _commit_together(self, calls: Sequence[WriteRequest]) -> list[_Outcome]:
        """Commit the calls and return their results. An error it raises concerns all of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        outcomes = [self._run_alone(call) for call in calls]
        if not calls:
            self._probe(self._connection)
        self._connection.execute("COMMIT")
        return outcomes

    def _run_alone(self, call: WriteRequest) -> _Outcome:
        """Run one call under a SAVEPOINT, so that a failure rolls back this call alone."""
        self._connection.execute("SAVEPOINT one")
        try:
            result = call.function(self._connection)
        except Exception as error:
            reason = self._translate(error)
            dropped = not self._connection.in_transaction
            if isinstance(error, sqlite3.Error) and (
                dropped or isinstance(reason, StoreUnavailable)
            ):
                # Disk full, file locked …: it concerns the whole batch.
                raise
            self._connection.execute("ROLLBACK TO one")
            self._connection.execute("RELEASE one")
            return call.future, None, reason
        self._connection.execute("RELEASE one")
        return call.future, result, None

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # There is none, or SQLite has rolled back by itself, as when the disk is full.
            return

    def _translate(self, error: Exception) -> Exception:
        return self._explain(error) if isinstance(error, sqlite3.Error) else error

    def _resolve_later(self, outcomes: Sequence[_Outcome]) -> None:
        self._call_in_loop(_resolve, outcomes)

    def _call_in_loop(self, function: Callable[[Any], None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            # The loop is closed: the process is ending, and no caller is left.
            return


def _resolve(outcomes: Sequence[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
