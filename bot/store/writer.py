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
from threading import Event, Lock, Thread
from typing import Any, TypeAlias

from bot.domain.errors import StoreUnavailable
from bot.store.sqlite_errors import is_held
from bot.store.wait_limits import pause_after

_MAX_CALLS_PER_COMMIT = 128
_HELD_TRIES = 5
"""Another program may hold the database for so many attempts before that counts as a trouble."""
_NO_ANSWER = "the database does not answer"

Later: TypeAlias = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


@dataclass(slots=True, eq=False)
class WriteRequest:
    """One function to run inside a transaction, and the future its caller waits on.

    ``taken`` while an attempt to commit it is under way, ``expired`` once its deadline has passed;
    both change under the writer's lock.
    """

    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    taken: bool = False
    expired: bool = False


class _Stop:
    """The last thing in the inbox."""


_Work: TypeAlias = tuple[WriteRequest, ...] | _Stop
_Answer: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer:
    """Takes work from the event loop's thread only; ``explain`` translates SQLite's errors.

    ``probe`` is a trial write, for when nobody else wants to write while the store is unavailable.
    ``on_change`` is told, in the loop's thread, the cause when that begins, and "" when it is over.
    ``later`` calls a function after so many seconds, by default the loop does.
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
        """Run ``function`` in a transaction; its result comes only after the commit.

        What is submitted in the same turn of the event loop shares one commit. After ``max_wait_s``
        the future fails with StoreUnavailable, unless the commit is under way: then its outcome
        decides. ``function`` may be run several times, and takes effect once.
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
        """Finish what was submitted, then close the connection.

        While the store is unavailable, what waits is tried once more and then given up.
        """
        self._flush()
        self._closing.set()
        self._inbox.put(_Stop())
        await asyncio.to_thread(self._thread.join)

    def _flush(self) -> None:
        # In slices, so that one flood cannot delay every answer in it until its very end.
        for start in range(0, len(self._gathered), _MAX_CALLS_PER_COMMIT):
            self._inbox.put(tuple(self._gathered[start : start + _MAX_CALLS_PER_COMMIT]))
        self._gathered.clear()

    def _expire(self, call: WriteRequest) -> None:
        with self._lock:
            call.expired = True
            if call.taken:
                return  # the attempt that is under way decides
        if not call.future.done():
            call.future.set_exception(StoreUnavailable(self._cause or _NO_ANSWER))

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
                answers = self._commit_together(taken)
            except Exception as error:
                self._roll_back()
                reason = self._translated(error)
                if not isinstance(reason, StoreUnavailable):
                    self._tell([(call.future, None, reason) for call in taken])
                    return stopping
                calls = self._put_back(taken, reason)
                held_by_another = isinstance(error, sqlite3.Error) and is_held(error)
                if not held_by_another or attempt + 1 >= _HELD_TRIES:
                    self._announce(reason.cause)
            else:
                self._cause = ""
                self._tell(answers)
                self._announce("")
                return stopping
            if self._closing.is_set() and attempt:
                self._tell([(call.future, None, reason) for call in calls])
                return stopping
            self._closing.wait(pause_after(attempt))
            attempt += 1
            if not stopping:
                more, stopping = self._gather(())
                calls += more

    def _take(self, calls: Sequence[WriteRequest]) -> list[WriteRequest]:
        """Begin an attempt: from now on its outcome decides, not a deadline."""
        with self._lock:
            # A caller who was cancelled before the turn came no longer wants it done.
            taken = [call for call in calls if not (call.expired or call.future.cancelled())]
            for call in taken:
                call.taken = True
        return taken

    def _put_back(
        self, taken: Sequence[WriteRequest], reason: StoreUnavailable
    ) -> list[WriteRequest]:
        """End a failed attempt; the calls that still have time, in their order."""
        self._cause = reason.cause
        with self._lock:
            for call in taken:
                call.taken = False
            late = [call for call in taken if call.expired]
        self._tell([(call.future, None, reason) for call in late])
        return [call for call in taken if call not in late]

    def _announce(self, cause: str) -> None:
        if cause == self._announced:
            return
        self._announced = cause
        self._in_loop(self._on_change, cause)

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

    def _commit_together(self, calls: Sequence[WriteRequest]) -> list[_Answer]:
        """Raises what concerns all of them; then nothing of the batch may be kept."""
        self._connection.execute("BEGIN IMMEDIATE")
        answers = [self._run_alone(call) for call in calls]
        if not calls:
            self._probe(self._connection)
        self._connection.execute("COMMIT")
        return answers

    def _run_alone(self, call: WriteRequest) -> _Answer:
        """Run one call so that its failure undoes its own changes and nobody else's."""
        self._connection.execute("SAVEPOINT one")
        try:
            result = call.function(self._connection)
        except Exception as error:
            reason = self._translated(error)
            dropped = not self._connection.in_transaction
            if isinstance(error, sqlite3.Error) and (
                dropped or isinstance(reason, StoreUnavailable)
            ):
                # Disk full, file locked …: that is the whole batch's trouble.
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

    def _translated(self, error: Exception) -> Exception:
        return self._explain(error) if isinstance(error, sqlite3.Error) else error

    def _tell(self, answers: Sequence[_Answer]) -> None:
        self._in_loop(_resolve, answers)

    def _in_loop(self, function: Callable[[Any], None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
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
