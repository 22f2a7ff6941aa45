from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.job import JobState
from bot.domain.quota import QuotaCharge, QuotaGrant, QuotaUsage
from bot.store import jobs, ledger
from bot.store.database import Database
from bot.store.ledger import LedgerRepository, MemberTotals
from tests.unit.store.builders import KEY, NOW, a_job, in_state, memory_database

LONG_AGO = NOW - timedelta(days=400)
DAY = timedelta(days=1)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = memory_database()
    yield opened
    opened.close()


def accept(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    images: int = 12,
    user: int = 7,
    guild: int = 1,
    minutes: float = 0,
) -> None:
    job = a_job(job_id, user=user, guild=guild, images=images, minutes=minutes)
    assert jobs.insert(connection, job, interaction=None, mac_key=KEY)
    assert ledger.reserve(connection, job)


def give(
    connection: sqlite3.Connection,
    images: int,
    expires_at: datetime | None = None,
    *,
    user: int = 7,
    guild: int = 1,
) -> None:
    ledger.grant(
        connection,
        guild,
        user,
        images=images,
        expires_at=expires_at,
        actor_id=1,
        reason="party",
        at=NOW,
    )


def used(connection: sqlite3.Connection, user: int = 7, guild: int = 1) -> QuotaUsage:
    return ledger.usage(guild, user, LONG_AGO).run(connection)


def test_a_reservation_counts_from_acceptance(connection: sqlite3.Connection) -> None:
    accept(connection, "abc", minutes=3)
    assert used(connection) == QuotaUsage((QuotaCharge(NOW + timedelta(minutes=3), 12),))


def test_a_refunded_job_gives_back_its_images(connection: sqlite3.Connection) -> None:
    accept(connection, "abc")
    assert ledger.refund(connection, "abc", at=NOW, reason="failed")
    assert used(connection) == QuotaUsage()


def test_a_settled_job_counts_what_was_made_from_acceptance(
    connection: sqlite3.Connection,
) -> None:
    accept(connection, "abc")
    assert ledger.settle(connection, "abc", images=9, at=NOW + DAY)
    assert used(connection) == QuotaUsage((QuotaCharge(NOW, 9),))


def test_nothing_is_charged_or_given_back_twice(connection: sqlite3.Connection) -> None:
    accept(connection, "abc")
    assert not ledger.reserve(connection, a_job("abc"))
    assert ledger.settle(connection, "abc", images=12, at=NOW)
    assert not ledger.settle(connection, "abc", images=12, at=NOW)
    assert not ledger.refund(connection, "abc", at=NOW)
    accept(connection, "xyz", images=1)
    assert ledger.refund(connection, "xyz", at=NOW)
    assert not ledger.refund(connection, "xyz", at=NOW)
    assert not ledger.settle(connection, "xyz", images=1, at=NOW)
    assert used(connection) == QuotaUsage((QuotaCharge(NOW, 12),))


def test_what_was_never_reserved_cannot_be_closed(connection: sqlite3.Connection) -> None:
    assert not ledger.settle(connection, "abc", images=12, at=NOW)
    assert not ledger.refund(connection, "abc", at=NOW)


@pytest.mark.parametrize("images", [-1, 13])
def test_a_job_is_never_charged_more_than_was_reserved(
    connection: sqlite3.Connection, images: int
) -> None:
    accept(connection, "abc")
    with pytest.raises(ValueError, match="of 12 reserved"):
        ledger.settle(connection, "abc", images=images, at=NOW)


def test_members_and_servers_have_accounts_of_their_own(connection: sqlite3.Connection) -> None:
    accept(connection, "abc")
    give(connection, 5)
    assert used(connection, user=8) == QuotaUsage()
    assert used(connection, guild=2) == QuotaUsage()


def test_what_is_older_than_the_window_is_left_out(connection: sqlite3.Connection) -> None:
    accept(connection, "old", images=1, minutes=-1)
    accept(connection, "edge", images=2)
    accept(connection, "new", images=3, minutes=1)
    give(connection, 5, NOW)
    give(connection, 6, NOW + DAY)
    give(connection, 7)
    usage = ledger.usage(1, 7, NOW).run(connection)
    assert usage.charges == (QuotaCharge(NOW, 2), QuotaCharge(NOW + timedelta(minutes=1), 3))
    assert set(usage.grants) == {QuotaGrant(6, NOW + DAY), QuotaGrant(7, None)}


def test_a_reset_lets_a_member_start_afresh(connection: sqlite3.Connection) -> None:
    accept(connection, "open")
    accept(connection, "other", user=8)
    give(connection, 5)
    ledger.reset(connection, 1, 7, actor_id=1, reason="sorry", at=NOW)
    assert used(connection) == QuotaUsage()
    # Closing an old reservation brings nothing back.
    assert ledger.settle(connection, "open", images=12, at=NOW)
    accept(connection, "new", images=4)
    give(connection, 6)
    assert used(connection) == QuotaUsage((QuotaCharge(NOW, 4),), (QuotaGrant(6, None),))
    assert used(connection, user=8) == QuotaUsage((QuotaCharge(NOW, 12),))


