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
from bot.domain.errors import LogStreamLost
from bot.domain.workflow.bash import JOB_ENDED_LINE, JOB_STARTED_LINE

log = logging.getLogger(__name__)

STARTED = JOB_STARTED_LINE.encode()
ENDED = JOB_ENDED_LINE.encode()
WAITING_LINES = 256
"""Lines read ahead of who reads them."""


class LogReader:
    """Read a job's log in a task of its own until ``aclose``.

    ``wake`` is called whenever there is something new. ``waiting`` holds the lines not yet
    consumed.
    """

    def __init__(
        self, service: LogClient, number: int, start: LogCursor, wake: Callable[[], None]
    ) -> None:
        self._service = service
        self._number = number
        self._wake = wake
        self._reached = start
        self._marks = {start.lines: start.digest} if start.lines else {}
        self._reopening = False
        self.waiting: asyncio.Queue[LogLine] = asyncio.Queue(WAITING_LINES)
        self.moved_at = service.present
        """When the last line came or, if that is later, when the stream was opened."""
        self.broken = False
        """Whether the stream cannot be had just now."""
        self.denied = False
        self.ended = False
        """Whether the platform's last line was seen."""
        self._task = asyncio.create_task(self._run())
        self._call: asyncio.Task[None] | None = None

    def next_line(self) -> LogLine | None:
        """Return the next line, or None."""
        return None if self.waiting.empty() else self.waiting.get_nowait()

    @property
    def is_complete(self) -> bool:
        """Return whether reading has ended."""
        return self._task.done()

    def reopen(self) -> None:
        """Cancel the stream and open it anew: the connection may be dead."""
        if self._call is not None:
            self._reopening = True
            self._call.cancel()

    async def aclose(self) -> None:
        """Stop reading."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        attempt = 0
        while True:
            before = self._reached
            self._call = asyncio.create_task(self._read())
            try:
                await self._call
                trouble = "the stream ended"
            except LogAccessDenied as error:
                log.error("the log of Grid job %d cannot be read: %s", self._number, error)
                self.denied = True
                self._wake()
                return
            except LogStreamLost as error:
                trouble = str(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._reopening or (task is not None and task.cancelling()):
                    raise
                trouble = "it was silent"
            self._reopening = False
            attempt = 0 if self._reached != before else attempt + 1
            self.broken = True
            pause = self._service.pause(max(0, attempt - 1))
            log.info("the log of Grid job %d: %s; again in %.1f s", self._number, trouble, pause)
            await self._service.rest(pause)

    async def _read(self) -> None:
        self.broken = self.ended = False
        self.moved_at = self._service.present
        here = LogCursor(self._reached.attempt)
        async for data in self._service.lines(self._number):
            self.moved_at = self._service.present
            behind = here.lines >= self._reached.lines
            here = here.after(data)
            if data == STARTED:
                self.ended = False
            elif data == ENDED:
                self.ended = True
            if behind:
                await self._pass_on(data, here)
            elif self._marks.get(here.lines, here.digest) != here.digest:
                # Not the log that was read before: what it says is told again, from its start.
                self._marks.clear()
                self._reached = LogCursor(here.attempt)
                raise LogStreamLost("it is another log now")

    async def _pass_on(self, data: bytes, here: LogCursor) -> None:
        await self.waiting.put(LogLine(data + b"\n", str(here)))
        self._reached = here
        # A few digests on the way, so that a shorter or other log is noticed early.
        if here.lines & (here.lines - 1) == 0:
            self._marks[here.lines] = here.digest
        self._mark_end()
        self._wake()

    def _mark_end(self) -> None:
        newest = self._reached.lines
        if newest > 1 and (newest - 1) & (newest - 2) != 0:
            self._marks.pop(newest - 1, None)
        self._marks[newest] = self._reached.digest
