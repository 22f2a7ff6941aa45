"""Messages are stored by job; the clock tells how they can be edited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.events import MessageRef
from bot.domain.job import Job, new_job
from bot.domain.request import Author, ChannelRef, Request
from bot.services.delivery import InteractionRef, MessageStore, StatusMessage
from bot.store import jobs as job_table
from bot.store.audit import AuditRepository
from bot.store.database import Database

NOW = datetime(2026, 11, 23, tzinfo=UTC)
INTERACTION = InteractionRef(11, 12, "token", NOW + timedelta(minutes=15))
STATUS, ROWS = MessageRef(2, 21), MessageRef(21, 22)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "test.sqlite3", now=lambda: NOW) as opened:
        yield opened


@pytest.fixture
async def job(database: Database) -> Job:
    request = Request(
        prompt="a lighthouse",
        seed=7,
        steps=4,
        width=64,
        height=64,
        rows=2,
        samples=2,
        model="sd-2-1",
        author=Author(5, "Ada"),
        place=ChannelRef(1, 2),
    )
    job = new_job("a" * 16, request, NOW)
    await database.write(
        lambda link: job_table.insert(link, job, interaction=INTERACTION, mac_key=bytes(32))
    )
    return job


async def test_a_status_message_is_remembered_with_its_interaction(
    database: Database, job: Job
) -> None:
    posts = MessageStore(database, now=lambda: NOW)
    assert await posts.status_message(job.id) is None

    await posts.save_status_message(job.id, STATUS)
    await posts.save_thread(job.id, ROWS)

    assert await posts.status_message(job.id) == StatusMessage(STATUS, INTERACTION)
    assert await posts.thread(job.id) == ROWS
    assert await posts.job_of(STATUS.message_id) == job.id


async def test_a_forgotten_status_message_is_gone(database: Database, job: Job) -> None:
    posts = MessageStore(database, now=lambda: NOW)
    await posts.save_status_message(job.id, STATUS)

    await posts.forget(STATUS.message_id)

    assert await posts.status_message(job.id) is None


async def test_only_what_somebody_else_removed_is_on_record(database: Database, job: Job) -> None:
    posts = MessageStore(database, now=lambda: NOW)
    await posts.save_status_message(job.id, STATUS)

    await posts.record_deletion(job, STATUS.message_id, by=5)
    assert await AuditRepository(database).entries(1) == ()
    await posts.record_deletion(job, STATUS.message_id, by=9)

    (entry,) = await AuditRepository(database).entries(1)
    assert (entry.action, entry.actor_id) == ("removed", 9)
    assert await posts.status_message(job.id) is None


def test_a_token_is_spared_in_its_last_minute() -> None:
    post = StatusMessage(STATUS, INTERACTION)

    assert post.is_token_valid(NOW + timedelta(minutes=13, seconds=59))
    assert not post.is_token_valid(NOW + timedelta(minutes=14))
    assert not StatusMessage(STATUS, None).is_token_valid(NOW)
