from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.events import (
    Failed,
    FailureReason,
)
from bot.domain.job import TERMINAL, JobState, apply_event
from bot.domain.scheduling import QueuedJob
from bot.store import job_queries, jobs
from bot.store.database import Database, Query
from bot.store.job_queries import IN_FLIGHT, UNFINISHED, ActiveJob, QueueCounts
from bot.store.jobs import JobRepository
from tests.unit.store.builders import KEY, NOW, a_job, in_state
from tests.unit.store.job_factories import keep, live, saving


async def test_the_line_holds_queued_jobs_from_the_oldest_on(database: Database) -> None:
    young, old, gone = a_job("a", minutes=2), a_job("b", user=8, images=3), a_job("c")
    await keep(database, [young, old, in_state(gone, JobState.CANCELLED)])
    place = young.request.place
    where = (place.guild_id, (place.channel_id,))
    line = (
        QueuedJob("b", 8, old.created_at, 3, 1, 3 * 25 * 1024 * 768, *where),
        QueuedJob("a", 7, young.created_at, 12, 1, 12 * 25 * 1024 * 768, *where),
    )
    assert await JobRepository(database).waiting() == line
    assert await database.write(job_queries.waiting().run) == line


async def test_jobs_in_flight_are_those_between_their_turn_and_their_end(
    database: Database,
) -> None:
    flown = a_job("flown")
    given = [in_state(a_job(state, user=3), state) for state in JobState]
    await keep(database, [*given, flown])
    await live(database, flown, [5])
    running = await JobRepository(database).running()
    assert {job.state for job in running} == {
        JobState.SUBMITTING,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.COLLECTING,
        JobState.DELIVERING,
    }
    at = NOW + timedelta(minutes=5)
    channels = (flown.request.place.channel_id,)
    assert ActiveJob("flown", 7, JobState.SUBMITTING, at, 235929600, channels) in running


async def test_counts_are_of_one_member_and_of_all(database: Database) -> None:
    await keep(database, [a_job(f"own{number}") for number in range(3)])
    await keep(database, [in_state(a_job("fly"), JobState.RUNNING)])
    await keep(database, [in_state(a_job("old"), JobState.FAILED), a_job("other", user=8)])
    await keep(database, [in_state(a_job("away", user=8), JobState.DELIVERING)])
    expected = QueueCounts(waiting=3, in_flight=1, waiting_of_all=4, in_flight_of_all=2)
    assert await JobRepository(database).counts(7) == expected
    assert await database.write(job_queries.counts(7).run) == expected
    assert await JobRepository(database).counts(99) == QueueCounts(0, 0, 4, 2)


async def test_the_last_turn_is_known_of_everybody_who_waits(database: Database) -> None:
    early, late = a_job("early"), a_job("late")
    gone = a_job("gone", user=9)
    await keep(database, [early, late, gone, a_job("next"), a_job("first", user=8)])
    await live(database, early, [1, 2, 3, 4, 5, 6])
    await live(database, late, [7])
    await live(database, gone, [8])
    # Member 8 never had a turn, member 9 does not wait.
    assert await JobRepository(database).last_started() == {7: NOW + timedelta(minutes=7)}


async def test_unfinished_jobs_come_back_in_the_order_they_were_made(database: Database) -> None:
    number = 600  # more than are loaded at once
    given = [a_job(f"job{index:05}", minutes=-index) for index in range(number)]
    await keep(database, [*given, in_state(a_job("ended"), JobState.FINISHED)])
    assert await JobRepository(database).unfinished() == tuple(reversed(given))


async def test_history_goes_back_page_by_page(database: Database) -> None:
    given = [a_job(f"job{index}", guild=index % 2) for index in range(6)]
    await keep(database, [*given, a_job("other", user=8)])
    stored = JobRepository(database)
    newest = await stored.history(7, limit=2)
    assert [job.id for job in newest] == ["job5", "job4"]
    older = await stored.history(7, limit=10, before_id=newest[-1].id)
    assert [job.id for job in older] == ["job3", "job2", "job1", "job0"]
    here = await stored.history(7, guild_id=1, before_id="job5")
    assert [job.id for job in here] == ["job3", "job1"]


