"""Forecasts: from measured runs only, and never "now" for what is overdue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.forecast import NEWEST, RunTimes, estimate, work_of
from bot.domain.request import Author, Place, Request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pure = settings(max_examples=150, deadline=None)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def seconds(value: timedelta | None) -> float:
    assert value is not None
    return value.total_seconds()


def test_work_is_images_times_steps_times_pixels() -> None:
    request = Request("a cat", 1, 50, 64, 128, 4, 3, "m", Author(1, "Ada"), Place())
    assert work_of(request) == 12 * 50 * 64 * 128


def test_nothing_is_promised_before_anything_was_measured() -> None:
    assert RunTimes().seconds(100) is None
    assert estimate(1, [], None, 4, NOW) is None
    assert estimate(1, [], 60.0, 0, NOW) is None


def test_runs_of_one_size_scale_with_the_work() -> None:
    times = RunTimes(((100, 10.0), (100, 12.0), (100, 11.0)))
    assert times.seconds(100) == pytest.approx(11)
    assert times.seconds(200) == pytest.approx(22)


def test_runs_of_several_sizes_tell_start_up_from_work() -> None:
    times = RunTimes(((100, 25.0), (200, 45.0), (400, 85.0), (300, 900.0)))
    assert times.seconds(200) == pytest.approx(45, rel=0.1)
    assert times.seconds(1000) == pytest.approx(205, rel=0.1)


def test_only_the_newest_runs_count() -> None:
    old = ((100, 500.0),) * 200
    assert RunTimes(old + ((100, 10.0),) * NEWEST).seconds(100) == pytest.approx(10)


def test_larger_work_that_went_faster_does_not_make_time_run_backwards() -> None:
    assert RunTimes(((100, 50.0), (1000, 10.0))).seconds(5000) == pytest.approx(30)


@pure
@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.floats(0, 10**5, allow_nan=False)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
)
def test_more_work_never_takes_less_time(
    samples: list[tuple[int, float]], work: int, more: int
) -> None:
    times = RunTimes(tuple(samples))
    less_time, more_time = times.seconds(work), times.seconds(work + more)
    assert less_time is not None
    assert more_time is not None
    assert 0 <= less_time <= more_time


def test_a_free_slot_is_there_at_once() -> None:
    assert estimate(1, [ago(5)], 60, 2, NOW) == timedelta()


def test_a_full_house_is_waited_for_one_end_at_a_time() -> None:
    running = [ago(50), ago(20)]
    waits = [seconds(estimate(place, running, 60, 2, NOW)) for place in range(1, 6)]
    assert waits == [10, 40, 70, 100, 130]


def test_an_overdue_job_is_not_said_to_end_now() -> None:
    assert seconds(estimate(1, [ago(600)], 60, 1, NOW)) == 6


def test_fewer_slots_than_running_jobs_means_waiting_for_several_ends() -> None:
    assert seconds(estimate(1, [ago(50), ago(40), ago(30)], 60, 1, NOW)) == 30


@pure
@given(
    st.integers(1, 30),
    st.lists(st.integers(0, 300).map(ago), max_size=6),
    st.integers(1, 5),
    st.integers(1, 200),
)
def test_who_stands_further_back_does_not_wait_less(
    position: int, running: list[datetime], slots: int, typical: int
) -> None:
    wait = seconds(estimate(position, running, typical, slots, NOW))
    assert 0 <= wait <= seconds(estimate(position + 1, running, typical, slots, NOW))
    assert wait >= seconds(estimate(position, running, typical, slots + 1, NOW))
