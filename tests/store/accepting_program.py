"""A program for test_kill: accepts, dispatches, settles and refunds until somebody kills it.

It prints a line for each promise it has made, after the commit and never before.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bot.domain.events import Cancelled, Scheduled
from bot.domain.job import Job, apply_event, job_id, new_job
from bot.store import jobs, ledger
from bot.store.database import Database
from tests.unit.store.builders import KEY, a_request


def now() -> datetime:
    return datetime.now(UTC)


def accept(connection: sqlite3.Connection, job: Job) -> None:
    assert jobs.insert(connection, job, interaction=None, mac_key=KEY)
    assert ledger.reserve(connection, job)


def follow(connection: sqlite3.Connection, before: Job, after: Job) -> None:
    assert jobs.save(connection, after, expected=before.state, at=now())
    if after.state.terminal:
        assert ledger.refund(connection, after.id, at=now())


async def accept_jobs(database: Database, user: int) -> None:
    for number in itertools.count():
        job = new_job(job_id(now(), os.urandom(5)), a_request(user), now())
        await database.write(partial(accept, job=job))
        print(job.id, job.state, flush=True)
        for event in (Scheduled(), Cancelled(user))[: number % 3]:
            after = apply_event(job, event, now())
            await database.write(partial(follow, before=job, after=after))
            job = after
            print(job.id, job.state, flush=True)


async def main(path: Path) -> None:
    async with await Database.open(path, now=now) as database:
        await asyncio.gather(*(accept_jobs(database, user) for user in range(1, 6)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
