"""A job of two rows, and what must happen to bring it to each state, for the tests of jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Finished,
    JobEvent,
    ResultsFetched,
    RowFailed,
    RowReady,
    Scheduled,
    Started,
)
from bot.domain.job import Job, apply_event, new_job
from bot.domain.request import Author, ChannelRef, Request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
HANDLE = BackendJobRef("scripted", "7")
REQUEST = Request(
    prompt="a cat",
    seed=100,
    steps=50,
    width=768,
    height=768,
    rows=2,
    samples=3,
    model="sd-2-1",
    author=Author(1, "Ada"),
    place=ChannelRef(2, 3),
)


def artifact(name: str = "row") -> Artifact:
    return Artifact(f"https://host/{name}.png", 9, "0" * 64)


def after(*events: JobEvent) -> Job:
    job = new_job("a" * 16, REQUEST, NOW)
    for event in events:
        job = apply_event(job, event, LATER)
    return job


PENDING = (Scheduled(), Accepted(HANDLE))
RUNNING = (*PENDING, Started())
ONE_READY = (*RUNNING, RowReady(1, 100, artifact()))
COLLECTING = (*ONE_READY, RowFailed(2, 1), Finished(1, 1))
DELIVERING = (*COLLECTING, ResultsFetched((1,)))
