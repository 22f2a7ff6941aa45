"""Measure the start of the process: until ready with 10,000 unfinished jobs, until it answers.

Measured from the start of the process to what a member reads. The very first start registers the
commands with Discord; later ones skip that.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import fixtures, harness, recordings
from benchmarks.measure import show
from bot.bootstrap import DATABASE
from bot.clock import utc_now
from bot.domain.job import new_job
from bot.playground.client.driver import MemberDriver
from bot.playground.server import Playground
from bot.store import jobs, ledger
from bot.store.database import Database

UNFINISHED_JOBS = 10_000
MEMBERS = 500
STARTS = 4
FIRST_ACCEPTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


async def _insert_jobs(folder: Path) -> None:
    """Insert waiting jobs of many members."""
    async with await Database.open(folder / "data" / DATABASE, now=utc_now) as database:

        def insert(link: sqlite3.Connection) -> None:
            for number in range(UNFINISHED_JOBS):
                at = FIRST_ACCEPTED_AT + timedelta(seconds=number)
                request = fixtures.request(1 + number % MEMBERS, size=768, rows=4, samples=3)
                job = new_job(f"{number:013d}", request, at)
                jobs.insert(link, job, interaction=None, mac_key=b"0123456789abcdef")
                ledger.reserve(link, job)

        await database.write(insert)


async def _measure_ready(
    playground: Playground, member: MemberDriver, folder: Path, settings: dict[str, str]
) -> tuple[float, float]:
    """Return the seconds from start to ready, and from ready to the answer of a command."""
    async with harness.run_bot(playground, folder, settings) as bot:
        invocation = await member.slash(harness.CHANNEL, "queue")
        await invocation.answered()
        return bot.ready - bot.began, time.monotonic() - bot.ready


async def _measure_first_response(
    playground: Playground, member: MemberDriver, folder: Path
) -> float:
    """Return the seconds from the start of the process to the first answer to a member."""
    async with harness.run_bot(playground, folder, {}, wait=False) as bot:
        await playground.online(within=30)
        invocation = await member.slash(harness.CHANNEL, "help")
        await invocation.answered()
        return time.monotonic() - bot.began


async def _run(folder: Path) -> None:
    async with harness.open_playground(1) as (playground, (member,)):
        first = await _measure_first_response(playground, member, folder)
        later = [await _measure_first_response(playground, member, folder) for _ in range(STARTS)]
        figure = f"{statistics.median(later):.2f} s (best {min(later):.2f}, very first {first:.2f})"
        show("process start → first command answered", figure, "goal < 1 s")
    folder_with_jobs = folder / "full"
    folder_with_jobs.mkdir()
    await _insert_jobs(folder_with_jobs)
    # A job takes an hour, so that none ends meanwhile.
    settings = {
        **harness.HIGH_LIMITS,
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(folder_with_jobs / "recording", seconds=3600, rows=4)
        ),
    }
    async with harness.open_playground(1) as (playground, (member,)):
        ready, answered = await _measure_ready(playground, member, folder_with_jobs, settings)
    show(f"{UNFINISHED_JOBS} unfinished requests → ready", f"{ready:.2f} s", "goal < 2 s")
    show("  and then /queue answered after", f"{answered * 1000:.0f} ms")


def main() -> None:
    """Print the seconds."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name)))


if __name__ == "__main__":
    main()
