"""The pace of edits, without any time passing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.frontend.edit_schedule import EditSchedule, Priority


def test_a_status_message_is_written_at_most_once_in_its_interval() -> None:
    schedule = EditSchedule(min_interval_s=2.5, max_edits_per_s=100)
    schedule.schedule("a", Priority.RUNNING, 0.0)
    assert schedule.pop_due(0.0) == "a"

    schedule.schedule("a", Priority.RUNNING, 0.1)

    assert schedule.pop_due(1.0) is None
    assert schedule.next_delay(1.0) == 1.5
    assert schedule.pop_due(2.5) == "a"


def test_whoever_waits_longest_comes_first_and_many_requests_are_one() -> None:
    schedule = EditSchedule(min_interval_s=1.0, max_edits_per_s=100)
    schedule.schedule("a", Priority.RUNNING, 0.0)
    schedule.schedule("b", Priority.RUNNING, 0.1)
    schedule.schedule("a", Priority.RUNNING, 0.2)

    assert [schedule.pop_due(0.3), schedule.pop_due(0.3), schedule.pop_due(0.3)] == ["a", "b", None]
    assert schedule.next_delay(0.3) is None


def test_all_status_messages_together_keep_to_the_budget() -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=4)
    for number in range(20):
        schedule.schedule(f"card {number}", Priority.RUNNING, 0.0)

    assert sum(schedule.pop_due(0.0) is not None for _ in range(20)) == 4
    assert schedule.next_delay(0.0) == 0.25
    assert schedule.pop_due(0.25) is not None
    assert schedule.pop_due(0.25) is None


def test_an_end_waits_for_nobody() -> None:
    schedule = EditSchedule(min_interval_s=5.0, max_edits_per_s=1)
    for name in ("a", "b", "c"):
        schedule.schedule(name, Priority.RUNNING, 0.0)
    assert schedule.pop_due(0.0) == "a"

    schedule.schedule("c", Priority.FINAL, 0.0)
    schedule.schedule("a", Priority.FINAL, 0.0)

    assert {schedule.pop_due(0.0), schedule.pop_due(0.0)} == {"a", "c"}
    assert schedule.pop_due(0.0) is None


def test_those_in_line_let_the_running_go_first_but_not_for_ever() -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=100)
    schedule.schedule("waiting", Priority.WAITING, 0.0)
    schedule.schedule("running", Priority.RUNNING, 5.0)
    assert schedule.pop_due(5.0) == "running"

    schedule.schedule("running", Priority.RUNNING, 11.0)

    assert schedule.pop_due(11.0) == "waiting"


def test_a_status_message_that_is_being_written_or_dropped_is_not_handed_out() -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=100)
    schedule.schedule("a", Priority.FINAL, 0.0)

    assert schedule.pop_due(0.0, busy={"a"}) is None
    assert schedule.next_delay(0.0, busy={"a"}) is None
    schedule.cancel("a")
    assert schedule.pop_due(0.0) is None


def test_a_request_for_later_moves_up_when_the_end_comes() -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=100)
    schedule.schedule("a", Priority.RUNNING, 60.0)
    assert schedule.pop_due(1.0) is None

    schedule.schedule("a", Priority.FINAL, 1.0)

    assert schedule.pop_due(1.0) == "a"


def test_what_could_not_be_written_does_not_wait_for_the_interval() -> None:
    schedule = EditSchedule(min_interval_s=60.0, max_edits_per_s=100)
    schedule.schedule("a", Priority.RUNNING, 0.0)
    assert schedule.pop_due(0.0) == "a"

    schedule.reschedule("a", Priority.RUNNING, 0.5)

    assert schedule.pop_due(0.4) is None
    assert schedule.pop_due(0.5) == "a"


@pytest.mark.parametrize(("asked", "due"), [(0.0, 1.0), (0.5, 1.0), (30.0, 30.0), (3600.0, 3600.0)])
@pytest.mark.parametrize("priority", [Priority.WAITING, Priority.RUNNING])
def test_no_later_state_comes_before_the_time_that_discord_asked_for(
    priority: Priority, asked: float, due: float
) -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=100)
    schedule.reschedule("a", priority, 3600.0, not_before=asked)

    schedule.schedule("a", Priority.FINAL, 1.0)

    assert schedule.pop_due(due - 0.1) is None
    assert schedule.pop_due(due) == "a"
    schedule.schedule("a", Priority.FINAL, due)
    assert schedule.pop_due(due) == "a"  # it counts once


def test_a_state_that_came_during_the_refused_edit_waits_as_well() -> None:
    schedule = EditSchedule(min_interval_s=0.0, max_edits_per_s=100)
    schedule.schedule("a", Priority.FINAL, 0.0)

    schedule.reschedule("a", Priority.RUNNING, 60.0, not_before=60.0)

    assert schedule.pop_due(59.9) is None
    assert schedule.pop_due(60.0) == "a"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(Priority), st.floats(0, 3)), max_size=40
    )
)
@settings(deadline=None, max_examples=80)
def test_every_request_is_served_and_progress_never_too_fast(
    edits: list[tuple[str, Priority, float]],
) -> None:
    schedule = EditSchedule(min_interval_s=2.5, max_edits_per_s=2)
    at = 0.0
    taken: list[float] = []
    wanted: set[str] = set()
    for job_id, priority, passed in edits:
        at += passed
        schedule.schedule(job_id, priority, at)
        wanted.add(job_id)
        if (job := schedule.pop_due(at)) is not None:
            wanted.discard(job)
            taken.append(at)
    while (delay := schedule.next_delay(at)) is not None:
        at += delay + 1e-6
        job = schedule.pop_due(at)
        assert job is not None
        wanted.discard(job)
    assert not wanted
