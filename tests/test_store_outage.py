"""The real bot as a process, whose disk fills up or whose database is held while a job runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.playground.server import Playground
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.bot_process import bot_process, grids, log_of
from tests.scenarios.scenarios import write_play
from tests.store.outages import small_disk

pytestmark = pytest.mark.timing(
    "runs the bot as a process, which a busy machine starts and stops late"
)

SAID = "cannot save anything at the moment"


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Another program holds the database."""
    with contextlib.closing(
        sqlite3.connect(folder / "data" / "gridbrush.sqlite3", isolation_level=None)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Another program's file has taken the whole disk."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "gridbrush.sqlite3")) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ballast = folder / "data" / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    ballast.unlink()


@asynccontextmanager
async def home(kind: str, folder: Path) -> AsyncIterator[Path]:
    """The folder of the bot, on a disk of its own if that is to be filled."""
    if kind == "held":
        yield folder
        return
    with small_disk(folder) as disk:
        (folder / "data").symlink_to(disk)
        yield folder


async def test_a_bot_that_is_started_on_a_full_disk_waits_for_room(
    playground: Playground, tmp_path: Path
) -> None:
    async with home("full", tmp_path) as folder, AsyncExitStack() as bots:
        async with bot_process(playground, folder, {}) as process:
            ada = playground.as_member("Ada")
            await (await ada.slash("imagine", "imagine", prompt="before")).answered()
            # A job that ends later would make room again.
            await playground.until(lambda _: len(grids(playground)) == 1, within=60)
            process.kill()
        with full(folder):
            starting = asyncio.ensure_future(
                bots.enter_async_context(bot_process(playground, folder, {}))
            )
            async with asyncio.timeout(60):
                while "cannot start: " not in log_of(tmp_path).read_text():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert not starting.done()
        await starting
        await (await ada.slash("imagine", "imagine", prompt="after it")).answered()
        await playground.until(lambda _: len(grids(playground)) == 2, within=60)
    assert "Traceback" not in log_of(tmp_path).read_text()


@pytest.mark.parametrize("kind", ["held", "full"])
async def test_the_process_goes_on_by_itself(
    playground: Playground, tmp_path: Path, kind: str
) -> None:
    play = write_play(tmp_path / "play.jsonl", seconds=1.0)
    settings = {
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_BACKEND__SCRIPTED__RECORDING": str(play),
        "GRIDBRUSH_QUEUE__RUNNING": "1",
    }
    outage = held if kind == "held" else full
    async with home(kind, tmp_path) as folder, bot_process(playground, folder, settings) as process:
        ada, ben, mo = (playground.as_member(name) for name in ("Ada", "Ben", "Mo"))
        running = await ada.slash("imagine", "imagine", prompt="running")
        await running.answered()
        waiting = await ben.slash("imagine", "imagine", prompt="waiting")
        await waiting.answered()
        with outage(folder):
            refused = await mo.slash("imagine", "imagine", prompt="refused")
            assert SAID in (await refused.answered()).text
            # The job that runs ends meanwhile, and its end cannot be written down.
            again = await mo.slash("imagine", "imagine", prompt="refused again")
            assert SAID in (await again.answered()).text
            assert process.returncode is None
            assert grids(playground) == []
        await playground.until(lambda _: len(grids(playground)) == 2, within=60)
        third = await mo.slash("imagine", "imagine", prompt="after it")
        await playground.until(lambda _: len(grids(playground)) == 3, within=60)
        assert SAID not in (await third.answered()).text
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        async with await Database.open(
            folder / "data" / "gridbrush.sqlite3", now=lambda: datetime.now(UTC)
        ) as database:
            jobs = await JobRepository(database).prefix("")
            assert [job.state for job in jobs] == [JobState.FINISHED] * 3
            assert await LedgerRepository(database).check() == ()
    said = log_of(tmp_path).read_text()
    assert said.count("the store is unavailable") == 1
    assert said.count("the store is available again") == 1
    assert "Traceback" not in said
