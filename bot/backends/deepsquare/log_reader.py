"""Read a job's log, each line once and in order, across reconnections.

A stream always begins at the log's first line, never ends by itself, and may come from a replica
that has more or fewer lines. So lines are counted, and a running digest over all of them tells
whether a replay is the same log; if it is not, it is read as a new one from its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bot.backends.base import LogLine
from bot.backends.deepsquare.log_client import LogAccessDenied, LogClient, LogCursor
from bot.concurrency import cancel_and_wait
from bot.domain.errors import LogStreamLost
from bot.domain.workflow.bash import JOB_ENDED_LINE, JOB_STARTED_LINE

log = logging.getLogger(__name__)

STARTED = JOB_STARTED_LINE.encode()
ENDED = JOB_ENDED_LINE.encode()
MAX_QUEUED_LINES = 256
"""Lines read ahead of the consumer."""


class LogReader:
    """Read a job's log in a task of its own until ``aclose``.

    ``wake`` is called whenever there is something new. ``queue`` holds the lines not yet
    consumed.
    """

    def __init__(
        self, service: LogClient, number: int, start: LogCursor, wake: Callable[[], None]
    ) -> None:
        self._service = service
        self._number = number
        self._wake = wake
        self._cursor = start
        self._checkpoints = {start.lines: start.digest} if start.lines else {}
        self._reopening = False
        self.queue: asyncio.Queue[LogLine] = asyncio.Queue(MAX_QUEUED_LINES)
        self.last_line_at = service.now
        """When the last line came or, if that is later, when the stream was opened."""
        self.disconnected = False
        """Whether the stream is broken at the moment."""
        self.denied = False
        self.saw_end_line = False
        """Whether the platform's last line was seen."""
        self._task = asyncio.create_task(self._run())
        self._call: asyncio.Task[None] | None = None

    def next_line(self) -> LogLine | None:
        """Return the next line, or None."""
        return None if self.queue.empty() else self.queue.get_nowait()

    @property
    def is_complete(self) -> bool:
        """Return whether reading has ended."""
        return self._task.done()

    def reopen(self) -> None:
        """Cancel the stream and reopen it: the connection may be dead."""
        if self._call is not None:
            self._reopening = True
            self._call.cancel()

    async def aclose(self) -> None:
        """Stop reading."""
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        attempt = 0
        while True:
            before = self._cursor
            self._call = asyncio.create_task(self._read())
            try:
                await self._call
                problem = "the stream ended"
            except LogAccessDenied as error:
                log.error("the log of Grid job %d cannot be read: %s", self._number, error)
                self.denied = True
                self._wake()
                return
            except LogStreamLost as error:
                problem = str(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._reopening or (task is not None and task.cancelling()):
                    raise
                problem = "it was silent"
            self._reopening = False
            attempt = 0 if self._cursor != before else attempt + 1
            self.disconnected = True
            pause = self._service.pause(max(0, attempt - 1))
            log.info("the log of Grid job %d: %s; again in %.1f s", self._number, problem, pause)
            await self._service.sleep(pause)

    async def _read(self) -> None:
        self.disconnected = self.saw_end_line = False
        self.last_line_at = self._service.now
        cursor = LogCursor(self._cursor.attempt)
        async for data in self._service.lines(self._number):
            self.last_line_at = self._service.now
            is_new = cursor.lines >= self._cursor.lines
            cursor = cursor.after(data)
            if data == STARTED:
                self.saw_end_line = False
            elif data == ENDED:
                self.saw_end_line = True
            if is_new:
                await self._emit(data, cursor)
            elif self._checkpoints.get(cursor.lines, cursor.digest) != cursor.digest:
                # Not the log that was read before: yield it again from its start.
                self._checkpoints.clear()
                self._cursor = LogCursor(cursor.attempt)
                raise LogStreamLost("the log was replaced")

    async def _emit(self, data: bytes, cursor: LogCursor) -> None:
        await self.queue.put(LogLine(data + b"\n", str(cursor)))
        self._cursor = cursor
        # A few digests on the way, so that a shorter or other log is noticed early.
        if cursor.lines & (cursor.lines - 1) == 0:
            self._checkpoints[cursor.lines] = cursor.digest
        self._checkpoint_end()
        self._wake()

    def _checkpoint_end(self) -> None:
        newest = self._cursor.lines
        if newest > 1 and (newest - 1) & (newest - 2) != 0:
            self._checkpoints.pop(newest - 1, None)
        self._checkpoints[newest] = self._cursor.digest
