"""SIGTERM while jobs run, with the real process: it ends in time, and the next start goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.frontend.delivery import POSTING_SECONDS
from bot.playground.server import Playground
from bot.runtime import DRAIN_SECONDS
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.bot_process import bot_process, grids
from tests.playground.clock import Clock
from tests.scenarios.scenarios import NEVER, write_play

pytestmark = [
    pytest.mark.xdist_group("drain"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    """One that lives in real time, as the process does."""
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


def process_of(
    playground: Playground, folder: Path, play: Path, speed: float
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """``gridbrush run`` on one slot, replaying a recording."""
    settings = {
        "GRIDBRUSH_QUEUE__RUNNING": "1",
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(play),
        "GRIDBRUSH_BACKEND__SCRIPTED__SPEED": str(speed),
    }
    return bot_process(playground, folder, settings)


def results(playground: Playground) -> int:
    """How many requests in #imagine are done."""
    return sum("Done" in message.text for message in grids(playground))


async def test_a_bot_that_is_told_to_stop_ends_in_time_and_the_next_takes_its_jobs_up(
    playground: Playground, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with process_of(playground, tmp_path, play, speed=1) as process:
        running = await playground.as_member("Ada").slash("imagine", "imagine", prompt="runs")
        await running.answered()
        waiting = await playground.as_member("Ben").slash("imagine", "imagine", prompt="waits")
        await waiting.answered()
        await playground.until(
            lambda _: running.response is not None and "█  ready" in running.response.text
        )
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - began < DRAIN_SECONDS + POSTING_SECONDS
    assert results(playground) == 0

    # The machines have gone on meanwhile.
    async with process_of(playground, tmp_path, play, speed=0) as process:
        await playground.until(lambda _: results(playground) == 2, within=30)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert results(playground) == 2
    path = tmp_path / "data" / "gridbrush.sqlite3"
    async with await Database.open(path, now=Clock()) as database:
        jobs = await JobRepository(database).prefix("")
        assert [job.state for job in jobs] == [JobState.FINISHED] * 2
        assert await LedgerRepository(database).check() == ()
    log = (tmp_path / "bot.log").read_text()
    assert "Traceback" not in log
    assert playground.token not in log
    assert running.token not in log