async def test_the_jobs_of_a_channel_are_found_by_state(database: Database) -> None:
    running = in_state(a_job("run", channel=5), JobState.RUNNING)
    given = [a_job("wait", channel=5), running, a_job("elsewhere", channel=6)]
    await keep(database, given)
    stored = JobRepository(database)
    assert await stored.of_channel(5, [JobState.RUNNING]) == (running,)
    both = await stored.of_channel(5, [JobState.RUNNING, JobState.QUEUED])
    assert {job.id for job in both} == {"wait", "run"}


@pytest.mark.parametrize(
    ("start", "found"),
    [("ab", ["aba", "abz"]), ("aba", ["aba"]), ("", ["aba", "abz"]), ("%", []), ("b", [])],
)
async def test_jobs_are_found_by_the_beginning_of_their_id(
    database: Database, start: str, found: list[str]
) -> None:
    await keep(database, [a_job("aba"), a_job("abz"), a_job("ac")])
    assert [job.id for job in await JobRepository(database).prefix(start, limit=2)] == found


async def test_run_times_are_from_the_turn_to_the_last_row_the_newest_last(
    database: Database,
) -> None:
    first, second, failed = a_job("a", images=1), a_job("b", images=2), a_job("c")
    await keep(database, [first, second, failed])
    # A result that took an hour to post says nothing about the machines.
    await live(database, second, [10, 11, 12, 14, 15, 80])
    await live(database, first, [1, 2, 3, 4, 5, 60])
    sent = await live(database, failed, [1, 2, 3])
    ended = apply_event(sent, Failed(FailureReason.DIED, "It died."), NOW)
    assert await database.write(saving(ended, sent.state, NOW))
    work = 50 * 768 * 512
    times = await JobRepository(database).run_times()
    assert times.samples == ((work, 180.0), (2 * work, 240.0))
    assert (await JobRepository(database).run_times(limit=1)).samples == ((2 * work, 240.0),)


async def test_forecasts_count_the_steps_that_really_run(database: Database) -> None:
    job = a_job("a", images=1)

    def insert(link: sqlite3.Connection) -> None:
        jobs.insert(link, job, interaction=None, mac_key=KEY, steps_run=51)

    await database.write(insert)
    (waiting,) = await JobRepository(database).waiting()
    assert waiting.work == 51 * job.request.width * job.request.height
    assert await JobRepository(database).get("a") == job


async def test_the_questions_asked_often_never_read_the_whole_table(database: Database) -> None:
    questions: list[Query[Any]] = [
        job_queries.job_by_interaction(1),
        job_queries.waiting(),
        job_queries.in_flight(),
        job_queries.counts(7),
        job_queries.last_started(),
        job_queries.unfinished_rows(),
        job_queries.history(7, 1, 25, "x"),
        job_queries.jobs_in_channel(5, [JobState.QUEUED]),
        job_queries.jobs_by_id_prefix("a", 5),
        job_queries.run_times(40),
        job_queries.credits_spent(1, NOW),
        job_queries.jobs_without_cost(),
    ]

    def plans(connection: sqlite3.Connection) -> list[str]:
        return [
            row["detail"]
            for question in questions
            for row in connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", question.parameters)
        ]

    scans = [plan for plan in await database.write(plans) if plan.startswith("SCAN jobs")]
    # Finished jobs are read newest first through an index, and only as many as are wanted.
    assert scans == ["SCAN jobs USING INDEX jobs_finished"]


def test_every_state_is_either_unfinished_or_terminal() -> None:
    assert {*UNFINISHED, *TERMINAL} == set(JobState)
    assert {*IN_FLIGHT, JobState.QUEUED} == set(UNFINISHED)
