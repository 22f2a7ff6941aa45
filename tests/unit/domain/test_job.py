"""A job's life: what moves it, what it shrugs off, and what cannot happen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.errors import IllegalTransition
from bot.domain.events import (
    Accepted,
    BackendJobRef,
    Cancelled,
    CancelRequested,
    Delivered,
    Exited,
    Failed,
    FailureReason,
    Finished,
    FundsExhausted,
    GridReady,
    JobEvent,
    MessageRef,
    Redelivered,
    Requeued,
    ResultsFetched,
    RowFailed,
    RowProgress,
    RowReady,
    RowStarted,
    Scheduled,
    Started,
)
from bot.domain.job import Job, JobState, Row, apply_event, charged_images
from tests.unit.domain.job_factories import (
    COLLECTING,
    DELIVERING,
    HANDLE,
    LATER,
    NOW,
    ONE_READY,
    PENDING,
    REQUEST,
    RUNNING,
    after,
    artifact,
)


def test_a_request_becomes_a_picture() -> None:
    message = MessageRef(3, 4)
    states = [JobState.QUEUED]
    job = after()
    for event in (
        *PENDING,
        Started(),
        RowStarted(1, 100),
        RowProgress(1, 40),
        RowReady(1, 100, artifact("row-01")),
        RowReady(2, 101, artifact("row-02")),
        GridReady(artifact("grid"), 2),
        Finished(2, 0),
        Exited(0),
        ResultsFetched((1, 2)),
        Delivered("interaction", message),
    ):
        job = apply_event(job, event, LATER)
        if job.state is not states[-1]:
            states.append(job.state)
    assert states == [
        JobState.QUEUED,
        JobState.SUBMITTING,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.COLLECTING,
        JobState.DELIVERING,
        JobState.FINISHED,
    ]
    assert job.handle == HANDLE
    assert (job.created_at, job.started_at, job.ended_at) == (NOW, LATER, LATER)
    assert (job.delivery_method, job.result) == ("interaction", message)
    assert job.grid == artifact("grid")
    assert not job.is_partial


def test_rows_have_the_consecutive_seeds_of_the_request() -> None:
    assert [(row.number, row.seed) for row in after().rows] == [(1, 100), (2, 101)]


def test_progress_counts_all_rows_and_never_falls() -> None:
    job = after(*RUNNING, RowProgress(1, 50))
    assert job.rows[0].started
    assert job.percent == 25
    assert after(*RUNNING, RowProgress(1, 50), RowProgress(1, 20)).percent == 25
    assert after(*RUNNING, RowProgress(1, 500)).rows[0].percent == 100
    assert after(*RUNNING, RowProgress(1, -5)).rows[0].percent == 0
    assert after(*RUNNING, RowFailed(1, 9), RowProgress(2, 50)).percent == 75
    assert Job("a", REQUEST, NOW).percent == 0


def test_a_row_that_is_ready_stays_as_it_is() -> None:
    job = after(*ONE_READY)
    for event in (RowFailed(1, 1), RowProgress(1, 3), RowStarted(1, 5)):
        assert apply_event(job, event, LATER) == job


def test_a_row_that_failed_may_still_come() -> None:
    job = after(*RUNNING, RowFailed(1, 1))
    assert job.rows[0].is_done
    assert not job.rows[0].is_ready
    again = apply_event(job, RowReady(1, 100, artifact()), LATER)
    assert again.rows[0] == Row(1, 100, 100, started=True, artifact=artifact())


def test_a_row_that_the_job_does_not_have_is_a_bug() -> None:
    for row in (0, 3):
        with pytest.raises(IllegalTransition, match=f"row {row} of a job with 2 rows"):
            after(*RUNNING, RowStarted(row, 1))
    with pytest.raises(IllegalTransition, match="fetched rows"):
        after(*COLLECTING, ResultsFetched((1, 3)))


@pytest.mark.parametrize(
    "event",
    [
        RowStarted(1, 100),
        RowProgress(1, 10),
        RowFailed(1, 1),
        GridReady(artifact("grid"), 2),
    ],
)
def test_a_word_from_the_log_proves_that_the_job_runs(event: JobEvent) -> None:
    job = after(*PENDING, event)
    assert job.state is JobState.RUNNING
    assert job.started_at == LATER


def test_what_a_requeued_job_published_again_counts() -> None:
    again = (Requeued(), RowReady(1, 100, artifact("again")), GridReady(artifact("two"), 2))
    job = after(*ONE_READY, GridReady(artifact("one"), 2), *again)
    assert job.rows[0].artifact == artifact("again")
    assert job.grid == artifact("two")


def test_a_row_that_is_ready_stays_so_whatever_its_second_run_does() -> None:
    before = after(*ONE_READY, Requeued())
    job = after(*ONE_READY, Requeued(), RowStarted(1, 5), RowProgress(1, 10), RowFailed(1, 1))
    assert job.rows == before.rows


def test_an_end_that_is_told_again_says_nothing_against_what_is_being_collected() -> None:
    died = Failed(FailureReason.DIED, "It died.")
    assert after(*ONE_READY, died, died).state is JobState.COLLECTING


def test_a_requeued_job_starts_over_but_keeps_published_rows() -> None:
    job = after(*ONE_READY, RowFailed(2, 1), Requeued())
    assert job.state is JobState.PENDING
    assert job.started_at is None
    assert job.rows[0].is_ready
    assert job.rows[1] == Row(2, 101)


def test_a_job_whose_rows_failed_in_part_delivers_the_others() -> None:
    job = after(*DELIVERING)
    assert job.fetched_rows == (1,)
    assert job.is_partial


def test_a_finished_run_without_any_row_fails() -> None:
    nothing = after(*RUNNING, Finished(0, 2))
    assert (nothing.state, nothing.cause) == (JobState.FAILED, FailureReason.ROWS_FAILED)
    unpublished = after(*RUNNING, Finished(2, 0))
    assert unpublished.cause is FailureReason.FILES_MISSING
    assert unpublished.ended_at == LATER


def test_published_rows_count_whatever_the_last_word_says() -> None:
    assert after(*ONE_READY, Finished(0, 2)).state is JobState.COLLECTING


@pytest.mark.parametrize(
    ("events", "ending", "cause", "words"),
    [
        ((), Exited(137), FailureReason.DIED, "exit status 137"),
        ((), Exited(None), FailureReason.DIED, "no exit status"),
        ((), Exited(1, "node lost"), FailureReason.DIED, "node lost"),
        ((), Exited(0), FailureReason.FILES_MISSING, "made no picture"),
        ((RowFailed(1, 1), RowFailed(2, 1)), Exited(1), FailureReason.ROWS_FAILED, "No row"),
        ((), FundsExhausted(), FailureReason.OUT_OF_FUNDS, "ran out"),
        ((), Failed(FailureReason.TIME_LIMIT, "Too slow."), FailureReason.TIME_LIMIT, "Too slow."),
        (
            (),
            Failed(FailureReason.MODEL_MISSING, "No model."),
            FailureReason.MODEL_MISSING,
            "No model.",
        ),
    ],
)
def test_a_run_that_ends_badly_without_a_row_fails_with_its_cause(
    events: tuple[JobEvent, ...], ending: JobEvent, cause: FailureReason, words: str
) -> None:
    job = after(*RUNNING, *events, ending)
    assert (job.state, job.cause) == (JobState.FAILED, cause)
    assert words in job.failure_message
    assert job.ended_at == LATER


@pytest.mark.parametrize(
    "ending",
    [
        Exited(137),
        Exited(0),
        FundsExhausted(),
        Failed(FailureReason.TIME_LIMIT, "Too slow."),
        Failed(FailureReason.DIED, "Node lost."),
        Failed(FailureReason.OUT_OF_FUNDS, "No credits."),
    ],
)
def test_a_run_that_is_cut_short_delivers_the_rows_it_published(ending: JobEvent) -> None:
    job = after(*ONE_READY, ending)
    assert job.state is JobState.COLLECTING
    assert job.is_partial


def test_a_model_that_one_node_lacks_costs_only_that_nodes_row() -> None:
    job = after(*ONE_READY)
    assert apply_event(job, Failed(FailureReason.MODEL_MISSING, "No model."), LATER) == job


def test_a_failure_of_the_bot_itself_ends_the_job_though_rows_are_ready() -> None:
    for events in (ONE_READY, COLLECTING, DELIVERING):
        job = after(*events, Failed(FailureReason.INTERNAL, "A defect."))
        assert (job.state, job.cause, job.failure_message) == (
            JobState.FAILED,
            FailureReason.INTERNAL,
            "A defect.",
        )


@pytest.mark.parametrize("events", [(), PENDING, RUNNING, COLLECTING, DELIVERING])
def test_a_job_can_be_cancelled_at_every_stage(events: tuple[JobEvent, ...]) -> None:
    job = after(*events, Cancelled(9))
    assert (job.state, job.cancelled_by, job.ended_at) == (JobState.CANCELLED, 9, LATER)


@pytest.mark.parametrize(
    ("events", "ending"),
    [
        ((), Cancelled(0)),
        (PENDING, Cancelled(0)),
        (RUNNING, Exited(143)),
        (ONE_READY, Exited(143)),
    ],
)
def test_who_asked_first_is_who_cancelled(events: tuple[JobEvent, ...], ending: JobEvent) -> None:
    asked = after(*events, CancelRequested(9), CancelRequested(8))
    assert (asked.state, asked.cancelled_by) == (after(*events).state, 9)
    job = apply_event(asked, ending, LATER)
    assert (job.state, job.cancelled_by, job.ended_at) == (JobState.CANCELLED, 9, LATER)


def test_a_request_to_cancel_that_comes_after_the_run_changes_nothing() -> None:
    job = after(*COLLECTING)
    assert apply_event(job, CancelRequested(9), LATER) is job
    won = after(*ONE_READY, CancelRequested(9), Finished(1, 1))
    assert won.state is JobState.COLLECTING


@pytest.mark.parametrize(
    ("events", "late"),
    [
        (PENDING, Accepted(HANDLE)),
        (RUNNING, Started()),
        (COLLECTING, Started()),
        (COLLECTING, Requeued()),
        (COLLECTING, RowReady(2, 101, artifact())),
        (COLLECTING, GridReady(artifact(), 1)),
        (COLLECTING, Finished(2, 0)),
        (COLLECTING, Exited(1)),
        (COLLECTING, FundsExhausted()),
        (DELIVERING, ResultsFetched((1,))),
        (DELIVERING, Exited(0)),
    ],
)
def test_late_and_repeated_events_change_nothing(
    events: tuple[JobEvent, ...], late: JobEvent
) -> None:
    job = after(*events)
    assert apply_event(job, late, LATER) is job


@pytest.mark.parametrize(
    ("events", "impossible"),
    [
        (PENDING, Scheduled()),
        (PENDING, Accepted(BackendJobRef("scripted", "8"))),
        ((), Accepted(HANDLE)),
        ((), Started()),
        ((), Requeued()),
        ((), RowStarted(1, 1)),
        ((), GridReady(artifact(), 1)),
        ((), Finished(1, 0)),
        ((), Exited(0)),
        (RUNNING, ResultsFetched((1,))),
        (COLLECTING, Delivered("channel")),
        ((), Redelivered("channel")),
        (DELIVERING, Redelivered("channel")),
    ],
)
def test_an_event_that_cannot_happen_is_a_bug(
    events: tuple[JobEvent, ...], impossible: JobEvent
) -> None:
    job = after(*events)
    with pytest.raises(IllegalTransition, match=type(impossible).__name__):
        apply_event(job, impossible, LATER)


def test_a_result_that_was_kept_is_delivered_later_and_then_never_again() -> None:
    kept = after(*DELIVERING, Delivered("kept"))
    message = MessageRef(3, 100)
    later = apply_event(kept, Redelivered("channel", message), LATER)
    assert (later.state, later.delivery_method, later.result) == (
        JobState.FINISHED,
        "channel",
        message,
    )
    assert later.ended_at == kept.ended_at
    assert apply_event(kept, Redelivered("kept"), LATER) == kept
    assert apply_event(kept, Delivered("channel", message), LATER) == kept
    assert apply_event(later, Redelivered("direct"), LATER) == later


@pytest.mark.parametrize(
    ("state", "rows_charged"),
    [(JobState.FAILED, 0), (JobState.FINISHED, 1), (JobState.CANCELLED, 2)],
)
def test_an_ended_job_is_charged_by_its_state(state: JobState, rows_charged: int) -> None:
    """Charge nothing for a failed job, else the delivered or the ready rows."""
    job = after(*ONE_READY, RowReady(2, 101, artifact("row-02")))
    ended = replace(job, state=state, fetched_rows=(2,))
    assert charged_images(ended) == rows_charged * REQUEST.samples
