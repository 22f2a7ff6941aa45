"""What a job's folder and Slurm's record of it say together, without either of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.backends.base import LifecycleEvent
from bot.backends.slurm.job_folder import FolderState
from bot.backends.slurm.job_tracker import (
    MAX_MISSED_HEARTBEATS,
    STOPPED_SECONDS,
    JobTracker,
    SqueueObservation,
)
from bot.backends.slurm.squeue import SqueueRecord
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, Requeued, Started

SETTLE, TIMEOUTS = 10.0, 60.0
DONE = FolderState(exit_code=0, log_bytes=100, log_complete=True)
STOPPED = FolderState(exit_code=143, log_bytes=100, log_complete=True)


def course() -> JobTracker:
    return JobTracker(settle_seconds=SETTLE, hopeless_seconds=TIMEOUTS)


def sight(state: str, began: float, reason: str = "None", restarts: int = 0) -> SqueueObservation:
    return SqueueObservation(began, SqueueRecord("1", "job", state, reason, restarts=restarts))


def test_a_zero_in_the_result_file_is_the_end_whatever_slurm_says() -> None:
    for seen in (None, SqueueObservation(0, None), sight("RUNNING", 0), sight("NODE_FAIL", 0)):
        watched = course()
        assert watched.update(DONE, seen, 1) == (Exited(0),)
        assert watched.ended


def test_a_result_waits_for_the_last_lines_of_the_log_but_not_for_ever() -> None:
    watched = course()
    early = FolderState(exit_code=0, log_bytes=100)
    assert watched.update(early, None, 1) == ()
    assert watched.update(early, None, 1 + SETTLE) == (Exited(0),)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("FAILED", Exited(143)),
        ("COMPLETED", Exited(143)),
        ("CANCELLED", Cancelled(by=0)),
        ("TIMEOUT", FailureReason.TIME_LIMIT),
        ("DEADLINE", FailureReason.TIME_LIMIT),
        ("OUT_OF_MEMORY", FailureReason.DIED),
        ("NODE_FAIL", FailureReason.DIED),
        ("PREEMPTED", FailureReason.DIED),
    ],
)
def test_why_a_job_was_stopped_is_for_slurm_to_say(
    state: str, expected: LifecycleEvent | FailureReason
) -> None:
    watched = course()
    assert watched.update(STOPPED, sight("RUNNING", 0), 1) == (Started(),)
    (end,) = watched.update(STOPPED, sight(state, 2), 3)
    assert watched.ended
    if isinstance(expected, FailureReason):
        assert isinstance(end, Failed)
        assert end.cause is expected
        assert end.message.endswith(".")
    else:
        assert end == expected


def test_each_end_by_slurm_s_word_has_its_own_sentence() -> None:
    sentences = set()
    for state in ("TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"):
        (end,) = course().update(FolderState(), sight(state, 2), 3)
        assert isinstance(end, Failed)
        sentences.add(end.message)
    assert len(sentences) == 4


def test_a_word_of_slurm_s_that_is_older_than_the_result_does_not_explain_it() -> None:
    watched = course()
    assert watched.update(STOPPED, sight("FAILED", 0), 1) == ()
    assert watched.update(STOPPED, sight("TIMEOUT", 1.5), 2) != ()


def test_a_failed_script_ends_with_its_status_once_the_record_agrees_or_is_gone() -> None:
    failed = FolderState(exit_code=3, log_bytes=9, log_complete=True)
    for seen in (sight("FAILED", 2), SqueueObservation(2, None)):
        watched = course()
        assert watched.update(failed, None, 1) == ()
        assert watched.update(failed, seen, 3) == (Exited(3),)


def test_a_job_that_completes_for_too_long_is_taken_to_be_over() -> None:
    failed = FolderState(exit_code=3, log_bytes=9, log_complete=True)
    watched = course()
    assert watched.update(failed, sight("COMPLETING", 0), 1) == (Started(),)
    assert watched.update(failed, sight("COMPLETING", 2), 3) == ()
    assert watched.update(failed, sight("COMPLETING", 4), 2 + SETTLE) == (Exited(3),)


def test_memory_that_ran_out_in_a_step_is_said_though_the_job_only_failed() -> None:
    killed = FolderState(exit_code=137, log_bytes=9, log_complete=True, kill_reason="memory")
    watched = course()
    watched.update(killed, None, 1)
    (end,) = watched.update(killed, sight("FAILED", 2), 3)
    assert isinstance(end, Failed)
    assert "memory" in end.message


def test_a_cancelled_job_ends_as_cancelled_with_a_result_or_without() -> None:
    ended = FolderState(exit_code=143, log_bytes=9, log_complete=True, cancelled=True)
    assert course().update(ended, None, 1) == (Cancelled(by=0),)
    wanted = FolderState(cancelled=True)
    assert course().update(wanted, sight("CANCELLED", 0), 1) == (Cancelled(by=0),)
    assert course().update(wanted, sight("FAILED", 0), 1) == (Cancelled(by=0),)
    watched = course()
    assert watched.update(wanted, SqueueObservation(0, None), 1) == ()
    assert watched.update(wanted, SqueueObservation(0, None), 1 + STOPPED_SECONDS) == (
        Cancelled(by=0),
    )
    half = replace(ended, log_complete=False)
    watched = course()
    assert watched.update(half, sight("CANCELLED", 0), 1) == ()
    assert watched.update(half, sight("CANCELLED", 0), 1 + STOPPED_SECONDS) == (Cancelled(by=0),)


def test_a_job_without_record_and_result_is_given_time_and_then_up() -> None:
    watched = course()
    assert watched.update(FolderState(), SqueueObservation(0, None), 1) == ()
    (end,) = watched.update(FolderState(), SqueueObservation(0, None), 1 + SETTLE)
    assert isinstance(end, Exited)
    assert end.code is None
    watched = course()
    assert watched.update(FolderState(), sight("COMPLETED", 0), 1) == ()
    (end,) = watched.update(FolderState(), sight("COMPLETED", 0), 1 + SETTLE)
    assert isinstance(end, Exited)
    assert "COMPLETED" in end.detail


def test_a_job_starts_once_and_is_put_back_once() -> None:
    watched = course()
    assert watched.update(FolderState(), sight("PENDING", 0), 1) == ()
    assert watched.update(FolderState(), sight("RUNNING", 2), 3) == (Started(),)
    assert watched.update(FolderState(log_bytes=9), sight("RUNNING", 4), 5) == ()
    assert watched.update(FolderState(log_bytes=9), sight("PENDING", 6), 7) == (Requeued(),)
    assert watched.update(FolderState(log_bytes=9), sight("PENDING", 8), 9) == ()
    assert watched.update(FolderState(log_bytes=9), sight("RUNNING", 10, restarts=1), 11) == (
        Started(),
    )
    assert watched.update(FolderState(log_bytes=9), sight("RUNNING", 12, restarts=2), 13) == (
        Requeued(),
        Started(),
    )


def test_a_stopped_run_s_result_does_not_end_a_job_that_was_put_back() -> None:
    watched = course()
    assert watched.update(STOPPED, None, 1) == ()
    assert watched.update(STOPPED, sight("PENDING", 2, "BeginTime"), 3) == (Requeued(),)
    assert watched.update(STOPPED, sight("PENDING", 4), 5 + SETTLE) == ()
    assert watched.update(FolderState(log_bytes=100), sight("RUNNING", 6), 7) == (Started(),)


def test_a_word_older_than_the_first_line_does_not_put_a_job_back() -> None:
    watched = course()
    pending = sight("PENDING", 0)
    assert watched.update(FolderState(), pending, 1) == ()
    assert watched.update(FolderState(log_bytes=9), pending, 2) == ()
    assert watched.update(FolderState(log_bytes=9), sight("PENDING", 3), 4) == (Requeued(),)


def test_a_job_that_slurm_will_never_start_is_given_up_after_a_while() -> None:
    watched = course()
    watched.update(FolderState(), sight("PENDING", 0, "PartitionNodeLimit"), 1)
    watched.update(FolderState(), sight("PENDING", 2, "Resources"), 3)
    watched.update(FolderState(), sight("PENDING", 4, "PartitionNodeLimit"), 5)
    watched.update(FolderState(), sight("PENDING", 6, "PartitionNodeLimit"), 4 + TIMEOUTS)
    assert not watched.hopeless
    watched.update(FolderState(), sight("PENDING", 8, "PartitionNodeLimit"), 5 + TIMEOUTS)
    assert "fewer rows" in watched.hopeless
    held = course()
    for now in (1, 1 + TIMEOUTS):
        held.update(FolderState(), sight("PENDING", 0, "launch_failed_requeued_held"), now)
    assert "operator" in held.hopeless


def test_a_job_that_was_given_up_fails_with_its_sentence_and_keeps_what_it_published() -> None:
    never_ran = FolderState(rejection="No.")
    assert course().update(never_ran, sight("CANCELLED", 0), 1) == (
        Failed(FailureReason.REJECTED, "No."),
    )
    had_run = FolderState(rejection="No.", log_bytes=9)
    assert course().update(had_run, sight("CANCELLED", 0), 1) == (
        Failed(FailureReason.DIED, "No."),
    )
    gone = course()
    gone.update(never_ran, SqueueObservation(0, None), 1)
    assert gone.update(never_ran, SqueueObservation(0, None), 1 + SETTLE) == (
        Failed(FailureReason.REJECTED, "No."),
    )


def test_without_slurm_the_files_tell_only_how_a_script_ended_by_itself() -> None:
    failed = FolderState(exit_code=3, log_bytes=9, log_complete=True)
    watched = course()
    assert watched.update_without_slurm(failed) == (Exited(3),)
    assert watched.ended
    assert course().update_without_slurm(STOPPED) == ()
    assert (
        course().update_without_slurm(
            FolderState(exit_code=143, log_complete=True, kill_reason="preempted")
        )
        == ()
    )
    (end,) = course().update_without_slurm(
        FolderState(exit_code=143, log_complete=True, kill_reason="time")
    )
    assert isinstance(end, Failed)
    assert end.cause is FailureReason.TIME_LIMIT
    assert course().update_without_slurm(FolderState()) == ()
    assert course().update_without_slurm(FolderState(exit_code=3)) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FolderState(log_bytes=9), FolderState(log_bytes=10)),
        (FolderState(log_bytes=9, heartbeat=1), FolderState(log_bytes=9, heartbeat=2)),
        (FolderState(), FolderState(heartbeat=1)),
    ],
    ids=["the log grows", "the pulse goes on", "it has just begun"],
)
def test_a_job_that_slurm_does_not_know_lives_as_long_as_its_folder_moves(
    before: FolderState, after: FolderState
) -> None:
    watched, gone = course(), SqueueObservation(0, None)
    assert watched.update(before, gone, 0) == ()
    alternating = [before, after] * 10
    for number, traces in enumerate(alternating, 1):
        assert watched.update(traces, gone, number * SETTLE * 0.9) == ()
    last = len(alternating) * SETTLE * 0.9
    timeouts = SETTLE * (MAX_MISSED_HEARTBEATS if alternating[-1].heartbeat else 1)
    assert watched.update(alternating[-1], gone, last + timeouts - 0.1) == ()
    (end,) = watched.update(alternating[-1], gone, last + timeouts)
    assert isinstance(end, Exited)
    assert end.code is None


def test_a_job_that_is_seen_again_starts_the_count_of_its_absence_anew() -> None:
    watched, quiet = course(), FolderState(log_bytes=9)
    watched.update(quiet, sight("RUNNING", 0), 1)
    assert watched.update(quiet, SqueueObservation(2, None), 2) == ()
    assert watched.update(quiet, sight("RUNNING", 3), 3 + SETTLE) == ()
    assert watched.update(quiet, SqueueObservation(4, None), 4 + SETTLE) == ()
    assert watched.update(quiet, SqueueObservation(5, None), 3 + 2 * SETTLE) == ()
    assert watched.update(quiet, SqueueObservation(6, None), 4 + 2 * SETTLE) != ()


@pytest.mark.parametrize("state", ["REVOKED", "UNKNOWN", "SOMETHING_OF_SLURM_99"])
def test_a_state_that_says_nothing_of_the_job_here_is_neither_its_start_nor_its_end(
    state: str,
) -> None:
    watched = course()
    for now in (1, 1000, 100_000):
        assert watched.update(FolderState(), sight(state, now), now) == ()
    assert watched.alive
    assert watched.update(DONE, sight(state, 100_001), 100_002) == (Exited(0),)


def test_a_cancelled_job_is_over_though_its_nodes_take_long_to_be_rid_of_it() -> None:
    wanted = FolderState(log_bytes=9, cancelled=True)
    watched = course()
    watched.update(FolderState(log_bytes=9), sight("RUNNING", 0), 1)
    assert watched.update(wanted, sight("COMPLETING", 2), 2) == ()
    assert not watched.alive
    assert watched.update(replace(wanted, log_bytes=99), sight("COMPLETING", 4), 4) == ()
    late = watched.update(
        replace(wanted, log_bytes=999), sight("COMPLETING", 6), 2 + STOPPED_SECONDS
    )
    assert late == (Cancelled(by=0),)
