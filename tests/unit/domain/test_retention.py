"""Which pictures are removed, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.retention import (
    Removal,
    RemovalCause,
    RetentionLimits,
    StoredPictures,
    plan_removals,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def stored(
    name: str, days: float, size: int = 10, *, starred: bool = False, needed: bool = False
) -> StoredPictures:
    return StoredPictures(name, NOW - timedelta(days=days), size, starred, needed)


def names(plan: tuple[Removal, ...]) -> list[str]:
    return [f"{removal.job_id}:{removal.cause}" for removal in plan]


DAYS_9 = RetentionLimits(age=timedelta(days=9))


@pytest.mark.parametrize(
    ("known", "limits", "removed"),
    [
        ([stored("a", 999)], RetentionLimits(), []),
        ([stored("a", 9), stored("b", 8.99)], DAYS_9, ["a:age"]),
        ([stored("a", 10, needed=True), stored("b", 10)], DAYS_9, ["b:age"]),
        ([stored("a", 30, starred=True), stored("b", 10)], DAYS_9, ["b:age", "a:age"]),
        ([stored("a", 2), stored("b", 1)], RetentionLimits(size=20), []),
        ([stored("a", 1), stored("b", 2)], RetentionLimits(size=19), ["b:size"]),
        ([stored("a", 2, starred=True), stored("b", 1)], RetentionLimits(size=10), ["b:size"]),
        (
            [stored("a", 2, starred=True), stored("b", 1)],
            RetentionLimits(size=9),
            ["b:size", "a:size"],
        ),
        ([stored("a", 2, needed=True), stored("b", 1)], RetentionLimits(size=5), ["b:size"]),
        (
            [stored("a", 3), stored("b", 2), stored("c", 1)],
            RetentionLimits(timedelta(3), 10),
            ["a:age", "b:size"],
        ),
        ([stored("empty", 3, 0), stored("b", 2, 20)], RetentionLimits(size=10), ["b:size"]),
        ([stored("b", 1), stored("a", 1)], RetentionLimits(size=10), ["a:size"]),
    ],
)
def test_the_oldest_go_first_and_favourites_last(
    known: list[StoredPictures], limits: RetentionLimits, removed: list[str]
) -> None:
    assert names(plan_removals(known, limits, NOW)) == removed
    assert RetentionLimits().is_unlimited
    assert not DAYS_9.is_unlimited


pictures = st.lists(
    st.builds(
        lambda days, size, starred, needed: (days, size, starred, needed),
        st.integers(0, 100),
        st.integers(0, 50),
        st.booleans(),
        st.booleans(),
    ),
    max_size=25,
).map(
    lambda found: [
        stored(f"job-{n:02}", days, size, starred=starred, needed=needed)
        for n, (days, size, starred, needed) in enumerate(found)
    ]
)


@given(
    pictures,
    st.none() | st.integers(1, 100).map(lambda days: timedelta(days=days)),
    st.none() | st.integers(0, 600),
)
def test_limits_are_kept_with_as_few_removals_as_possible(
    known: list[StoredPictures], age: timedelta | None, size: int | None
) -> None:
    plan = plan_removals(known, RetentionLimits(age, size), NOW)
    by_id = {one.job_id: one for one in known}
    removed = [by_id[removal.job_id] for removal in plan]
    left = [one for one in known if one not in removed]
    assert len({one.job_id for one in removed}) == len(plan)
    assert not any(one.needed for one in removed)
    # Age: all that are too old, and no other.
    old = {one.job_id for one in known if age and one.ended_at + age <= NOW and not one.needed}
    assert {r.job_id for r in plan if r.cause is RemovalCause.AGE} == old
    # Size: kept, or nothing is left that could go; and without the last one it would not be kept.
    by_size = [by_id[r.job_id] for r in plan if r.cause is RemovalCause.SIZE]
    total = sum(one.size for one in left)
    if size is None:
        assert not by_size
    else:
        assert total <= size or all(one.needed or not one.size for one in left)
        if by_size:
            assert total + by_size[-1].size > size
    # Order: in each cause favourites after all others, and the oldest first.
    for cause in (RemovalCause.AGE, RemovalCause.SIZE):
        order = [
            (by_id[r.job_id].starred, by_id[r.job_id].ended_at) for r in plan if r.cause is cause
        ]
        assert order == sorted(order)
    if any(one.starred for one in by_size):
        assert all(one.starred or one.needed or not one.size for one in left)
