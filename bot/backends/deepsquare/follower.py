"""Merge a job's log and its state on the chain into one stream.

The log may be silent, broken or late; the chain is the truth about the job's state and knows
nothing of its pictures. Jobs that hang are reported, cancelled or submitted again here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Self

from bot.backends.base import LifecycleEvent, LogLine
from bot.backends.deepsquare.abi import ChainJob, Status
from bot.backends.deepsquare.chain_watcher import JobSubscription, Watcher
from bot.backends.deepsquare.log_client import LogClient, LogCursor
from bot.backends.deepsquare.log_reader import LogReader
from bot.backends.deepsquare.outcome import OVERDUE, JobOutcome, classify_outcome
from bot.backends.deepsquare.quotes import QuoteService
from bot.backends.deepsquare.settlement import JobSettlement
from bot.backends.deepsquare.state import CancelReason, JobRecord
from bot.backends.deepsquare.submission import JobSubmitter
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.watchdog import (
    AbandonJob,
    CancelAttempt,
    LogMessage,
    ReopenLog,
    RepeatCancel,
    Watchdog,
)
from bot.domain.errors import (
    BackendError,
    InsufficientFunds,
    LogStreamLost,
    SubmissionRejected,
    Unavailable,
)
from bot.domain.events import Cancelled, Failed, FailureReason, Requeued, Started
from bot.domain.workflow.document import Workflow

log = logging.getLogger(__name__)

_WAITING = (Status.PENDING, Status.META_SCHEDULED)
# In which statuses a reason to cancel still holds when the moment has come.
_STILL_WANTED = {
    CancelReason.NOBODY_TOOK_IT: _WAITING,
    CancelReason.SCRIPT_OLD: _WAITING,
    CancelReason.REFUSED: (*_WAITING, Status.SCHEDULED),
    CancelReason.OVERDUE: (Status.RUNNING,),
}


class Follower:
    """Follow any number of jobs."""

    def __init__(
        self,
        *,
        submitter: JobSubmitter,
        settlement: JobSettlement,
        watcher: Watcher,
        logs: LogClient,
        timeouts: Timeouts,
        now: Callable[[], datetime],
        quotes: QuoteService,
    ) -> None:
        self.submitter = submitter
        self.settlement = settlement
        self.watcher = watcher
        self.logs = logs
        self.timeouts = timeouts
        self.now = now
        self._quotes = quotes

    async def follow(
        self, job_id: str, cursor: str | None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Follow a job as ``Backend.follow`` does, resubmitting attempts that cost nothing."""
        record = await self.submitter.load_confirmed(job_id)
        position = LogCursor.read(cursor)
        while True:
            count = len(record.attempts)
            start = position if position.attempt == count else LogCursor(count)
            part = _AttemptStream(self, record, start, await self._per_minute(record))
            async with part:
                while not part.over:
                    for item in await part.more():
                        yield item
            outcome = await self._settled(record, part)
            if not outcome.retryable or count > self.timeouts.resubmissions:
                break
            try:
                renewed = await self.submitter.resubmit(job_id, count)
            except (SubmissionRejected, InsufficientFunds) as error:
                log.warning("it is not handed over again: %s", error, extra={"job": job_id})
                break
            log.warning("it is handed over again", extra={"job": job_id})
            record = renewed
            yield Requeued()
        await self.settlement.close_record(job_id)
        yield outcome.ending

    async def _per_minute(self, record: JobRecord) -> int | None:
        """Return the job's maximum price per minute, None if it cannot be known now."""
        if record.workflow is None:
            return None
        try:
            return await self._quotes.per_minute(Workflow.from_dict(record.workflow))
        except BackendError:
            return None

    async def _settled(self, record: JobRecord, part: _AttemptStream) -> JobOutcome:
        job = part.job
        if part.given_up or job is None:
            return JobOutcome(Failed(FailureReason.DIED, OVERDUE))
        kept = await self.settlement.settle(record.job_id, job) or record
        attempt = kept.attempts[len(record.attempts) - 1]
        bought = attempt.lock // part.per_minute if part.per_minute else None
        outcome = classify_outcome(job, attempt, bought)
        if outcome.operator_note:
            text = "Grid job %d: %s"
            log.warning(text, job.number, outcome.operator_note, extra={"job": record.job_id})
        if kept.stopped and (outcome.retryable or job.status is Status.CANCELLED):
            return JobOutcome(Cancelled(by=0))
        return outcome


