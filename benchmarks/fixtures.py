"""The services without Discord, and requests for them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from bot.bootstrap import Application, open_application
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.domain.request import Author, ChannelRef, Request
from bot.services.lifecycle import JobObserver
from bot.services.queue import Actor
from bot.services.results import JobResult
from bot.settings import Settings

GUILD, CHANNEL = 1, 2


class InstantTransport:
    """A delivery transport that accepts every result at once."""

    async def methods(self, job: Job) -> tuple[str, ...]:
        return ("channel",)

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        return MessageRef(CHANNEL, int(job.id[-4:], 36))

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        return None


def request(user: int, *, size: int = 64, rows: int = 1, samples: int = 1) -> Request:
    return Request(
        prompt="a lighthouse at dawn",
        seed=7,
        steps=50,
        width=size,
        height=size,
        rows=rows,
        samples=samples,
        model="sd-2-1",
        author=Author(user, f"member {user}"),
        place=ChannelRef(GUILD, CHANNEL),
        negative="fog",
    )


def member(user: int) -> Actor:
    return Actor(user, f"member {user}")


@asynccontextmanager
async def open_engine(
    slots: int = 1, observers: Iterable[JobObserver] = ()
) -> AsyncIterator[Application]:
    """Open the services on disk, with a scripted backend that takes no time and high limits."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings.model_validate(
            {
                "data": {"dir": Path(name)},
                "queue": {"running": slots, "waiting": 1_000_000, "waiting_per_user": 10_000},
                "quota": {"images": 1_000_000},
                "backend": {"kind": "scripted", "scripted": {"speed": 0}},
            }
        )
        async with open_application(
            settings, transport=InstantTransport(), observers=observers
        ) as application:
            yield application
