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
    """Open the silent log stream anew."""


@dataclass(frozen=True, slots=True)
class AbandonJob:
    """Give the job up."""


WatchdogAction: TypeAlias = LogMessage | CancelAttempt | RepeatCancel | ReopenLog | AbandonJob


class Watchdog:
    """Watch one attempt from ``begun`` on; it costs at most ``per_minute``."""

    def __init__(
        self, attempt: ChainAttempt, timeouts: Timeouts, begun: datetime, per_minute: int | None
    ) -> None:
        self._script_at = attempt.script_at
        self._per_minute = per_minute
        self._timeouts = timeouts
        self._status: Status | None = None
        self._since = attempt.requested_at or begun
        self._reopened_at = begun
        self._asked_at: datetime | None = attempt.cancelled_at
        self._said: set[str] = set()
        self.refusals = 0

    def note_rejection(self) -> None:
        """Count a provider that had the job and returned it."""
        self.refusals += 1

    def reset(self) -> None:
        """Allow another cancellation: the job was claimed before the last one."""
        self._said.discard("withdraw")

    def check(self, job: ChainJob, heard_at: datetime, now: datetime) -> list[WatchdogAction]:
        """Return what to do now. ``heard_at`` is when the last log line came."""
        if job.status is not self._status:
            if self._status is not None:
                self._since = now
            elif job.status is Status.RUNNING and job.started:
                self._since = datetime.fromtimestamp(job.started, UTC)
            self._status = job.status
            self._said -= {"wait", "claim"}
        waited = (now - self._since).total_seconds()
        if job.status in (Status.PENDING, Status.META_SCHEDULED):
            return self._waiting(job.status, waited, (now - self._script_at).total_seconds())
        if job.status is Status.RUNNING:
            return self._running(job, heard_at, now)
        return []

    def _waiting(self, status: Status, waited: float, script_age: float) -> list[WatchdogAction]:
        timeouts = self._timeouts
        if self.refusals >= timeouts.refusals:
            return self._once("withdraw", CancelAttempt(CancelReason.REFUSED))
        if script_age >= timeouts.script_renew:
            return self._once("withdraw", CancelAttempt(CancelReason.SCRIPT_OLD))
        if status is Status.META_SCHEDULED:
            if waited >= timeouts.claim_warning:
                text = "its provider does not take it up; is the provider's supervisor down?"
                return self._once("claim", LogMessage(logging.WARNING, text))
            return []
        if waited >= timeouts.pending:
            return self._once("withdraw", CancelAttempt(CancelReason.NOBODY_TOOK_IT))
        if waited >= timeouts.pending_warn:
            text = "no provider has been found for it; are there any with these labels and size?"
            return self._once("wait", LogMessage(logging.WARNING, text))
        return []

    def _running(self, job: ChainJob, heard_at: datetime, now: datetime) -> list[WatchdogAction]:
        timeouts = self._timeouts
        found: list[WatchdogAction] = []
        silent = (now - max(heard_at, self._reopened_at)).total_seconds()
        if silent >= timeouts.log_silence:
            self._reopened_at = now
            text = "it runs, and its log says nothing; opening the log anew"
            found += [LogMessage(logging.WARNING, text), ReopenLog()]
        if job.cancel_requested:
            self._asked_at = self._asked_at or now
            if (now - self._asked_at).total_seconds() >= timeouts.cancel:
                self._asked_at = now
                text = "its provider was told to stop it, and does not; telling it again"
                found += [LogMessage(logging.WARNING, text), RepeatCancel()]
        if self._per_minute:
            # As the chain has it: a job may have been topped up since it was handed over.
            allowed = 60.0 * (job.max_cost // self._per_minute) + timeouts.overdue
            ran = (now - self._since).total_seconds()
            if ran >= allowed:
                text = "it runs longer than was paid for; its provider must have lost it"
                found += self._once("overdue", LogMessage(logging.ERROR, text))
                found += self._once("withdraw", CancelAttempt(CancelReason.OVERDUE))
            if ran >= allowed + timeouts.lost:
                found += self._once("lost", AbandonJob())
        return found

    def _once(self, what: str, finding: WatchdogAction) -> list[WatchdogAction]:
        if what in self._said:
            return []
        self._said.add(what)
        return [finding]
