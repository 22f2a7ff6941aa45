"""Turns: everybody's first request comes soon, whatever anybody else has piled up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.scheduling import (
    QueuedJob,
    RunningJob,
    Selection,
    explain_position,
    queue_order,
    select_next,
    start_times,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, BEN, CYD = 1, 2, 3
pure = settings(max_examples=150, deadline=None)


def at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def wait(name: str, user: int, minutes: int, weight: int = 1) -> QueuedJob:
    return QueuedJob(name, user, at(minutes), images=12, weight=weight)


def names(turns: tuple[Selection, ...]) -> list[str]:
    return [turn.job_id for turn in turns]


def test_nobody_waiting_means_nobodys_turn() -> None:
    assert select_next([], [], {}, per_user=1) is None
    assert queue_order([], [RunningJob("r", ADA)], {}, per_user=1) == ()


def test_the_only_member_waiting_goes_by_age() -> None:
    waiting = [wait("b", ADA, 2), wait("a", ADA, 1), wait("c", ADA, 1)]
    assert select_next(waiting, [], {}, per_user=1) == Selection("a", "no other member waits")
    assert names(queue_order(waiting, [], {}, per_user=1)) == ["a", "c", "b"]


def test_who_has_nothing_running_goes_before_who_has() -> None:
    waiting = [wait("a", ADA, 0), wait("b", BEN, 5)]
    turn = select_next(waiting, [RunningJob("r", ADA)], {BEN: at(-1)}, per_user=2)
    assert turn == Selection("b", "this member was served least recently")


def test_who_never_had_a_turn_goes_before_who_had() -> None:
    waiting = [wait("a", ADA, 0), wait("b", BEN, 5)]
    turn = select_next(waiting, [], {ADA: at(-600)}, per_user=1)
    assert turn == Selection("b", "this member has not been served yet")


def test_with_equal_claims_the_longest_wait_decides() -> None:
    waiting = [wait("z", ADA, 0), wait("b", BEN, 5)]
    running = [RunningJob("r", ADA), RunningJob("s", BEN)]
    turn = select_next(waiting, running, {ADA: at(-9), BEN: at(-9)}, per_user=2)
    assert turn == Selection("z", "the other waiting members have as many running jobs")


def test_a_member_at_the_limit_is_passed_over() -> None:
    waiting = [wait("a", ADA, 0), wait("b", BEN, 5)]
    running = [RunningJob("r", ADA)]
    assert select_next(waiting[:1], running, {}, per_user=1) is None
    turn = select_next(waiting, running, {BEN: at(-1)}, per_user=1)
    assert turn is not None
    assert turn.job_id == "b"


def test_a_members_own_limit_counts_instead_of_everybodys() -> None:
    running = [RunningJob("r", ADA)]
    waiting = [wait("a", ADA, 0)]
    assert select_next(waiting, running, {}, per_user=1, limits={ADA: 2}) is not None
    assert select_next(waiting, [], {}, per_user=1, limits={ADA: 0}) is None
    assert queue_order([*waiting, wait("b", BEN, 1)], [], {}, per_user=1, limits={ADA: 0}) == (
        Selection("b", "next in the queue"),
    )


def test_a_weight_lets_two_running_jobs_count_as_one() -> None:
    running = [
        RunningJob("r", ADA),
        RunningJob("s", ADA),
        RunningJob("t", BEN),
        RunningJob("u", BEN),
    ]
    waiting = [wait("b", BEN, 0), wait("a", ADA, 5, weight=2)]
    turn = select_next(waiting, running, {}, per_user=3)
    assert turn is not None
    assert turn.job_id == "a"
    with pytest.raises(ValueError, match="weight"):
        wait("a", ADA, 0, weight=0)


def test_a_flood_delays_a_single_request_by_one_job_at_most() -> None:
    flood = [wait(f"f{number:03}", ADA, number) for number in range(200)]
    single = wait("single", BEN, 500)
    for last_started in ({}, {ADA: at(-1)}, {BEN: at(-1)}, {ADA: at(-2), BEN: at(-1)}):
        assert "single" in names(queue_order([*flood, single], [], last_started, per_user=1))[:2]


def test_the_line_says_to_everybody_what_goes_first() -> None:
    waiting = [
        wait("a1", ADA, 0),
        wait("a2", ADA, 1),
        wait("b1", BEN, 2),
        wait("c1", CYD, 3),
        wait("c2", CYD, 4),
    ]
    assert queue_order(waiting, [], {}, per_user=1) == (
        Selection("a1", "next in the queue"),
        Selection("b1", "2nd in the queue: starts after 1 other member's request"),
        Selection("c1", "3rd in the queue: starts after 2 other members' requests"),
        Selection("a2", "4th in the queue: your 2nd request; 2 members go first"),
        Selection("c2", "5th in the queue: your 2nd request; 2 members go first"),
    )


def test_who_is_at_the_limit_is_told_what_they_wait_for() -> None:
    waiting = [wait("a1", ADA, 0), wait("b1", BEN, 9), wait("b2", BEN, 9)]
    running = [RunningJob("r", ADA)]
    assert queue_order(waiting, running, {ADA: at(-5)}, per_user=1) == (
        Selection("b1", "next in the queue"),
        Selection(
            "a1",
            "2nd in the queue: starts after 1 other member's request; "
            "waits until your running request ends",
        ),
        Selection("b2", "3rd in the queue: your 2nd request; 1 member goes first"),
    )
    alone = queue_order(waiting[:1], [RunningJob("r", ADA), RunningJob("s", ADA)], {}, per_user=2)
    assert alone == (Selection("a1", "next in the queue: waits until one of your requests ends"),)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ((1, 0, 0), "next in the queue"),
        ((2, 1, 0), "2nd in the queue: your 2nd request"),
        ((4, 0, 1), "4th in the queue: starts after 3 requests of 1 other member"),
        ((6, 0, 3), "6th in the queue: starts after 5 requests of 3 other members"),
        ((11, 0, 10), "11th in the queue: starts after 10 other members' requests"),
        ((21, 20, 0), "21st in the queue: your 21st request"),
        ((113, 12, 7), "113th in the queue: your 13th request; 7 members go first"),
    ],
)
def test_places_read_as_english(place: tuple[int, int, int], sentence: str) -> None:
    position, own, members = place
    assert explain_position(position, own_ahead=own, members_ahead=members) == sentence


waitings = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 8), st.integers(1, 2)), max_size=14
).map(lambda jobs: [wait(f"w{n:02}", u, m, w) for n, (u, m, w) in enumerate(jobs)])
runnings = st.lists(st.integers(1, 6), max_size=5).map(
    lambda users: [RunningJob(f"r{n}", user) for n, user in enumerate(users)]
)
histories = st.dictionaries(st.integers(1, 6), st.integers(-9, -1).map(at), max_size=6)


@pure
@given(waitings, runnings, histories, st.integers(1, 3))
def test_a_slot_stays_empty_only_if_every_member_waiting_is_at_the_limit(
    waiting: list[QueuedJob],
    running: list[RunningJob],
    last_started: dict[int, datetime],
    per_user: int,
) -> None:
    turn = select_next(waiting, running, last_started, per_user=per_user)
    active = Counter(job.user_id for job in running)
    free = {job.job_id for job in waiting if active[job.user_id] < per_user}
    assert (turn is None) == (not free)
    assert turn is None or turn.job_id in free


@pure
@given(waitings, runnings, histories, st.integers(1, 3), st.randoms(use_true_random=False))
def test_turns_do_not_depend_on_the_order_of_the_lists(
    waiting: list[QueuedJob],
    running: list[RunningJob],
    last_started: dict[int, datetime],
    per_user: int,
    random: object,
) -> None:
    before = queue_order(waiting, running, last_started, per_user=per_user)
    first = select_next(waiting, running, last_started, per_user=per_user)
    shuffle = random.shuffle  # type: ignore[attr-defined]
    shuffle(waiting)
    shuffle(running)
    assert queue_order(waiting, running, last_started, per_user=per_user) == before
    assert select_next(waiting, running, last_started, per_user=per_user) == first


@pure
@given(waitings, runnings, histories, st.integers(1, 3))
def test_the_line_holds_everybody_once_and_its_first_is_the_next_job(
    waiting: list[QueuedJob],
    running: list[RunningJob],
    last_started: dict[int, datetime],
    per_user: int,
) -> None:
    line = names(queue_order(waiting, running, last_started, per_user=per_user))
    assert sorted(line) == sorted(job.job_id for job in waiting)
    turn = select_next(waiting, running, last_started, per_user=per_user)
    if turn is not None:
        assert line[0] == turn.job_id
    for user in {job.user_id for job in waiting}:
        own = sorted((job for job in waiting if job.user_id == user), key=lambda job: job.queued_at)
        assert [name for name in line if name in {job.job_id for job in own}] == [
            job.job_id for job in own
        ]


def play_one_slot(waiting: list[QueuedJob], last_started: dict[int, datetime]) -> list[str]:
    """The line as a dispatcher with one slot really moves it, one ``next_job`` at a time."""
    left, history = list(waiting), dict(last_started)
    started: list[str] = []
    while turn := select_next(left, [], history, per_user=1):
        job = next(job for job in left if job.job_id == turn.job_id)
        left.remove(job)
        history[job.user_id] = at(len(started))
        started.append(job.job_id)
    return started


@pure
@given(waitings, histories)
def test_the_predicted_line_is_the_one_that_comes_true(
    waiting: list[QueuedJob], last_started: dict[int, datetime]
) -> None:
    predicted = names(queue_order(waiting, [], last_started, per_user=1))
    assert predicted == play_one_slot(waiting, last_started)


@pure
@given(waitings, histories, st.lists(st.integers(1, 5), max_size=30))
def test_nobody_starves_however_others_keep_asking(
    waiting: list[QueuedJob], last_started: dict[int, datetime], newcomers: list[int]
) -> None:
    """A member's oldest request waits for at most one turn of each other member."""
    left = [*waiting, wait("mine", 9, 20)]
    history = dict(last_started)
    others = {job.user_id for job in waiting} | set(newcomers)
    for turns in range(len(others) + 1):
        turn = select_next(left, [], history, per_user=1)
        assert turn is not None
        if turn.job_id == "mine":
            return
        job = next(job for job in left if job.job_id == turn.job_id)
        left.remove(job)
        history[job.user_id] = at(turns)
        left += [wait(f"n{turns}-{n}", user, 21 + turns) for n, user in enumerate(newcomers)]
    pytest.fail("passed over more often than there are other members")