class _AttemptStream:
    """The stream of one attempt. ``job`` is its final state on the chain."""

    def __init__(
        self, follower: Follower, record: JobRecord, start: LogCursor, per_minute: int | None
    ) -> None:
        attempt = record.attempts[-1]
        assert attempt.number is not None, "only what is on the chain is followed"
        self._follower = follower
        self._timeouts = follower.timeouts
        self._record = record
        self._number = attempt.number
        self._script = attempt.script
        self._start = start
        self.per_minute = per_minute
        self._watchdog = Watchdog(attempt, self._timeouts, follower.now(), per_minute)
        self._woken = asyncio.Event()
        self._running = False
        self._over_at: datetime | None = None
        self._wanted: CancelReason | RepeatCancel | None = None
        self._acting: asyncio.Task[None] | None = None
        self._acted_at: datetime | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at: datetime | None = None
        self._stopped_at: datetime | None = None
        self._withdrawn = attempt.withdrawal is not None
        self._missing_since: datetime | None = None
        self._searched_at: datetime | None = None
        self._begun = False
        self.over = False
        self.given_up = False
        self.job: ChainJob | None = None

    async def __aenter__(self) -> Self:
        wake = self._woken.set
        self._watching = self._follower.watcher.watching(self._number, wake)
        self._watch = await self._watching.__aenter__()
        self._reading = LogReader(self._follower.logs, self._number, self._start, wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reading.aclose()
        tasks = [task for task in (self._acting, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._watching.__aexit__()

    async def more(self) -> list[LogLine | LifecycleEvent]:
        """Wait briefly and return new lines, then lifecycle events.

        ``over`` is set once the chain says that the job has ended and the rest of its log is read.
        """
        if self._begun:
            await self._wait()
        self._begun = True
        self._woken.clear()
        news: list[LogLine | LifecycleEvent] = []
        while (line := self._reading.next_line()) is not None:
            news.append(line)
        news += self._life(self._watch)
        await self._check(self._watch, self._reading)
        self.over = self._done(self._reading)
        return news

    def _life(self, watch: JobSubscription) -> list[LifecycleEvent]:
        news: list[LifecycleEvent] = []
        transitions, watch.transitions = watch.transitions, []
        for transition in transitions:
            if transition.after == Status.PENDING:
                self._watchdog.note_rejection()
                self._running = False
                text = "Grid job %d went back to the line, for the %d. time"
                times = self._watchdog.refusals
                log.info(text, self._number, times, extra={"job": self._record.job_id})
                news.append(Requeued())
        self.job = watch.job
        if self.job is not None and self.job.status is Status.RUNNING and not self._running:
            self._running = True
            news.append(Started())
        return news

    async def _check(self, watch: JobSubscription, reading: LogReader) -> None:
        job, now = self.job, self._follower.now()
        if reading.is_complete and not reading.denied:
            raise LogStreamLost("the log is not read any more")
        if watch.missing or (job is not None and job.script != self._script):
            self.job = None
            await self._look_elsewhere(now)
            return
        self._missing_since = None
        if job is None:
            return
        if job.status.terminal:
            self._over_at = self._over_at or now
            return
        for finding in self._watchdog.check(job, reading.moved_at, now):
            match finding:
                case LogMessage(level, text):
                    extra = {"job": self._record.job_id}
                    log.log(level, "Grid job %d: %s", self._number, text, extra=extra)
                case ReopenLog():
                    reading.reopen()
                case CancelAttempt(reason):
                    self._wanted = reason
                    self._withdrawn = True
                case RepeatCancel():
                    self._wanted = finding
                case AbandonJob():
                    self.given_up = True
        self._hurry(job, now)
        self._act(now)

    async def _look_elsewhere(self, now: datetime) -> None:
        """Search for a job whose block was replaced: its number is missing, or another job's."""
        self._missing_since = self._missing_since or now
        if (now - self._missing_since).total_seconds() >= self._timeouts.lost:
            self.given_up = True
        searched = self._searched_at
        if searched and (now - searched).total_seconds() < self._timeouts.outage:
            return
        self._searched_at = now
        job_id = self._record.job_id
        log.warning("Grid job %d is gone from the chain", self._number, extra={"job": job_id})
        record = await self._follower.submitter.relocate(job_id)
        if record is not None and record.attempts[-1].number not in (None, self._number):
            raise LogStreamLost(f"Grid job {self._number} has another number now")

    def _hurry(self, job: ChainJob, now: datetime) -> None:
        """Poll a job that is being stopped every second; repeat a cancellation that was lost."""
        if self._looked_at is not None:
            if (now - self._looked_at).total_seconds() < self._timeouts.stopping:
                return
            if self._looking is not None and not self._looking.done():
                return
        self._looked_at = now
        if not self._follower.settlement.stopped(self._record.job_id):
            return
        self._stopped_at = self._stopped_at or now
        waited = (now - self._stopped_at).total_seconds()
        if not job.cancel_requested and waited >= 10 * self._timeouts.stopping:
            # The chain was away when it was told: it is told again.
            self._wanted = self._wanted or RepeatCancel()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        with contextlib.suppress(Unavailable):
            await self._follower.watcher.read(self._number)

    def _act(self, now: datetime) -> None:
        """Cancel in the background, repeating until it succeeds; log lines go on meanwhile."""
        if self._acting is not None and self._acting.done():
            acted, self._acting = self._acting, None
            acted.result()
        rested = (
            self._acted_at is None
            or (now - self._acted_at).total_seconds() >= self._timeouts.receipt_poll
        )
        if self._wanted is not None and self._acting is None and rested:
            self._acted_at = now
            self._acting = asyncio.create_task(self._withdraw(self._wanted))

    async def _withdraw(self, wanted: CancelReason | RepeatCancel) -> None:
        watcher, job_id = self._follower.watcher, self._record.job_id
        reason = wanted if isinstance(wanted, CancelReason) else None
        try:
            job = await watcher.read(self._number)
            if reason is None or (job is not None and job.status in _STILL_WANTED[reason]):
                await self._follower.settlement.cancel_attempt(job_id, self._number, reason)
                await watcher.read(self._number)
            else:
                # Claimed at the last moment: it is let run, and may have to wait again.
                self._watchdog.reset()
        except BackendError as error:
            log.warning("Grid job %d: %s", self._number, error, extra={"job": job_id})
        else:
            self._wanted = None
        self._woken.set()

    def _done(self, reading: LogReader) -> bool:
        if self.given_up:
            return True
        job = self.job
        if job is None or self._over_at is None:
            return False
        now = self._follower.now()
        over = (now - self._over_at).total_seconds()
        quiet = (now - reading.moved_at).total_seconds()
        # Anybody can write into a log, for ever too.
        if over >= (self._timeouts.stopped_tail if self._stopped(job) else self._timeouts.flood):
            return True
        if not reading.waiting.empty():
            return False
        if job.never_ran or reading.denied:
            return True
        if self._stopped(job):
            return quiet >= self._timeouts.quiet_period
        if reading.broken:
            return over >= self._timeouts.logger_outage
        if reading.ended:
            # Not at once: anybody can write the platform's last line, in the middle too.
            return quiet >= self._timeouts.quiet_period
        return min(over, quiet) >= self._timeouts.tail

    def _stopped(self, job: ChainJob) -> bool:
        """Return whether it ended on request, and not for a reason of the bot's own."""
        asked = job.cancel_requested or job.status is Status.CANCELLED
        return asked and not self._withdrawn

    async def _wait(self) -> None:
        tick = min(1.0, self._timeouts.poll, self._timeouts.quiet_period)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(tick):
                await self._woken.wait()
