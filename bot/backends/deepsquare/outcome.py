"""Classify how a job ended at DeepSquare. Pure.

The Grid's statuses mislead: FINISHED includes jobs whose node died, FAILED jobs that never started.
So exit status and cost are read too. The messages are for members, ``operator_note`` for the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.backends.base import LifecycleEvent
from bot.backends.deepsquare.abi import ChainJob, Status, format_credits
from bot.backends.deepsquare.state import CancelReason, ChainAttempt
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, FundsExhausted

NO_PROVIDER = "No provider was free for this job. Nothing was charged. Try again later."
REFUSED = "Several providers rejected this job. Nothing was charged. Try again later."
EXPIRED = "No provider took this job in time. Nothing was charged. Try again later."
NEVER_STARTED = "The provider could not start this job. Nothing was charged. Try again."
LOCK_TOO_SMALL = "The limit of credits per job pays for less than a minute at this provider."
CLAIM_TIMEOUT = "This job was cancelled because no provider seemed to take it. Try again."
WORK_LOST = "The provider lost this job. Try again."
OVERDUE = "The provider did not respond for a long time. The job was given up. Try again."


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The terminal event, a note for the operator, and whether to submit again.

    ``retryable`` is true only where nothing was charged.
    """

    ending: LifecycleEvent
    operator_note: str = ""
    retryable: bool = False


def exit_status(raw: int) -> int:
    """Convert the wait status that Slurm reports to an exit status; 128 + n for signal n."""
    code, signal = (raw >> 8) & 0xFF, raw & 0x7F
    return code or (128 + signal if signal else 0)


def classify_outcome(
    job: ChainJob, attempt: ChainAttempt, minutes_bought: int | None
) -> JobOutcome:
    """Return the outcome of a job whose status is terminal."""
    code = exit_status(job.exit_code)
    lock = format_credits(attempt.lock)
    match job.status:
        case Status.FINISHED if job.exit_code == 0:
            return JobOutcome(Exited(0))
        case Status.FINISHED:
            remark = "its provider reports FINISHED, but the job failed: node, memory or time limit"
            return JobOutcome(Exited(code, f"the job was killed, exit status {code}"), remark)
        case Status.FAILED if job.never_ran and minutes_bought == 0:
            remark = (
                f"its lock of {lock} credits buys less than a minute there; raise "
                "[backend.deepsquare] lock_credits and max_credits_per_job"
            )
            return JobOutcome(Failed(FailureReason.OUT_OF_FUNDS, LOCK_TOO_SMALL), remark)
        case Status.FAILED if job.never_ran:
            remark = "its provider could not fetch the script, or rejected its time limit, at claim"
            return JobOutcome(
                Failed(FailureReason.UNAVAILABLE, NEVER_STARTED), remark, retryable=True
            )
        case Status.FAILED:
            detail = f"exit status {code}" if code else "no exit status"
            return JobOutcome(Exited(code or None, detail))
        case Status.OUT_OF_CREDITS:
            remark = (
                f"it was stopped at its time limit; {lock} credits were too few: raise "
                "[backend.deepsquare] lock_credits"
            )
            return JobOutcome(FundsExhausted(), remark)
        case Status.PANICKED:
            told = job.last_error[:200].replace("\n", " ") or "no reason given"
            free = job.final_cost == 0
            return JobOutcome(
                Failed(FailureReason.DIED, WORK_LOST), f"its provider gave it up: {told}", free
            )
        case _:
            return _cancelled(job, attempt)


def _cancelled(job: ChainJob, attempt: ChainAttempt) -> JobOutcome:
    if attempt.withdrawal not in (None, CancelReason.OVERDUE) and job.final_cost > 0:
        # It was claimed and started while the cancellation was pending.
        remark = "it was cancelled because no provider seemed to take it, but it had just started"
        return JobOutcome(Failed(FailureReason.UNAVAILABLE, CLAIM_TIMEOUT), remark)
    match attempt.withdrawal:
        case CancelReason.NOBODY_TOOK_IT:
            return JobOutcome(
                Failed(FailureReason.UNAVAILABLE, NO_PROVIDER), "no provider took it; cancelled"
            )
        case CancelReason.REFUSED:
            remark = "several providers rejected it; cancelled"
            return JobOutcome(Failed(FailureReason.UNAVAILABLE, REFUSED), remark)
        case CancelReason.SCRIPT_OLD:
            remark = "its script was about to expire; cancelled"
            return JobOutcome(
                Failed(FailureReason.UNAVAILABLE, EXPIRED), remark, retryable=job.final_cost == 0
            )
        case CancelReason.OVERDUE:
            return JobOutcome(
                Failed(FailureReason.DIED, OVERDUE), "it ran past what was paid; cancelled"
            )
        case _:
            return JobOutcome(Cancelled(by=0))