def test_a_line_of_ten_thousand_is_complete_and_in_order() -> None:
    waiting = [wait(f"w{n:05}", n % 700, n) for n in range(10_000)]
    running = [RunningJob(f"r{n}", n) for n in range(50)]
    line = names(queue_order(waiting, running, {n: at(-n) for n in range(300)}, per_user=2))
    assert len(set(line)) == 10_000
    assert [int(name[1:]) % 700 for name in line[:300]] == list(range(300, 600))


def scheduled(
    waiting: list[QueuedJob],
    running: list[RunningJob],
    last_started: dict[int, datetime],
    seconds: dict[str, float],
    *,
    slots: int,
    per_user: int,
    limits: dict[int, int],
) -> dict[str, float]:
    """When each job starts under the dispatcher's own rule, played with these run times."""
    line, turns = list(waiting), dict(last_started)
    held = {job.job_id: (seconds[job.job_id], job) for job in running}
    starts: dict[str, float] = {}
    now = 0.0
    for moment in range(10_000):
        while len(held) < slots:
            active = [job for _, job in held.values()]
            turn = select_next(line, active, turns, per_user=per_user, limits=limits)
            if turn is None:
                break
            job = next(one for one in line if one.job_id == turn.job_id)
            line.remove(job)
            starts[job.job_id] = now
            turns[job.user_id] = at(10_000 + moment) + timedelta(microseconds=len(starts))
            held[job.job_id] = (now + seconds[job.job_id], RunningJob(job.job_id, job.user_id))
        if not held or not line:
            break
        now = max(now, min(end for end, _ in held.values()))
        held = {name: one for name, one in held.items() if one[0] > now}
    return starts


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_each_job_starts_when_the_forecast_says(data: st.DataObject) -> None:
    users = st.integers(1, 4)
    durations = st.integers(0, 12)
    waiting = [
        wait(f"w{number}", data.draw(users), data.draw(st.integers(0, 9)))
        for number in range(data.draw(st.integers(0, 12)))
    ]
    running = [
        RunningJob(f"r{number}", data.draw(users)) for number in range(data.draw(st.integers(0, 5)))
    ]
    last_started = data.draw(st.dictionaries(users, st.integers(-9, -1).map(at)))
    # A job that takes no time would end and start others in the same moment, in either order.
    seconds: dict[str, float] = {job.job_id: 1 + data.draw(durations) for job in waiting}
    seconds |= {job.job_id: data.draw(durations) for job in running}
    slots, per_user = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 3))
    limits = data.draw(st.dictionaries(users, st.integers(0, 4)))
    forecast = start_times(
        waiting, running, last_started, seconds, slots=slots, per_user=per_user, limits=limits
    )
    played = scheduled(
        waiting, running, last_started, seconds, slots=slots, per_user=per_user, limits=limits
    )
    assert forecast == (played if slots else {})
    assert all(moment >= 0 for moment in forecast.values())


def test_a_members_second_and_third_request_wait_for_their_own() -> None:
    waiting = [wait("second", ADA, 1), wait("third", ADA, 2)]
    seconds = {"first": 40.0, "second": 60.0, "third": 60.0}
    arguments = (waiting, [RunningJob("first", ADA)], {ADA: NOW}, seconds)
    assert start_times(*arguments, slots=4, per_user=1) == {"second": 40, "third": 100}
    assert start_times(*arguments, slots=4, per_user=2) == {"second": 0, "third": 40}
    assert start_times(*arguments, slots=4, per_user=1, limits={ADA: 3}) == {
        "second": 0,
        "third": 0,
    }
    assert start_times(*arguments, slots=4, per_user=1, limits={ADA: 0}) == {}
