"""Two bots on one data folder, as processes: one works, the other refuses or stands by."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.playground.server import Playground
from tests.bot_process import ROOT, bot_process, environment, grids, log_of, starts

pytestmark = [
    pytest.mark.xdist_group("crash"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

SETTINGS = {
    "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch",
    # The job has to be running still when the second bot is there.
    "GRIDBRUSH_BACKEND__LOCAL__STEP_SECONDS": "1",
}


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


async def start(
    playground: Playground, folder: Path, *words: str, log: Path
) -> asyncio.subprocess.Process:
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *words),
            cwd=ROOT,
            env=environment(playground, folder, SETTINGS),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


async def says(log: Path, fragment: str, count: int = 1) -> None:
    """Wait until another process has printed it."""
    async with asyncio.timeout(60):
        while not log.exists() or log.read_text().count(fragment) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.05)


async def test_a_second_bot_refuses_and_one_that_stands_by_takes_over(
    playground: Playground, tmp_path: Path
) -> None:
    log = tmp_path / "second.log"
    jobs = tmp_path / "data" / "local" / "jobs"
    async with bot_process(playground, tmp_path, SETTINGS) as first:
        await says(log_of(tmp_path), "\nready as ")
        refused = await start(playground, tmp_path, "run", log=tmp_path / "refused.log")
        assert await refused.wait() == 2
        told = (tmp_path / "refused.log").read_text()
        assert f"process {first.pid} on" in told
        assert "--standby" in told
        restoring = ("restore", "--empty", "--yes")
        refused = await start(playground, tmp_path, *restoring, log=tmp_path / "restore.log")
        assert await refused.wait() == 2
        assert f"process {first.pid} on" in (tmp_path / "restore.log").read_text()

        second = await start(playground, tmp_path, "run", "--standby", log=log)
        try:
            await says(
                log, f"standing by for the bot that runs (gridbrush run, process {first.pid}"
            )
            # Verbs of the command line go on beside both.
            backup = await start(playground, tmp_path, "backup", log=tmp_path / "backup.log")
            assert await backup.wait() == 0
            asked = await playground.as_member("Ada").slash("imagine", "imagine", prompt="a fox")
            await asked.answered()
            await until(lambda: bool(list(jobs.glob("*/group"))))
            first.kill()
            assert await first.wait() == -signal.SIGKILL
            await says(log, "taking over")
            await says(log, "\nready as ")
            await playground.until(lambda _: grids(playground), within=60)
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0
        finally:
            if second.returncode is None:
                second.kill()
            await second.wait()
    assert len(grids(playground)) == 1
    assert list(starts(tmp_path).values()) == [1]


async def test_one_that_stands_by_can_be_stopped(playground: Playground, tmp_path: Path) -> None:
    log = tmp_path / "second.log"
    async with bot_process(playground, tmp_path, SETTINGS):
        second = await start(playground, tmp_path, "run", "--standby", log=log)
        await says(log, "standing by")
        second.send_signal(signal.SIGTERM)
        assert await second.wait() == 0
