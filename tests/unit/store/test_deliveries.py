from __future__ import annotations

import sqlite3
from functools import partial

import pytest

from bot.domain.events import MessageRef
from bot.store import deliveries, jobs
from bot.store.database import Database
from bot.store.deliveries import DeliveryAttempt, DeliveryRepository
from tests.unit.store.builders import KEY, NOW, a_job

STATUS, RESULT = MessageRef(2, 2**63 - 1), MessageRef(2, 101)


@pytest.fixture
async def posts(database: Database) -> DeliveryRepository:
    for job_id in ("abc", "other"):
        job = a_job(job_id)
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))
    return DeliveryRepository(database)


async def attempt(database: Database, method: str, nonce: str = "job-abc") -> bool:
    return await database.write(
        lambda connection: deliveries.record_attempt(connection, "abc", method, nonce, at=NOW)
    )


async def finish(database: Database, method: str, *, delivered: bool, detail: str = "") -> bool:
    return await database.write(
        lambda connection: deliveries.finish_attempt(
            connection, "abc", method, "job-abc", delivered=delivered, at=NOW, detail=detail
        )
    )


async def test_an_attempt_is_open_until_its_outcome_is_known(
    database: Database, posts: DeliveryRepository
) -> None:
    assert await attempt(database, "interaction")
    assert await posts.attempts("abc") == (
        DeliveryAttempt("interaction", "job-abc", NOW, None, None, ""),
    )
    assert await finish(database, "interaction", delivered=False, detail="token expired")
    assert await attempt(database, "channel")
    assert await finish(database, "channel", delivered=True)
    assert await posts.attempts("abc") == (
        DeliveryAttempt("interaction", "job-abc", NOW, NOW, False, "token expired"),
        DeliveryAttempt("channel", "job-abc", NOW, NOW, True, ""),
    )
    assert await posts.attempts("other") == ()


async def test_what_may_have_been_posted_is_not_posted_again_unseen(
    database: Database, posts: DeliveryRepository
) -> None:
    assert await attempt(database, "channel")
    assert not await attempt(database, "channel")
    assert await finish(database, "channel", delivered=True)
    assert not await attempt(database, "channel")
    # Another message on the same rung is another matter.
    assert await attempt(database, "channel", nonce="card-abc")


async def test_an_attempt_that_failed_may_be_made_again(
    database: Database, posts: DeliveryRepository
) -> None:
    await attempt(database, "channel")
    await finish(database, "channel", delivered=False, detail="503")
    assert await attempt(database, "channel")
    assert await posts.attempts("abc") == (
        DeliveryAttempt("channel", "job-abc", NOW, None, None, ""),
    )


async def test_only_an_open_attempt_can_end(database: Database, posts: DeliveryRepository) -> None:
    assert not await finish(database, "channel", delivered=True)
    await attempt(database, "channel")
    assert await finish(database, "channel", delivered=True)
    assert not await finish(database, "channel", delivered=False)


async def test_a_job_has_one_message_of_each_kind(
    database: Database, posts: DeliveryRepository
) -> None:
    def post(connection: sqlite3.Connection) -> None:
        deliveries.set_message(connection, "abc", "card", MessageRef(2, 100), at=NOW)
        deliveries.set_message(connection, "abc", "result", RESULT, at=NOW)
        deliveries.set_message(connection, "abc", "card", STATUS, at=NOW)

    await database.write(post)
    assert await posts.messages("abc") == {"card": STATUS, "result": RESULT}
    assert await posts.message("abc", "card") == STATUS
    assert await posts.message("abc", "thread") is None
    assert await posts.messages("other") == {}


async def test_a_message_leads_to_its_job_until_it_is_gone(
    database: Database, posts: DeliveryRepository
) -> None:
    await database.write(
        lambda connection: deliveries.set_message(connection, "abc", "result", RESULT, at=NOW)
    )
    assert await posts.job_of(101) == "abc"
    assert await database.write(lambda connection: deliveries.forget_message(connection, 101))
    assert await posts.job_of(101) is None
    assert not await database.write(lambda connection: deliveries.forget_message(connection, 101))
