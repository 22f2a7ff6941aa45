"""Merge a job's log and its state on the chain into one stream.

The log may be silent, broken or late; the chain decides about the job's state but does not have
its files. Jobs that hang are reported, cancelled or resubmitted here.
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
from bot.backends.deepsquare.chain_watcher import ChainWatcher, JobSubscription
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
from bot.concurrency import cancel_and_wait
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
# Statuses in which a reason to cancel still holds when the cancellation is sent.
_STATUSES_TO_CANCEL = {
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
        watcher: ChainWatcher,
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
        position = LogCursor.parse(cursor)
        while True:
            count = len(record.attempts)
            start = position if position.attempt == count else LogCursor(count)
            stream = _AttemptStream(self, record, start, await self._per_minute(record))
            async with stream:
                while not stream.is_over:
                    for item in await stream.next_items():
                        yield item
            outcome = await self._settle(record, stream)
            if not outcome.retryable or count > self.timeouts.max_resubmissions:
                break
            try:
                renewed = await self.submitter.resubmit(job_id, count)
            except (SubmissionRejected, InsufficientFunds) as error:
                log.warning("the job is not submitted again: %s", error, extra={"job": job_id})
                break
            log.warning("the job is submitted again", extra={"job": job_id})
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

    async def _settle(self, record: JobRecord, stream: _AttemptStream) -> JobOutcome:
        job = stream.job
        if stream.abandoned or job is None:
            return JobOutcome(Failed(FailureReason.DIED, OVERDUE))
        updated = await self.settlement.settle(record.job_id, job) or record
        attempt = updated.attempts[len(record.attempts) - 1]
        paid_minutes = attempt.lock // stream.per_minute if stream.per_minute else None
        outcome = classify_outcome(job, attempt, paid_minutes)
        if outcome.operator_note:
            text = "Grid job %d: %s"
            log.warning(text, job.number, outcome.operator_note, extra={"job": record.job_id})
        if updated.stopped and (outcome.retryable or job.status is Status.CANCELLED):
            return JobOutcome(Cancelled(by=0))
        return outcome


class _AttemptStream:
    """The stream of one attempt. ``job`` is its final state on the chain."""

    def __init__(
        self, follower: Follower, record: JobRecord, start: LogCursor, per_minute: int | None
    ) -> None:
        attempt = record.attempts[-1]
        assert attempt.number is not None, "only attempts on the chain are followed"
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
        self._ended_at: datetime | None = None
        self._pending_cancel: CancelReason | RepeatCancel | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._cancel_tried_at: datetime | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._stop_checked_at: datetime | None = None
        self._stopped_at: datetime | None = None
        self._cancelled_by_bot = attempt.withdrawal is not None
        self._missing_since: datetime | None = None
        self._searched_at: datetime | None = None
        self._started = False
        self.is_over = False
        self.abandoned = False
        self.job: ChainJob | None = None

    async def __aenter__(self) -> Self:
        wake = self._woken.set
        self._subscription_context = self._follower.watcher.subscribe(self._number, wake)
        self._subscription = await self._subscription_context.__aenter__()
        self._log_reader = LogReader(self._follower.logs, self._number, self._start, wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._log_reader.aclose()
        await cancel_and_wait(self._cancelling, self._refreshing)
        await self._subscription_context.__aexit__()

    async def next_items(self) -> list[LogLine | LifecycleEvent]:
        """Wait briefly and return new lines, then lifecycle events.

        ``is_over`` is set once the job has ended on the chain and the rest of its log is read.
        """
        if self._started:
            await self._wait()
        self._started = True
        self._woken.clear()
        items: list[LogLine | LifecycleEvent] = []
        while (line := self._log_reader.next_line()) is not None:
            items.append(line)
        items += self._lifecycle_events(self._subscription)
        await self._check(self._subscription, self._log_reader)
        self.is_over = self._is_done(self._log_reader)
        return items

    def _lifecycle_events(self, subscription: JobSubscription) -> list[LifecycleEvent]:
        items: list[LifecycleEvent] = []
        transitions, subscription.transitions = subscription.transitions, []
        for transition in transitions:
            if transition.after == Status.PENDING:
                self._watchdog.note_rejection()
                self._running = False
                text = "Grid job %d was returned to the queue (rejection %d)"
                times = self._watchdog.rejections
                log.info(text, self._number, times, extra={"job": self._record.job_id})
                items.append(Requeued())
        self.job = subscription.job
        if self.job is not None and self.job.status is Status.RUNNING and not self._running:
            self._running = True
            items.append(Started())
        return items

    async def _check(self, subscription: JobSubscription, log_reader: LogReader) -> None:
        job, now = self.job, self._follower.now()
        if log_reader.is_complete and not log_reader.denied:
            raise LogStreamLost("the log reader has ended")
        if subscription.missing or (job is not None and job.script != self._script):
            self.job = None
            await self._relocate(now)
            return
        self._missing_since = None
        if job is None:
            return
        if job.status.is_terminal:
            self._ended_at = self._ended_at or now
            return
        for action in self._watchdog.check(job, log_reader.last_line_at, now):
            match action:
                case LogMessage(level, text):
                    extra = {"job": self._record.job_id}
                    log.log(level, "Grid job %d: %s", self._number, text, extra=extra)
                case ReopenLog():
                    log_reader.reopen()
                case CancelAttempt(reason):
                    self._pending_cancel = reason
                    self._cancelled_by_bot = True
                case RepeatCancel():
                    self._pending_cancel = action
                case AbandonJob():
                    self.abandoned = True
        self._check_stop(job, now)
        self._run_cancel(now)

    async def _relocate(self, now: datetime) -> None:
        """Search for a job whose block was replaced: its number is missing, or another job's."""
        self._missing_since = self._missing_since or now
        if (now - self._missing_since).total_seconds() >= self._timeouts.lost:
            self.abandoned = True
        searched = self._searched_at
        if searched and (now - searched).total_seconds() < self._timeouts.outage:
            return
        self._searched_at = now
        job_id = self._record.job_id
        log.warning("Grid job %d is gone from the chain", self._number, extra={"job": job_id})
        record = await self._follower.submitter.relocate(job_id)
        if record is not None and record.attempts[-1].number not in (None, self._number):
            raise LogStreamLost(f"Grid job {self._number} has another number now")

    def _check_stop(self, job: ChainJob, now: datetime) -> None:
        """Poll a job that is being stopped every second; repeat a cancellation that was lost."""
        if self._stop_checked_at is not None:
            if (now - self._stop_checked_at).total_seconds() < self._timeouts.stopping:
                return
            if self._refreshing is not None and not self._refreshing.done():
                return
        self._stop_checked_at = now
        if not self._follower.settlement.is_stop_requested(self._record.job_id):
            return
        self._stopped_at = self._stopped_at or now
        waited = (now - self._stopped_at).total_seconds()
        if not job.cancel_requested and waited >= 10 * self._timeouts.stopping:
            # The chain was unavailable when the job was cancelled: cancel it again.
            self._pending_cancel = self._pending_cancel or RepeatCancel()
        self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        with contextlib.suppress(Unavailable):
            await self._follower.watcher.refresh(self._number)

    def _run_cancel(self, now: datetime) -> None:
        """Cancel in the background, repeating until it succeeds; log lines go on meanwhile."""
        if self._cancelling is not None and self._cancelling.done():
            cancelling, self._cancelling = self._cancelling, None
            cancelling.result()
        due = (
            self._cancel_tried_at is None
            or (now - self._cancel_tried_at).total_seconds() >= self._timeouts.receipt_poll
        )
        if self._pending_cancel is not None and self._cancelling is None and due:
            self._cancel_tried_at = now
            self._cancelling = asyncio.create_task(self._cancel(self._pending_cancel))

    async def _cancel(self, cancel: CancelReason | RepeatCancel) -> None:
        watcher, job_id = self._follower.watcher, self._record.job_id
        reason = cancel if isinstance(cancel, CancelReason) else None
        try:
            job = await watcher.refresh(self._number)
            if reason is None or (job is not None and job.status in _STATUSES_TO_CANCEL[reason]):
                await self._follower.settlement.cancel_attempt(job_id, self._number, reason)
                await watcher.refresh(self._number)
            else:
                # Claimed at the last moment: let it run; it may become pending again.
                self._watchdog.reset()
        except BackendError as error:
            log.warning("Grid job %d: %s", self._number, error, extra={"job": job_id})
        else:
            self._pending_cancel = None
        self._woken.set()

    def _is_done(self, log_reader: LogReader) -> bool:
        if self.abandoned:
            return True
        job = self.job
        if job is None or self._ended_at is None:
            return False
        now = self._follower.now()
        over = (now - self._ended_at).total_seconds()
        quiet = (now - log_reader.last_line_at).total_seconds()
        # Anybody can write into a log, for ever too.
        if over >= (
            self._timeouts.stopped_tail if self._ended_on_request(job) else self._timeouts.flood
        ):
            return True
        if not log_reader.queue.empty():
            return False
        if job.never_ran or log_reader.denied:
            return True
        if self._ended_on_request(job):
            return quiet >= self._timeouts.quiet_period
        if log_reader.disconnected:
            return over >= self._timeouts.logger_outage
        if log_reader.saw_end_line:
            # Not at once: anybody can write the platform's last line, in the middle too.
            return quiet >= self._timeouts.quiet_period
        return min(over, quiet) >= self._timeouts.tail

    def _ended_on_request(self, job: ChainJob) -> bool:
        """Return whether it ended on request, and not for a reason of the bot's own."""
        asked = job.cancel_requested or job.status is Status.CANCELLED
        return asked and not self._cancelled_by_bot

    async def _wait(self) -> None:
        tick = min(1.0, self._timeouts.poll, self._timeouts.quiet_period)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(tick):
                await self._woken.wait()
