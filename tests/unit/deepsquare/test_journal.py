"""What is written is whole, private and there after a crash; one at a time holds a lock."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.deepsquare.state import (
    CancelReason,
    ChainAttempt,
    JobRecord,
    NonceRecord,
    Purpose,
    SignedTransaction,
)
from bot.backends.deepsquare.state_store import RETENTION, StateStore
from bot.domain.errors import ConfigError, SubmissionRejected

NOW = datetime(2026, 11, 23, 12, 30, 1, 250_000, tzinfo=UTC)
ATTEMPT = ChainAttempt(
    script="script",
    script_at=NOW,
    lock=10**21,
    number=7,
    block=3,
    requested_at=NOW,
    withdrawal=CancelReason.REFUSED,
    cancelled_at=NOW,
    status=4,
    cost=10**20,
    refund=9 * 10**20,
)
RECORD = JobRecord("job-a", "0xscheduler", NOW, "shape", {"env": [1]}, (ATTEMPT,), 2.5, True)
SLOT = NonceRecord(
    7,
    Purpose.REQUEST,
    "job-a",
    "0xto",
    b"\x01\x02",
    600_000,
    (SignedTransaction(b"\x03", b"\x04", 10**10, NOW, NOW, "script"),),
    NOW,
)


def store(folder: Path, now: datetime = NOW) -> StateStore:
    opened = StateStore(folder / "179188-0xme")
    opened.prepare(now)
    return opened


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.save_job(RECORD)
    kept.save_transaction(SLOT)
    kept.save_note("cursor", {"block": 5})
    again = store(tmp_path)
    assert again.job("job-a") == RECORD
    assert list(again.jobs()) == [RECORD]
    assert again.pending_transactions() == (SLOT,)
    assert again.pending_transaction(7) == SLOT
    assert again.read_note("cursor") == {"block": 5}
    again.delete_transaction(7)
    again.delete_job("job-a")
    assert (again.pending_transactions(), again.pending_transaction(7), again.job("job-a")) == (
        (),
        None,
        None,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**6), unique=True, max_size=12))
def test_slots_come_in_the_order_of_their_nonces(
    tmp_path_factory: pytest.TempPathFactory, nonces: list[int]
) -> None:
    kept = store(tmp_path_factory.mktemp("journal"))
    for nonce in nonces:
        kept.save_transaction(replace(SLOT, nonce=nonce))
    assert [slot.nonce for slot in kept.pending_transactions()] == sorted(nonces)


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.save_job(RECORD)
    kept.save_transaction(SLOT)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "179188-0xme").stat().st_mode) == 0o700


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.save_job(RECORD)
    with pytest.raises(TypeError):
        kept.save_job(replace(RECORD, workflow={"not": object()}))
    assert kept.job("job-a") == RECORD


def test_a_damaged_record_is_named_and_never_taken_for_a_missing_one(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.save_job(RECORD)
    (tmp_path / "179188-0xme" / "jobs" / "job-a.json").write_text('{"job_id": "job-a"')
    with pytest.raises(ConfigError, match=r"job-a\.json"):
        kept.job("job-a")


def test_a_damaged_note_costs_only_time(tmp_path: Path) -> None:
    kept = store(tmp_path)
    (tmp_path / "179188-0xme" / "cursor.json").write_text("[]")
    assert kept.read_note("cursor") is None
    (tmp_path / "179188-0xme" / "cursor.json").write_text("{")
    assert kept.read_note("cursor") is None


@pytest.mark.parametrize("name", ["", "../up", "a" * 33, "Große", "a/b", ".hidden"])
def test_a_job_cannot_be_named_like_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(SubmissionRejected):
        store(tmp_path).job(name)


def test_what_was_settled_long_ago_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.save_job(RECORD)
    kept.save_job(replace(RECORD, job_id="open", attempts=(replace(ATTEMPT, cost=None),)))
    kept.save_job(replace(RECORD, job_id="fresh", created_at=NOW + timedelta(days=25)))
    lock = tmp_path / "179188-0xme" / "jobs" / "gone.lock"
    lock.touch()
    os.utime(lock, (NOW.timestamp(), NOW.timestamp()))
    kept = store(tmp_path, NOW + RETENTION + timedelta(days=1))
    assert [record.job_id for record in kept.jobs()] == ["fresh", "open"]
    assert not lock.exists()


def test_a_folder_that_cannot_be_made_is_a_question_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "179188-0xme").touch()
    with pytest.raises(ConfigError, match="data"):
        store(tmp_path)


async def test_two_journals_of_one_folder_never_hold_a_lock_together(tmp_path: Path) -> None:
    holding = 0
    most = 0

    async def work(kept: StateStore) -> None:
        nonlocal holding, most
        for _ in range(5):
            async with kept.wallet_lock():
                holding += 1
                most = max(most, holding)
                await asyncio.sleep(0)
                holding -= 1

    await asyncio.gather(*(work(store(tmp_path)) for _ in range(2)), work(store(tmp_path)))
    assert most == 1


async def test_who_is_cancelled_while_waiting_for_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)

    async def wait() -> None:
        async with second.job_lock("job-a"):
            pass

    async with first.job_lock("job-a"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.05)  # it waits in the kernel, which no event tells of
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), first.job_lock("job-a"), first.wallet_lock():
        pass
