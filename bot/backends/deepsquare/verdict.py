"""How a job that is over at DeepSquare ended, in the engine's words.

The Grid's own words mislead: FINISHED is also said of jobs whose machine died, FAILED of jobs that
never began. So the exit status and the cost are read beside the status. Pure; sentences are for
members, remarks for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.backends.base import Life
from bot.backends.deepsquare.abi import ChainJob, Status, shown
from bot.backends.deepsquare.records import Attempt, Withdrawal
from bot.domain.events import Cancelled, Cause, Exited, Failed, OutOfFunds

NOBODY = "No machine was free to take this; nothing was charged. Try again later."
REFUSED = "Several machines turned this down; nothing was charged. Try again later."
EXPIRED = "No machine took this in time; nothing was charged. Try again later."
NEVER_BEGAN = "The machine could not begin the work; nothing was charged. Try again."
TOO_SMALL = "What may be paid for one picture buys less than a minute of the machine that took it."
LATE = "This was stopped because no machine seemed to take it. Try again."
LOST = "The machine lost the work. Try again."
OVERDUE = "The machine did not answer for a long time and was given up. Try again."


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ending, what the operator should know, and whether another attempt is worth it.

    ``again`` is true only where nothing was charged.
    """

    ending: Life
    remark: str = ""
    again: bool = False


def exit_status(raw: int) -> int:
    """A process's exit status from the wait status that Slurm reports; 128 + n for signal n."""
    code, signal = (raw >> 8) & 0xFF, raw & 0x7F
    return code or (128 + signal if signal else 0)


def judge(job: ChainJob, attempt: Attempt, minutes_bought: int | None) -> Verdict:
    """What became of a job whose status is terminal."""
    code = exit_status(job.exit_code)
    match job.status:
        case Status.FINISHED if job.exit_code == 0:
            return Verdict(Exited(0))
        case Status.FINISHED:
            remark = "its provider calls it finished, but it did not end well: node, memory or time"
            return Verdict(Exited(code, f"the machine broke off, exit status {code}"), remark)
        case Status.FAILED if job.never_ran and minutes_bought == 0:
            remark = (
                f"its lock of {shown(attempt.lock)} credits buys less than a minute there; "
                "raise [backend.deepsquare] lock_credits and max_credits_per_job"
            )
            return Verdict(Failed(Cause.OUT_OF_FUNDS, TOO_SMALL), remark)
        case Status.FAILED if job.never_ran:
            remark = "its provider could not fetch the script, or refused its time limit, at claim"
            return Verdict(Failed(Cause.UNAVAILABLE, NEVER_BEGAN), remark, again=True)
        case Status.FAILED:
            detail = f"exit status {code}" if code else "no exit status"
            return Verdict(Exited(code or None, detail))
        case Status.OUT_OF_CREDITS:
            remark = (
                f"it was stopped at its time limit; {shown(attempt.lock)} credits were too few: "
                "raise [backend.deepsquare] lock_credits"
            )
            return Verdict(OutOfFunds(), remark)
        case Status.PANICKED:
            told = job.last_error[:200].replace("\n", " ") or "no reason given"
            free = job.final_cost == 0
            return Verdict(Failed(Cause.DIED, LOST), f"its provider gave it up: {told}", free)
        case _:
            return _cancelled(job, attempt)


def _cancelled(job: ChainJob, attempt: Attempt) -> Verdict:
    if attempt.withdrawal not in (None, Withdrawal.OVERDUE) and job.final_cost > 0:
        # It was claimed and began while the cancellation was on its way.
        remark = "it was cancelled as nobody seemed to take it, and had just begun"
        return Verdict(Failed(Cause.UNAVAILABLE, LATE), remark)
    match attempt.withdrawal:
        case Withdrawal.NOBODY_TOOK_IT:
            return Verdict(Failed(Cause.UNAVAILABLE, NOBODY), "no provider took it; cancelled")
        case Withdrawal.REFUSED:
            remark = "providers turned it down again and again; cancelled"
            return Verdict(Failed(Cause.UNAVAILABLE, REFUSED), remark)
        case Withdrawal.SCRIPT_OLD:
            remark = "its script was about to expire; cancelled"
            return Verdict(Failed(Cause.UNAVAILABLE, EXPIRED), remark, again=job.final_cost == 0)
        case Withdrawal.OVERDUE:
            return Verdict(Failed(Cause.DIED, OVERDUE), "it ran past what was paid; cancelled")
        case _:
            return Verdict(Cancelled(by=0))
