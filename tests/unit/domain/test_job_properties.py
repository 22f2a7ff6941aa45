"""What is true of every job, whatever happens to it and in whatever order; and of every id."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import IllegalTransition
from bot.domain.events import (
    KEPT,
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
    ImagesChecked,
    JobEvent,
    Redelivered,
    Requeued,
    ResultsFetched,
    RowFailed,
    RowPainted,
    RowProgress,
    RowReady,
    RowStarted,
    Scheduled,
    Started,
)
from bot.domain.image_check import ImageOutcome
from bot.domain.image_engine import GenerationInfo
from bot.domain.job import (
    ACTIVE_STATES,
    SHORT_ID,
    TERMINAL,
    JobState,
    apply_event,
    id_range,
    job_id,
)
from tests.unit.domain.job_factories import (
    COLLECTING,
    DELIVERING,
    HANDLE,
    LATER,
    NOW,
    ONE_READY,
    PENDING,
    RUNNING,
    after,
    artifact,
)

pure = settings(max_examples=150, deadline=None)

rows = st.integers(0, 3)
job_events: st.SearchStrategy[JobEvent] = st.one_of(
    st.just(Scheduled()),
    st.builds(Accepted, st.sampled_from([HANDLE, BackendJobRef("scripted", "8")])),
    st.just(Started()),
    st.just(Requeued()),
    st.builds(RowStarted, rows, st.integers(0, 9)),
    st.builds(RowProgress, rows, st.integers(-9, 109)),
    st.builds(RowReady, rows, st.integers(0, 9), st.just(artifact())),
    st.builds(
        RowPainted, rows, st.sampled_from([GenerationInfo("sketch"), GenerationInfo("own", "m", 7)])
    ),
    st.builds(RowFailed, rows, st.integers(0, 255)),
    st.builds(GridReady, st.just(artifact("grid")), rows),
    st.builds(Finished, rows, rows),
    st.builds(Exited, st.none() | st.integers(0, 255)),
    st.builds(Failed, st.sampled_from(FailureReason), st.just("It failed.")),
    st.builds(CancelRequested, st.integers(0, 9)),
    st.builds(Cancelled, st.integers(0, 9)),
    st.just(FundsExhausted()),
    st.builds(ImagesChecked, st.sampled_from(ImageOutcome)),
    st.builds(ResultsFetched, st.lists(rows, max_size=3).map(tuple)),
    st.builds(Delivered, st.sampled_from(["channel", KEPT])),
    st.builds(Redelivered, st.sampled_from(["channel", KEPT])),
)
# Random events alone seldom get far: each life starts from somewhere in a good one.
lives = st.tuples(
    st.sampled_from([(), PENDING, RUNNING, ONE_READY, COLLECTING, DELIVERING]),
    st.lists(job_events, max_size=12),
)

ORDER = [state for state in JobState if state not in TERMINAL]


@pure
@given(lives)
def test_every_life_keeps_the_promises_of_its_state(
    life: tuple[tuple[JobEvent, ...], list[JobEvent]],
) -> None:
    """Any event is applied, absorbed, or raises; and whatever comes of it is consistent."""
    beginning, events = life
    job = after(*beginning)
    for event in events:
        before = job
        try:
            job = apply_event(job, event, LATER)
        except IllegalTransition:
            assert not job.state.terminal
            continue
        if before.delivery_method == KEPT and isinstance(event, Redelivered):
            assert job == replace(before, delivery_method=event.method, result=event.message)
        elif before.state.terminal:
            assert job == before
        elif not job.state.terminal and not isinstance(event, Requeued):
            assert ORDER.index(job.state) >= ORDER.index(before.state)
        assert (job.id, job.request, job.created_at) == (before.id, before.request, NOW)
        assert [row.number for row in job.rows] == [1, 2]
        assert all(0 <= row.percent <= 100 for row in job.rows)
        assert {row.number for row in before.ready_rows} <= {row.number for row in job.ready_rows}
        assert job.state.terminal == (job.ended_at is not None)
        assert (
            (job.state is JobState.FAILED) == (job.cause is not None) == bool(job.failure_message)
        )
        assert job.state is not JobState.CANCELLED or job.cancelled_by is not None
        assert before.cancelled_by in {None, job.cancelled_by}
        assert (job.state is JobState.FINISHED) == bool(job.delivery_method)
        if job.state in ACTIVE_STATES | {JobState.COLLECTING, JobState.DELIVERING}:
            assert job.handle is not None
        if job.state is JobState.COLLECTING:
            assert job.ready_rows


@pure
@given(lives, job_events)
def test_saying_the_same_thing_twice_is_as_good_as_once(
    life: tuple[tuple[JobEvent, ...], list[JobEvent]], event: JobEvent
) -> None:
    beginning, events = life
    job = after(*beginning)
    for earlier in events:
        try:
            job = apply_event(job, earlier, NOW)
        except IllegalTransition:
            continue
    try:
        once = apply_event(job, event, NOW)
        twice = apply_event(once, event, LATER)
    except IllegalTransition:
        return
    assert twice == once


seconds = st.integers(-(10**8), 10**10).map(lambda count: NOW + timedelta(seconds=count))
chances = st.binary(min_size=5, max_size=5)


@pure
@given(seconds, seconds, chances, chances)
def test_ids_are_short_safe_words_that_sort_by_time(
    one: datetime, other: datetime, chance: bytes, another: bytes
) -> None:
    first, second = job_id(one, chance), job_id(other, another)
    for word in (first, second):
        assert len(word) == 16
        assert set(word) <= set("234567abcdefghijklmnopqrstuvwxyz")
    assert one == other or (first < second) == (one < other)


@pure
@given(seconds, chances, chances)
def test_ids_of_one_moment_differ_by_chance(at: datetime, chance: bytes, another: bytes) -> None:
    assert (job_id(at, chance) == job_id(at, another)) == (chance == another)


@pure
@given(seconds, st.lists(st.tuples(st.integers(-90_000, 90_000), chances), max_size=30))
def test_short_ids_of_jobs_accepted_one_after_the_other_are_unique(
    at: datetime, jobs: list[tuple[int, bytes]]
) -> None:
    """Also in one moment, and while the clock is put back and forth by up to a day."""
    ids: list[str] = []
    for shift, chance in jobs:
        now = at + timedelta(seconds=shift // 1000 if shift % 3 else 0)
        first, last = id_range(now)
        newest = max((one for one in ids if first <= one < last + "~"), default="")
        ids.append(job_id(now, chance, newest))
        assert ids[-1] > newest
    assert len({one[:SHORT_ID] for one in ids}) == len(ids)


def test_an_id_from_a_clock_that_was_wrong_is_not_followed() -> None:
    first, last = id_range(NOW)
    wrong = job_id(NOW + timedelta(days=400), bytes(5))
    assert first == job_id(NOW, bytes(5))[:SHORT_ID]
    assert not first <= wrong < last + "~"
    assert job_id(NOW, bytes(5), first + "22222222") > first + "zzzzzzzz"


def test_an_id_needs_five_bytes_of_chance() -> None:
    with pytest.raises(ValueError, match="five bytes"):
        job_id(NOW, b"four")
