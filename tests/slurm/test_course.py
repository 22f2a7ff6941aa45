"""What a job's folder and Slurm's record of it say together, without either of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.backends.base import Life
from bot.backends.slurm.course import PULSES, STOPPED_SECONDS, Course, Sight
from bot.backends.slurm.folder import Traces
from bot.backends.slurm.records import Record
from bot.domain.events import Cancelled, Cause, Exited, Failed, Requeued, Started

SETTLE, PATIENCE = 10.0, 60.0
DONE = Traces(code=0, printed=100, complete=True)
STOPPED = Traces(code=143, printed=100, complete=True)


def course() -> Course:
    return Course(settle_seconds=SETTLE, hopeless_seconds=PATIENCE)


def sight(state: str, began: float, reason: str = "None", restarts: int = 0) -> Sight:
    return Sight(began, Record("1", "job", state, reason, restarts=restarts))


def test_a_zero_in_the_result_file_is_the_end_whatever_slurm_says() -> None:
    for seen in (None, Sight(0, None), sight("RUNNING", 0), sight("NODE_FAIL", 0)):
        watched = course()
        assert watched.see(DONE, seen, 1) == (Exited(0),)
        assert watched.ended


def test_a_result_waits_for_the_last_lines_of_the_log_but_not_for_ever() -> None:
    watched = course()
    early = Traces(code=0, printed=100)
    assert watched.see(early, None, 1) == ()
    assert watched.see(early, None, 1 + SETTLE) == (Exited(0),)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("FAILED", Exited(143)),
        ("COMPLETED", Exited(143)),
        ("CANCELLED", Cancelled(by=0)),
        ("TIMEOUT", Cause.TIME_LIMIT),
        ("DEADLINE", Cause.TIME_LIMIT),
        ("OUT_OF_MEMORY", Cause.DIED),
        ("NODE_FAIL", Cause.DIED),
        ("PREEMPTED", Cause.DIED),
    ],
)
def test_why_a_job_was_stopped_is_for_slurm_to_say(state: str, expected: Life | Cause) -> None:
    watched = course()
    assert watched.see(STOPPED, sight("RUNNING", 0), 1) == (Started(),)
    (end,) = watched.see(STOPPED, sight(state, 2), 3)
    assert watched.ended
    if isinstance(expected, Cause):
        assert isinstance(end, Failed)
        assert end.cause is expected
        assert end.sentence.endswith(".")
    else:
        assert end == expected


def test_each_end_by_slurm_s_word_has_its_own_sentence() -> None:
    sentences = set()
    for state in ("TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"):
        (end,) = course().see(Traces(), sight(state, 2), 3)
        assert isinstance(end, Failed)
        sentences.add(end.sentence)
    assert len(sentences) == 4


def test_a_word_of_slurm_s_that_is_older_than_the_result_does_not_explain_it() -> None:
    watched = course()
    assert watched.see(STOPPED, sight("FAILED", 0), 1) == ()
    assert watched.see(STOPPED, sight("TIMEOUT", 1.5), 2) != ()


def test_a_failed_script_ends_with_its_status_once_the_record_agrees_or_is_gone() -> None:
    failed = Traces(code=3, printed=9, complete=True)
    for seen in (sight("FAILED", 2), Sight(2, None)):
        watched = course()
        assert watched.see(failed, None, 1) == ()
        assert watched.see(failed, seen, 3) == (Exited(3),)


def test_a_job_that_completes_for_too_long_is_taken_to_be_over() -> None:
    failed = Traces(code=3, printed=9, complete=True)
    watched = course()
    assert watched.see(failed, sight("COMPLETING", 0), 1) == (Started(),)
    assert watched.see(failed, sight("COMPLETING", 2), 3) == ()
    assert watched.see(failed, sight("COMPLETING", 4), 2 + SETTLE) == (Exited(3),)


def test_memory_that_ran_out_in_a_step_is_said_though_the_job_only_failed() -> None:
    killed = Traces(code=137, printed=9, complete=True, why="memory")
    watched = course()
    watched.see(killed, None, 1)
    (end,) = watched.see(killed, sight("FAILED", 2), 3)
    assert isinstance(end, Failed)
    assert "memory" in end.sentence


def test_a_cancelled_job_ends_as_cancelled_with_a_result_or_without() -> None:
    ended = Traces(code=143, printed=9, complete=True, cancelled=True)
    assert course().see(ended, None, 1) == (Cancelled(by=0),)
    wanted = Traces(cancelled=True)
    assert course().see(wanted, sight("CANCELLED", 0), 1) == (Cancelled(by=0),)
    assert course().see(wanted, sight("FAILED", 0), 1) == (Cancelled(by=0),)
    watched = course()
    assert watched.see(wanted, Sight(0, None), 1) == ()
    assert watched.see(wanted, Sight(0, None), 1 + STOPPED_SECONDS) == (Cancelled(by=0),)
    half = replace(ended, complete=False)
    watched = course()
    assert watched.see(half, sight("CANCELLED", 0), 1) == ()
    assert watched.see(half, sight("CANCELLED", 0), 1 + STOPPED_SECONDS) == (Cancelled(by=0),)


def test_a_job_without_record_and_result_is_given_time_and_then_up() -> None:
    watched = course()
    assert watched.see(Traces(), Sight(0, None), 1) == ()
    (end,) = watched.see(Traces(), Sight(0, None), 1 + SETTLE)
    assert isinstance(end, Exited)
    assert end.code is None
    watched = course()
    assert watched.see(Traces(), sight("COMPLETED", 0), 1) == ()
    (end,) = watched.see(Traces(), sight("COMPLETED", 0), 1 + SETTLE)
    assert isinstance(end, Exited)
    assert "COMPLETED" in end.detail


def test_a_job_starts_once_and_is_put_back_once() -> None:
    watched = course()
    assert watched.see(Traces(), sight("PENDING", 0), 1) == ()
    assert watched.see(Traces(), sight("RUNNING", 2), 3) == (Started(),)
    assert watched.see(Traces(printed=9), sight("RUNNING", 4), 5) == ()
    assert watched.see(Traces(printed=9), sight("PENDING", 6), 7) == (Requeued(),)
    assert watched.see(Traces(printed=9), sight("PENDING", 8), 9) == ()
    assert watched.see(Traces(printed=9), sight("RUNNING", 10, restarts=1), 11) == (Started(),)
    assert watched.see(Traces(printed=9), sight("RUNNING", 12, restarts=2), 13) == (
        Requeued(),
        Started(),
    )


def test_a_stopped_run_s_result_does_not_end_a_job_that_was_put_back() -> None:
    watched = course()
    assert watched.see(STOPPED, None, 1) == ()
    assert watched.see(STOPPED, sight("PENDING", 2, "BeginTime"), 3) == (Requeued(),)
    assert watched.see(STOPPED, sight("PENDING", 4), 5 + SETTLE) == ()
    assert watched.see(Traces(printed=100), sight("RUNNING", 6), 7) == (Started(),)


def test_a_word_older_than_the_first_line_does_not_put_a_job_back() -> None:
    watched = course()
    pending = sight("PENDING", 0)
    assert watched.see(Traces(), pending, 1) == ()
    assert watched.see(Traces(printed=9), pending, 2) == ()
    assert watched.see(Traces(printed=9), sight("PENDING", 3), 4) == (Requeued(),)


def test_a_job_that_slurm_will_never_start_is_given_up_after_a_while() -> None:
    watched = course()
    watched.see(Traces(), sight("PENDING", 0, "PartitionNodeLimit"), 1)
    watched.see(Traces(), sight("PENDING", 2, "Resources"), 3)
    watched.see(Traces(), sight("PENDING", 4, "PartitionNodeLimit"), 5)
    watched.see(Traces(), sight("PENDING", 6, "PartitionNodeLimit"), 4 + PATIENCE)
    assert not watched.hopeless
    watched.see(Traces(), sight("PENDING", 8, "PartitionNodeLimit"), 5 + PATIENCE)
    assert "fewer rows" in watched.hopeless
    held = course()
    for now in (1, 1 + PATIENCE):
        held.see(Traces(), sight("PENDING", 0, "launch_failed_requeued_held"), now)
    assert "operator" in held.hopeless


def test_a_job_that_was_given_up_fails_with_its_sentence_and_keeps_what_it_published() -> None:
    never_ran = Traces(refused="No.")
    assert course().see(never_ran, sight("CANCELLED", 0), 1) == (Failed(Cause.REJECTED, "No."),)
    had_run = Traces(refused="No.", printed=9)
    assert course().see(had_run, sight("CANCELLED", 0), 1) == (Failed(Cause.DIED, "No."),)
    gone = course()
    gone.see(never_ran, Sight(0, None), 1)
    assert gone.see(never_ran, Sight(0, None), 1 + SETTLE) == (Failed(Cause.REJECTED, "No."),)


def test_without_slurm_the_files_tell_only_how_a_script_ended_by_itself() -> None:
    failed = Traces(code=3, printed=9, complete=True)
    watched = course()
    assert watched.without_slurm(failed) == (Exited(3),)
    assert watched.ended
    assert course().without_slurm(STOPPED) == ()
    assert course().without_slurm(Traces(code=143, complete=True, why="preempted")) == ()
    (end,) = course().without_slurm(Traces(code=143, complete=True, why="time"))
    assert isinstance(end, Failed)
    assert end.cause is Cause.TIME_LIMIT
    assert course().without_slurm(Traces()) == ()
    assert course().without_slurm(Traces(code=3)) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Traces(printed=9), Traces(printed=10)),
        (Traces(printed=9, pulse=1), Traces(printed=9, pulse=2)),
        (Traces(), Traces(pulse=1)),
    ],
    ids=["the log grows", "the pulse goes on", "it has just begun"],
)
def test_a_job_that_slurm_does_not_know_lives_as_long_as_its_folder_moves(
    before: Traces, after: Traces
) -> None:
    watched, gone = course(), Sight(0, None)
    assert watched.see(before, gone, 0) == ()
    alternating = [before, after] * 10
    for number, traces in enumerate(alternating, 1):
        assert watched.see(traces, gone, number * SETTLE * 0.9) == ()
    last = len(alternating) * SETTLE * 0.9
    patience = SETTLE * (PULSES if alternating[-1].pulse else 1)
    assert watched.see(alternating[-1], gone, last + patience - 0.1) == ()
    (end,) = watched.see(alternating[-1], gone, last + patience)
    assert isinstance(end, Exited)
    assert end.code is None


def test_a_job_that_is_seen_again_starts_the_count_of_its_absence_anew() -> None:
    watched, quiet = course(), Traces(printed=9)
    watched.see(quiet, sight("RUNNING", 0), 1)
    assert watched.see(quiet, Sight(2, None), 2) == ()
    assert watched.see(quiet, sight("RUNNING", 3), 3 + SETTLE) == ()
    assert watched.see(quiet, Sight(4, None), 4 + SETTLE) == ()
    assert watched.see(quiet, Sight(5, None), 3 + 2 * SETTLE) == ()
    assert watched.see(quiet, Sight(6, None), 4 + 2 * SETTLE) != ()


@pytest.mark.parametrize("state", ["REVOKED", "UNKNOWN", "SOMETHING_OF_SLURM_99"])
def test_a_state_that_says_nothing_of_the_job_here_is_neither_its_start_nor_its_end(
    state: str,
) -> None:
    watched = course()
    for now in (1, 1000, 100_000):
        assert watched.see(Traces(), sight(state, now), now) == ()
    assert watched.alive
    assert watched.see(DONE, sight(state, 100_001), 100_002) == (Exited(0),)


def test_a_cancelled_job_is_over_though_its_nodes_take_long_to_be_rid_of_it() -> None:
    wanted = Traces(printed=9, cancelled=True)
    watched = course()
    watched.see(Traces(printed=9), sight("RUNNING", 0), 1)
    assert watched.see(wanted, sight("COMPLETING", 2), 2) == ()
    assert not watched.alive
    assert watched.see(replace(wanted, printed=99), sight("COMPLETING", 4), 4) == ()
    late = watched.see(replace(wanted, printed=999), sight("COMPLETING", 6), 2 + STOPPED_SECONDS)
    assert late == (Cancelled(by=0),)
