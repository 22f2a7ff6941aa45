"""Jobs to store: plain ones by hand, and any job at all for the properties."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from bot.domain.events import Artifact, BackendJobRef, FailureReason, MessageRef
from bot.domain.job import TERMINAL, Job, JobState, Row, new_job
from bot.domain.request import Author, ChannelRef, Request, SourceImage
from bot.store.migrations import load_migrations, statements

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
KEY = b"0123456789abcdef"


def fixed_now() -> datetime:
    return NOW


def a_request(user: int = 7, guild: int = 1, channel: int = 2, images: int = 12) -> Request:
    return Request(
        prompt="a lighthouse at dawn",
        seed=7,
        steps=50,
        width=768,
        height=512,
        rows=images,
        samples=1,
        model="sd-2-1",
        author=Author(user, "Ada"),
        place=ChannelRef(guild, channel),
        negative="fog",
    )


def a_job(
    job_id: str,
    *,
    user: int = 7,
    guild: int = 1,
    channel: int = 2,
    images: int = 12,
    minutes: float = 0,
) -> Job:
    """A queued job, created so many minutes after NOW."""
    at = NOW + timedelta(minutes=minutes)
    return new_job(job_id, a_request(user, guild, channel, images), at)


def in_state(job: Job, state: JobState) -> Job:
    """The job as if it had got there; for tables, not for the domain."""
    return replace(job, state=state, ended_at=NOW if state in TERMINAL else None)


def memory_database() -> sqlite3.Connection:
    """The stock schema without a file, for what needs only a connection."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    for migration in load_migrations():
        for statement in statements(migration.script):
            connection.execute(statement)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


snowflakes = st.integers(0, 2**63 - 1)
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - Hypothesis wants it naive and adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
texts = st.text(max_size=40)
counts = st.integers(1, 8)
artifacts = st.builds(Artifact, texts, st.integers(0, 2**40), st.just("ab" * 32))
rows = st.builds(
    Row,
    counts,
    st.integers(0, 2**32 - 1),
    st.integers(0, 100),
    st.booleans(),
    st.none() | artifacts,
    st.none() | st.integers(-255, 255),
)
requests = st.builds(
    Request,
    prompt=texts,
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 150),
    width=st.integers(64, 2048),
    height=st.integers(64, 2048),
    rows=counts,
    samples=counts,
    model=texts,
    author=st.builds(Author, snowflakes, texts),
    place=st.builds(ChannelRef, snowflakes, snowflakes),
    negative=texts,
    style=texts,
    origin=st.none() | st.builds(SourceImage, texts, counts, counts),
)
jobs = st.builds(
    Job,
    id=st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=16, max_size=16),
    request=requests,
    created_at=moments,
    state=st.sampled_from(JobState),
    handle=st.none() | st.builds(BackendJobRef, texts, texts),
    rows=st.lists(rows, max_size=4).map(tuple),
    grid=st.none() | artifacts,
    started_at=st.none() | moments,
    ended_at=st.none() | moments,
    cause=st.none() | st.sampled_from(FailureReason),
    failure_message=texts,
    cancelled_by=st.none() | snowflakes,
    fetched_rows=st.lists(counts, max_size=8).map(tuple),
    delivery_method=texts,
    result=st.none() | st.builds(MessageRef, snowflakes, snowflakes),
)
