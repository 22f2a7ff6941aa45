"""How soon a new process is ready, with 10,000 unfinished requests, and how soon it answers.

Counted from the start of the process to what a member reads. The first start ever registers the
commands with Discord; every later one knows that nothing has changed.
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
from bot.bootstrap import DATABASE, utc_now
from bot.domain.job import new_job
from bot.playground.client.driver import MemberDriver
from bot.playground.server import Playground
from bot.store import jobs, ledger
from bot.store.database import Database

UNFINISHED = 10_000
MEMBERS = 500
STARTS = 4
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def _fill(folder: Path) -> None:
    """Requests that wait, of many members, from long ago."""
    async with await Database.open(folder / "data" / DATABASE, now=utc_now) as database:

        def insert(link: sqlite3.Connection) -> None:
            for number in range(UNFINISHED):
                at = LONG_AGO + timedelta(seconds=number)
                request = fixtures.request(1 + number % MEMBERS, size=768, rows=4, samples=3)
                job = new_job(f"{number:013d}", request, at)
                jobs.insert(link, job, interaction=None, mac_key=b"0123456789abcdef")
                ledger.reserve(link, job)

        await database.write(insert)


async def _until_ready(
    playground: Playground, member: MemberDriver, folder: Path, settings: dict[str, str]
) -> tuple[float, float]:
    """Seconds from the start of the process to ready, and to a command's answer after that."""
    async with harness.bot(playground, folder, settings) as bot:
        asked = await member.slash(harness.CHANNEL, "queue")
        await asked.answered()
        return bot.ready - bot.began, time.monotonic() - bot.ready


async def _until_answered(playground: Playground, member: MemberDriver, folder: Path) -> float:
    """Seconds from the start of the process to the first answer that a member reads."""
    async with harness.bot(playground, folder, {}, wait=False) as bot:
        await playground.online(within=30)
        asked = await member.slash(harness.CHANNEL, "help")
        await asked.answered()
        return time.monotonic() - bot.began


async def _run(folder: Path) -> None:
    async with harness.playing(1) as (playground, (member,)):
        first = await _until_answered(playground, member, folder)
        later = [await _until_answered(playground, member, folder) for _ in range(STARTS)]
        figure = f"{statistics.median(later):.2f} s (best {min(later):.2f}, very first {first:.2f})"
        show("process start → first command answered", figure, "goal < 1 s")
    full = folder / "full"
    full.mkdir()
    await _fill(full)
    # What is started takes an hour, so that nothing ends meanwhile.
    settings = {
        **harness.PLENTY,
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(
            recordings.write(full / "recording", seconds=3600, rows=4)
        ),
    }
    async with harness.playing(1) as (playground, (member,)):
        ready, answered = await _until_ready(playground, member, full, settings)
    show(f"{UNFINISHED} unfinished requests → ready", f"{ready:.2f} s", "goal < 2 s")
    show("  and then /queue answered after", f"{answered * 1000:.0f} ms")


def main() -> None:
    """Print seconds from the start of the process."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name)))


if __name__ == "__main__":
    main()
