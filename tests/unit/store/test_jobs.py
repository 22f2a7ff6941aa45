from __future__ import annotations

import sqlite3
from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.events import (
    Cancelled,
    Scheduled,
)
from bot.domain.job import Job, JobState, apply_event
from bot.domain.request import Author
from bot.store import job_queries, jobs
from bot.store.database import Database
from bot.store.jobs import JobRepository
from tests.unit.store.builders import KEY, NOW, a_job, in_state
from tests.unit.store.job_factories import LIFE, keep, live, press, saving


async def test_a_job_that_was_inserted_can_be_read_with_all_that_belongs_to_it(
    database: Database,
) -> None:
    job = a_job("abc", user=2**63 - 1, guild=2**62, channel=2**61)
    assert await database.write(
        lambda connection: jobs.insert(connection, job, interaction=press(41), mac_key=KEY)
    )
    stored = JobRepository(database)
    assert await stored.get("abc") == job
    assert await stored.by_interaction(41) == job
    assert await stored.interaction("abc") == press(41)
    assert await stored.mac_key("abc") == KEY


async def test_a_job_that_does_not_exist_is_none(database: Database) -> None:
    stored = JobRepository(database)
    assert await stored.get("abc") is None
    assert await stored.by_interaction(41) is None
    assert await stored.interaction("abc") is None
    assert await stored.mac_key("abc") is None


def test_the_token_of_an_interaction_is_not_shown() -> None:
    assert "the token" not in repr(press(1))


async def test_one_press_makes_one_job_however_often_it_is_delivered(database: Database) -> None:
    def accept(connection: sqlite3.Connection, job_id: str) -> Job | None:
        inserted = jobs.insert(connection, a_job(job_id), interaction=press(41), mac_key=KEY)
        return None if inserted else job_queries.job_by_interaction(41).run(connection)

    first = await database.write(lambda connection: accept(connection, "first"))
    again = await database.write(lambda connection: accept(connection, "again"))
    assert first is None
    assert again == a_job("first")
    assert len(await JobRepository(database).unfinished()) == 1


async def test_two_jobs_with_one_id_are_a_defect(database: Database) -> None:
    await keep(database, [a_job("abc")])
    with pytest.raises(sqlite3.IntegrityError):
        await keep(database, [a_job("abc")])


async def test_jobs_from_the_command_line_need_no_interaction(database: Database) -> None:
    await keep(database, [a_job("one", user=0, guild=0), a_job("two", user=0, guild=0)])
    assert len(await JobRepository(database).unfinished()) == 2


async def test_every_step_of_a_life_is_saved(database: Database) -> None:
    job = a_job("abc", images=2)
    await keep(database, [job])
    stored = JobRepository(database)
    for count in range(len(LIFE)):
        event = LIFE[count]
        after = apply_event(job, event, NOW)
        assert await database.write(saving(after, job.state, NOW))
        assert await stored.get("abc") == after
        job = after
    assert job.state is JobState.FINISHED


async def test_a_job_that_has_moved_on_is_not_overwritten(database: Database) -> None:
    job = a_job("abc")
    await keep(database, [job])
    cancelled = apply_event(job, Cancelled(7), NOW)
    dispatched = apply_event(job, Scheduled(), NOW)
    assert await database.write(saving(cancelled, JobState.QUEUED, NOW))
    assert not await database.write(saving(dispatched, JobState.QUEUED, NOW))
    assert await JobRepository(database).get("abc") == cancelled


async def test_credits_count_as_promised_until_the_cost_is_known(database: Database) -> None:
    def accept(connection: sqlite3.Connection) -> None:
        for job_id, guild, price in (("a", 1, "0.1"), ("b", 1, "0.2"), ("c", 2, "5")):
            jobs.insert(
                connection,
                a_job(job_id, guild=guild),
                interaction=None,
                mac_key=KEY,
                price_credits=Decimal(price),
            )
        jobs.insert(connection, a_job("free"), interaction=None, mac_key=KEY)
        jobs.insert(
            connection,
            a_job("old", minutes=-60),
            interaction=None,
            mac_key=KEY,
            price_credits=Decimal(1000),
        )
        jobs.set_credits(connection, "a", cost=Decimal("0.05"))
        jobs.set_credits(connection, "c", price=Decimal(6))

    await database.write(accept)
    stored = JobRepository(database)
    assert await stored.spent(1, NOW) == Decimal("0.25")
    assert await stored.spent(None, NOW) == Decimal("6.25")
    assert await stored.spent(3, NOW) == 0
    assert await database.write(job_queries.credits_spent(2, NOW).run) == 6


async def test_erasing_forgets_words_pictures_and_tokens_but_not_the_count(
    database: Database,
) -> None:
    job = a_job("mine", images=2)
    await database.write(
        lambda connection: jobs.insert(connection, job, interaction=press(41), mac_key=KEY)
    )
    other = in_state(a_job("theirs", user=8), JobState.FINISHED)
    waiting = a_job("waiting")
    await keep(database, [other, waiting])
    finished = await live(database, job, range(6))
    erased = await database.write(lambda connection: jobs.erase_author_data(connection, 7, at=NOW))
    assert erased == ("mine",)
    stored = JobRepository(database)
    request = replace(job.request, prompt=jobs.ERASED_PROMPT, negative="", author=Author(7, ""))
    rows = tuple(replace(row, artifact=None) for row in finished.rows)
    assert await stored.get("mine") == replace(finished, request=request, rows=rows)
    assert await stored.interaction("mine") is None
    # The press is still known: a replay after erasure must not make a new job.
    assert await stored.by_interaction(41) is not None
    assert await stored.get("theirs") == other
    assert await stored.get("waiting") == waiting
    assert (
        await database.write(lambda connection: jobs.erase_author_data(connection, 7, at=NOW)) == ()
    )


async def test_what_was_erased_is_not_in_the_file_any_more(database: Database) -> None:
    # Long enough to fill pages of their own, which a shorter text would leave as they are.
    request = replace(a_job("mine").request, prompt="a lighthouse " * 1000)
    given = [in_state(a_job(f"mine{index}"), JobState.FINISHED) for index in range(5)]
    await keep(database, [replace(job, request=request) for job in given])

    def fold(connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN")
        connection.execute("SAVEPOINT one")

    await database.write(fold)
    assert b"lighthouse" in database.path.read_bytes()
    await database.write(lambda connection: jobs.erase_author_data(connection, 7, at=NOW))
    await database.write(fold)
    assert b"lighthouse" not in database.path.read_bytes()