@pytest.mark.parametrize("sql", ["UPDATE ledger SET images = 0", "DELETE FROM ledger"])
def test_the_ledger_is_never_rewritten(connection: sqlite3.Connection, sql: str) -> None:
    accept(connection, "abc")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)


def test_a_reservation_needs_its_job(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        ledger.reserve(connection, a_job("nobody"))


def test_the_check_finds_every_way_in_which_images_do_not_add_up(
    connection: sqlite3.Connection,
) -> None:
    accept(connection, "fine")
    accept(connection, "early")
    ledger.refund(connection, "early", at=NOW)
    for job_id in ("leaked", "done"):
        accept(connection, job_id)
        ended = in_state(a_job(job_id), JobState.FAILED)
        jobs.save(connection, ended, expected=JobState.QUEUED, at=NOW)
    ledger.refund(connection, "done", at=NOW)
    jobs.insert(connection, a_job("free"), interaction=None, mac_key=KEY)
    lost = in_state(a_job("lost"), JobState.CANCELLED)
    jobs.insert(connection, lost, interaction=None, mac_key=KEY)
    assert ledger.inconsistencies().run(connection) == (
        "job early (queued) is closed too early by a refund",
        "job free (queued) has no reservation",
        "job leaked (failed) still holds its reservation",
        "job lost (cancelled) has no reservation",
        "job lost (cancelled) still holds its reservation",
    )


async def test_reading_from_outside_agrees(database: Database) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        accept(connection, "held", images=1)
        accept(connection, "made", images=4)
        accept(connection, "back", images=6)
        accept(connection, "more", images=8, user=8)
        accept(connection, "away", images=8, guild=2)
        ledger.settle(connection, "made", images=3, at=NOW)
        ledger.settle(connection, "more", images=8, at=NOW)
        ledger.refund(connection, "back", at=NOW, actor_id=9, reason="a row failed")
        give(connection, 20, NOW + DAY)

    await database.write(fill)
    reading = LedgerRepository(database)
    assert await reading.balances(1) == (
        MemberTotals(1, 8, held=0, settled=8, refunded=0, granted=0),
        MemberTotals(1, 7, held=1, settled=3, refunded=6, granted=20),
    )
    usage = await reading.usage(1, 7, LONG_AGO)
    assert sorted(charge.images for charge in usage.charges) == [1, 3]
    assert usage.grants == (QuotaGrant(20, NOW + DAY),)
    entries = await reading.history(1, 7, limit=2)
    assert [(entry.kind, entry.images) for entry in entries] == [("grant", 20), ("refund", 6)]
    assert entries[0].expires_at == NOW + DAY
    assert (entries[1].actor_id, entries[1].reason, entries[1].job_id) == (
        9,
        "a row failed",
        "back",
    )
    older = await reading.history(1, 7, before=entries[-1].id)
    assert [entry.kind for entry in older] == ["settle", "reserve", "reserve", "reserve"]
    assert await reading.check() == (
        "job back (queued) is closed too early by a refund",
        "job made (queued) is closed too early by a settle",
        "job more (queued) is closed too early by a settle",
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["accept", "settle", "refund", "grant", "reset"]),
        st.integers(0, 5),
        st.integers(1, 8),
    ),
    max_size=25,
)


@given(steps)
@settings(deadline=None, max_examples=80)
def test_usage_is_what_was_reserved_less_what_came_back(
    given_steps: list[tuple[str, int, int]],
) -> None:
    connection = memory_database()
    reserved: dict[str, int] = {}
    closed: set[str] = set()
    charged: dict[str, int] = {}
    granted: list[int] = []
    for kind, number, images in given_steps:
        job_id = f"job{number}"
        known, free = job_id in reserved, job_id in reserved and job_id not in closed
        match kind:
            case "accept":
                if not known:
                    accept(connection, job_id, images=images)
                    reserved[job_id] = charged[job_id] = images
            case "settle":
                made = min(images, reserved.get(job_id, 0))
                assert ledger.settle(connection, job_id, images=made, at=NOW) == free
                if free and job_id in charged:
                    charged[job_id] = made
                closed.update({job_id} if known else ())
            case "refund":
                assert ledger.refund(connection, job_id, at=NOW) == free
                if free:
                    charged.pop(job_id, None)
                closed.update({job_id} if known else ())
            case "grant":
                give(connection, images)
                granted.append(images)
            case _:
                ledger.reset(connection, 1, 7, actor_id=1, reason="", at=NOW)
                charged.clear()
                granted.clear()
    usage = used(connection)
    connection.close()
    assert sorted(charge.images for charge in usage.charges) == sorted(charged.values())
    assert sorted(grant.images for grant in usage.grants) == sorted(granted)
