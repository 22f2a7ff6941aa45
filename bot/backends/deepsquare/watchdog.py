"""Decide what to do about a job that is pending too long, hangs or was rejected.

Pure: the job on the chain and the current time come in, actions come out: a log message, a reason
to cancel, or to give the job up. Each is returned once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from bot.backends.deepsquare.abi import ChainJob, Status
from bot.backends.deepsquare.state import CancelReason, ChainAttempt
from bot.backends.deepsquare.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class LogMessage:
    """Write a message to the operator's log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Cancel the job on the chain for this reason."""

    reason: CancelReason


@dataclass(frozen=True, slots=True)
class RepeatCancel:
    """Cancel again: the provider was told to stop the job and has not."""


@dataclass(frozen=True, slots=True)
class ReopenLog:
    """Reopen the silent log stream."""


@dataclass(frozen=True, slots=True)
class AbandonJob:
    """Give the job up."""


WatchdogAction: TypeAlias = LogMessage | CancelAttempt | RepeatCancel | ReopenLog | AbandonJob


class Watchdog:
    """Watch one attempt from ``started_at`` on; it costs at most ``per_minute``."""

    def __init__(
        self,
        attempt: ChainAttempt,
        timeouts: Timeouts,
        started_at: datetime,
        per_minute: int | None,
    ) -> None:
        self._script_at = attempt.script_at
        self._per_minute = per_minute
        self._timeouts = timeouts
        self._status: Status | None = None
        self._status_since = attempt.requested_at or started_at
        self._reopened_at = started_at
        self._cancel_requested_at: datetime | None = attempt.cancelled_at
        self._reported: set[str] = set()
        self.rejections = 0

    def note_rejection(self) -> None:
        """Count a provider that had the job and returned it."""
        self.rejections += 1

    def reset(self) -> None:
        """Allow another cancellation: the job was claimed before the last one."""
        self._reported.discard("withdraw")

    def check(self, job: ChainJob, heard_at: datetime, now: datetime) -> list[WatchdogAction]:
        """Return what to do now. ``heard_at`` is when the last log line came."""
        if job.status is not self._status:
            if self._status is not None:
                self._status_since = now
            elif job.status is Status.RUNNING and job.started:
                self._status_since = datetime.fromtimestamp(job.started, UTC)
            self._status = job.status
            self._reported -= {"wait", "claim"}
        waited = (now - self._status_since).total_seconds()
        if job.status in (Status.PENDING, Status.META_SCHEDULED):
            return self._waiting(job.status, waited, (now - self._script_at).total_seconds())
        if job.status is Status.RUNNING:
            return self._running(job, heard_at, now)
        return []

    def _waiting(self, status: Status, waited: float, script_age: float) -> list[WatchdogAction]:
        timeouts = self._timeouts
        if self.rejections >= timeouts.max_rejections:
            return self._once("withdraw", CancelAttempt(CancelReason.REFUSED))
        if script_age >= timeouts.script_renew:
            return self._once("withdraw", CancelAttempt(CancelReason.SCRIPT_OLD))
        if status is Status.META_SCHEDULED:
            if waited >= timeouts.claim_warning:
                text = "its provider does not start it; is the provider's supervisor down?"
                return self._once("claim", LogMessage(logging.WARNING, text))
            return []
        if waited >= timeouts.pending:
            return self._once("withdraw", CancelAttempt(CancelReason.NOBODY_TOOK_IT))
        if waited >= timeouts.pending_warning:
            text = "no provider takes the job; does any have these labels and this size?"
            return self._once("wait", LogMessage(logging.WARNING, text))
        return []

    def _running(self, job: ChainJob, heard_at: datetime, now: datetime) -> list[WatchdogAction]:
        timeouts = self._timeouts
        actions: list[WatchdogAction] = []
        silent = (now - max(heard_at, self._reopened_at)).total_seconds()
        if silent >= timeouts.log_silence:
            self._reopened_at = now
            text = "it runs, but its log is silent; reopening the log"
            actions += [LogMessage(logging.WARNING, text), ReopenLog()]
        if job.cancel_requested:
            self._cancel_requested_at = self._cancel_requested_at or now
            if (now - self._cancel_requested_at).total_seconds() >= timeouts.cancel:
                self._cancel_requested_at = now
                text = "its provider does not stop it; cancelling again"
                actions += [LogMessage(logging.WARNING, text), RepeatCancel()]
        if self._per_minute:
            # From the chain: the job may have been topped up since it was submitted.
            allowed = 60.0 * (job.max_cost // self._per_minute) + timeouts.overdue
            ran = (now - self._status_since).total_seconds()
            if ran >= allowed:
                text = "it runs longer than was paid for; its provider may have lost it"
                actions += self._once("overdue", LogMessage(logging.ERROR, text))
                actions += self._once("withdraw", CancelAttempt(CancelReason.OVERDUE))
            if ran >= allowed + timeouts.lost:
                actions += self._once("lost", AbandonJob())
        return actions

    def _once(self, what: str, action: WatchdogAction) -> list[WatchdogAction]:
        if what in self._reported:
            return []
        self._reported.add(what)
        return [action]
