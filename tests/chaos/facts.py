"""Reads what a bot's store, its backend and the playground know into one history.

It looks and changes nothing: a copy of the store is read, so that the bot goes on undisturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from bot.bootstrap import DATABASE
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.bot_process import starts
from tests.chaos.invariants import Ask, Entry, History, JobFact, Post

_GRID = re.compile(r"^gridbrush-([a-z2-7]{8})\.\w+$")
_ROW = re.compile(r"^gridbrush-([a-z2-7]{8})-row-(\d+)\.\w+$")
_BUTTON = re.compile(r"gb:\w+:([a-z2-7]{16})")
_CANCEL = re.compile(r"gb:cancel:([a-z2-7]{16})")
_NONCE = re.compile(r"-([a-z2-7]{16})$")


async def read_history(
    playground: Playground, data: Path, asked: Iterable[Invocation], exits: Iterable[str]
) -> History:
    """Return the facts of a bot whose data folder is ``data``; a copy of its store is read.

    Raises sqlite3.Error while the store cannot be read, FileNotFoundError before there is one.
    """
    copy = data.with_name("facts.sqlite3")
    interactions, entries = await asyncio.to_thread(_read, data / DATABASE, copy)
    async with await Database.open(copy, now=lambda: datetime.now(UTC)) as database:
        jobs = await JobRepository(database).prefix("", 1_000_000)
        faults = await LedgerRepository(database).check()
    world = playground.world
    told: dict[int, list[str]] = defaultdict(list)
    for message in world.messages.values():
        if message.interaction is not None:
            told[message.interaction.id].append(message.text)
    asks = []
    for one in asked:
        interaction = world.interactions.find(one.id)
        answered = interaction.callback is not None
        asks.append(Ask(one.id, interaction.user.id, answered, tuple(told[one.id])))
    return History(
        asks=tuple(asks),
        jobs=tuple(
            JobFact(
                job.id,
                interactions.get(job.id),
                job.request.author.id,
                job.state.value,
                job.request.images,
                job.request.samples,
                job.fetched_rows,
                job.failure_message,
                job.cancelled_by,
            )
            for job in jobs
        ),
        posts=_posts(
            (one for one in world.messages.values() if one.author is world.bot),
            (job.id for job in jobs),
        ),
        ledger=entries,
        starts=await asyncio.to_thread(starts, data.parent),
        ledger_faults=faults,
        exits=tuple(exits),
    )


def _read(path: Path, copy: Path) -> tuple[dict[str, int], tuple[Entry, ...]]:
    """Blocking. Copy the store; which request each job came from, and the ledger."""
    for left in copy.parent.glob(f"{copy.name}*"):
        left.unlink()
    with (
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(copy)) as connection,
    ):
        source.backup(connection)
        jobs = connection.execute("SELECT id, interaction_id FROM jobs").fetchall()
        lines = connection.execute("SELECT job_id, kind, images FROM ledger ORDER BY id").fetchall()
    return dict(jobs), tuple(Entry(*line) for line in lines if line[0] is not None)


def _posts(messages: Iterable[Message], jobs: Iterable[str]) -> tuple[Post, ...]:
    """Every message of the bot with the job that it belongs to.

    File names hold only the first letters of a job's id, which jobs of the same moment share; so
    its buttons are asked first, then its nonce, then the result in whose thread it lies.
    """
    known = tuple(jobs)
    owners: dict[int, str] = {}
    posts = []
    for message in messages:
        pressed = str(message.components)
        named = _BUTTON.search(pressed) or _NONCE.search(str(message.nonce))
        job = named[1] if named else owners.get(message.channel_id, "")
        grid = False
        rows: list[int] = []
        for file in message.attachments:
            if match := _GRID.match(file.filename):
                grid = True
            elif match := _ROW.match(file.filename):
                rows.append(int(match[2]))
            if match and not job:
                alike = [one for one in known if one.startswith(match[1])]
                job = alike[0] if len(alike) == 1 else match[1]
        if grid:
            owners[message.id] = job
        cancels = _CANCEL.search(pressed)
        posts.append(
            Post(
                message.id,
                job,
                grid,
                tuple(rows),
                tuple(message.mentions),
                message.interaction.id if message.interaction else None,
                cancels[1] if cancels else "",
            )
        )
    return tuple(posts)
