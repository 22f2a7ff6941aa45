"""Stored jobs, and how they are brought through a whole life."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Delivered,
    Finished,
    JobEvent,
    MessageRef,
    ResultsFetched,
    RowReady,
    Scheduled,
)
from bot.domain.job import Job, JobState, apply_event
from bot.store import jobs
from bot.store.database import Database
from bot.store.job_queries import InteractionRef
from tests.unit.store.builders import KEY, NOW

STRIP = Artifact("https://files.example/secret", 10, "ab" * 32)
LIFE: tuple[JobEvent, ...] = (
    Scheduled(),
    Accepted(BackendJobRef("local", "17")),
    RowReady(1, 7, STRIP),
    Finished(1, 0),
    ResultsFetched((1,)),
    Delivered("channel", MessageRef(2, 99)),
)


def press(interaction_id: int) -> InteractionRef:
    return InteractionRef(interaction_id, 5, "the token", NOW + timedelta(minutes=14))


async def keep(database: Database, given: Iterable[Job]) -> None:
    def insert_all(connection: sqlite3.Connection) -> None:
        for job in given:
            assert jobs.insert(connection, job, interaction=None, mac_key=KEY)

    await database.write(insert_all)


async def live(database: Database, job: Job, minutes: Iterable[float]) -> Job:
    """Bring a stored job as far through LIFE as there are ``minutes``, and save every step."""
    for event, minute in zip(LIFE, minutes, strict=False):
        at = NOW + timedelta(minutes=minute)
        after = apply_event(job, event, at)
        assert await database.write(saving(after, job.state, at))
        job = after
    return job


def saving(job: Job, expected: JobState, at: datetime) -> Callable[[sqlite3.Connection], bool]:
    return lambda connection: jobs.save(connection, job, expected=expected, at=at)
