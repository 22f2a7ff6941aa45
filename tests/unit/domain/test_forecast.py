"""Forecasts: from measured runs only, and never less than nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.scheduling import HISTORY_SIZE, RuntimeHistory, seconds_left

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pure = settings(max_examples=150, deadline=None)


def test_nothing_is_promised_before_anything_was_measured() -> None:
    assert RuntimeHistory().seconds(100) is None


def test_runs_of_one_size_scale_with_the_work() -> None:
    times = RuntimeHistory(((100, 10.0), (100, 12.0), (100, 11.0)))
    assert times.seconds(100) == pytest.approx(11)
    assert times.seconds(200) == pytest.approx(22)


def test_runs_of_several_sizes_tell_start_up_from_work() -> None:
    times = RuntimeHistory(((100, 25.0), (200, 45.0), (400, 85.0), (300, 900.0)))
    assert times.seconds(200) == pytest.approx(45, rel=0.1)
    assert times.seconds(1000) == pytest.approx(205, rel=0.1)


def test_only_the_newest_runs_count() -> None:
    old = ((100, 500.0),) * 200
    assert RuntimeHistory(old + ((100, 10.0),) * HISTORY_SIZE).seconds(100) == pytest.approx(10)


def test_larger_work_that_went_faster_does_not_make_time_run_backwards() -> None:
    assert RuntimeHistory(((100, 50.0), (1000, 10.0))).seconds(5000) == pytest.approx(30)


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
    times = RuntimeHistory(tuple(samples))
    less_time, more_time = times.seconds(work), times.seconds(work + more)
    assert less_time is not None
    assert more_time is not None
    assert 0 <= less_time <= more_time


@pytest.mark.parametrize(("ago", "left"), [(0, 60), (50, 10), (60, 0), (600, 0), (-5, 65)])
def test_what_runs_needs_the_rest_of_its_time_and_nothing_once_overdue(ago: int, left: int) -> None:
    assert seconds_left(60.0, NOW - timedelta(seconds=ago), NOW) == left
