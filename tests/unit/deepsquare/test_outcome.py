"""How a job ended, where the Grid's own word for it misleads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.backends.deepsquare.abi import ChainJob, Status
from bot.backends.deepsquare.outcome import JobOutcome, classify_outcome, exit_status
from bot.backends.deepsquare.state import CancelReason, ChainAttempt
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, FundsExhausted
from tests.unit.deepsquare import vectors
from tests.unit.deepsquare.vectors import CREDIT

JOB = ChainJob.decode(vectors.JOB_ANSWER)
ATTEMPT = ChainAttempt("script", datetime(2026, 1, 1, tzinfo=UTC), 500 * CREDIT, number=7)


def outcome(
    status: Status, withdrawal: CancelReason | None = None, bought: int | None = 10, **facts: object
) -> JobOutcome:
    job = replace(JOB, status=status, **facts)  # type: ignore[arg-type]
    return classify_outcome(job, replace(ATTEMPT, withdrawal=withdrawal), bought)


def failed(found: JobOutcome, cause: FailureReason) -> str:
    """The member's sentence of a failure."""
    assert isinstance(found.ending, Failed)
    assert found.ending.cause is cause
    return found.ending.message


def test_finished_with_exit_status_0_is_the_only_success() -> None:
    assert outcome(Status.FINISHED) == JobOutcome(Exited(0))


def test_finished_with_another_exit_status_is_none() -> None:
    found = outcome(Status.FINISHED, exit_code=137 << 8)
    assert found.ending == Exited(137, "the job was killed, exit status 137")
    assert "node, memory or time" in found.operator_note
    assert outcome(Status.FINISHED, exit_code=9).ending == Exited(
        137, "the job was killed, exit status 137"
    )


def test_failed_with_logs_tells_the_steps_exit_status() -> None:
    assert outcome(Status.FAILED, exit_code=3 << 8).ending == Exited(3, "exit status 3")
    assert outcome(Status.FAILED).ending == Exited(None, "no exit status")


def test_failed_without_cost_never_began_and_may_be_tried_again() -> None:
    found = outcome(Status.FAILED, final_cost=0)
    assert "Nothing was charged" in failed(found, FailureReason.UNAVAILABLE)
    assert found.retryable
    assert "script" in found.operator_note


def test_failed_without_cost_on_a_lock_below_a_minute_asks_for_a_bigger_lock() -> None:
    found = outcome(Status.FAILED, bought=0, final_cost=0)
    assert "less than a minute" in failed(found, FailureReason.OUT_OF_FUNDS)
    assert "lock_credits" in found.operator_note
    assert not found.retryable


def test_out_of_credits_is_the_time_limit_and_asks_for_a_larger_lock() -> None:
    found = outcome(Status.OUT_OF_CREDITS)
    assert found.ending == FundsExhausted()
    assert "500 credits were too few" in found.operator_note


def test_panicked_is_lost_and_tried_again_only_if_nothing_was_charged() -> None:
    charged = outcome(Status.PANICKED, last_error="provider lost the job\nforged line")
    assert "lost this job" in failed(charged, FailureReason.DIED)
    assert not charged.retryable
    assert charged.operator_note == "its provider gave it up: provider lost the job forged line"
    assert outcome(Status.PANICKED, final_cost=0).retryable


def test_cancelled_by_somebody_is_cancelled() -> None:
    assert outcome(Status.CANCELLED).ending == Cancelled(by=0)


@pytest.mark.parametrize(
    ("reason", "cause", "words", "again"),
    [
        (CancelReason.NOBODY_TOOK_IT, FailureReason.UNAVAILABLE, "No provider was free", False),
        (CancelReason.REFUSED, FailureReason.UNAVAILABLE, "rejected this job", False),
        (CancelReason.SCRIPT_OLD, FailureReason.UNAVAILABLE, "in time", True),
        (CancelReason.OVERDUE, FailureReason.DIED, "did not respond", False),
    ],
)
def test_what_we_cancelled_ourselves_says_why(
    reason: CancelReason, cause: FailureReason, words: str, again: bool
) -> None:
    found = outcome(Status.CANCELLED, reason, final_cost=0)
    assert words in failed(found, cause)
    assert found.retryable is again


def test_what_began_while_it_was_cancelled_does_not_claim_to_be_free() -> None:
    found = outcome(Status.CANCELLED, CancelReason.NOBODY_TOOK_IT, final_cost=CREDIT)
    assert "othing was charged" not in failed(found, FailureReason.UNAVAILABLE)
    assert not found.retryable


@pytest.mark.parametrize(
    ("raw", "status"), [(0, 0), (768, 3), (1792, 7), (9, 137), (15, 143), (255 << 8, 255)]
)
def test_a_wait_status_becomes_an_exit_status(raw: int, status: int) -> None:
    assert exit_status(raw) == status
