"""``kill -9`` at every boundary of a job's life, with the real process on a loopback Discord.

Each time the same must hold after the next start: the same job goes on, it ran once, one grid is
posted, and the ledger balances.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.job import Job, JobState
from bot.playground.client.driver import Invocation, ResponseTimeout
from bot.playground.server import Playground
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.bot_process import bot_process, grids, log_of, starts
from tests.onnx_models import colour_classifier

pytestmark = [
    pytest.mark.xdist_group("crash"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

STATES = ["submitting", "pending", "running", "row", "collecting", "delivering", "finished"]


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


SETTINGS = {"GRIDBRUSH_QUEUE__RUNNING": "1", "GRIDBRUSH_BACKEND__LOCAL__ENGINE": "sketch"}


def doomed(
    playground: Playground, folder: Path, moment: str, **settings: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A bot that is killed at that moment."""
    program = ("-m", "tests.crash_program", moment)
    return bot_process(playground, folder, SETTINGS | settings, program)


async def stored(folder: Path) -> tuple[list[Job], tuple[str, ...]]:
    """All jobs, and what is wrong with the ledger."""
    path = folder / "data" / "gridbrush.sqlite3"
    async with await Database.open(path, now=lambda: datetime.now(UTC)) as database:
        jobs = await JobRepository(database).prefix("")
        return list(jobs), await LedgerRepository(database).check()


def readiness(folder: Path) -> int:
    """How often a bot has said that it took up what there was."""
    return log_of(folder).read_bytes().count(b"\nready as ")


async def expect_one_grid(playground: Playground, folder: Path, count: int = 1) -> None:
    """Let a new bot finish what there is, and check that nothing was lost or done twice."""
    starts_before = readiness(folder)
    async with bot_process(playground, folder, SETTINGS) as process:
        await playground.until(lambda _: len(grids(playground)) >= count, within=60)
        # The grid may be the earlier bot's: this one must have taken up what that one left.
        async with asyncio.timeout(30):
            while readiness(folder) == starts_before:  # noqa: ASYNC110 - another process's word
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert len(grids(playground)) == count
    jobs, faults = await stored(folder)
    assert [job.state for job in jobs] == [JobState.FINISHED] * count
    assert faults == ()
    assert starts(folder) == {job.id: 1 for job in jobs}


@pytest.mark.parametrize("moment", [*STATES, "submitted"])
async def test_a_killed_bot_goes_on_where_it_was(
    playground: Playground, tmp_path: Path, moment: str
) -> None:
    async with doomed(playground, tmp_path, moment) as process:
        ada = playground.as_member("Ada")
        asked = await ada.slash("imagine", "imagine", prompt="a fox in the snow")
        with contextlib.suppress(ResponseTimeout):  # the kill may come before the first answer
            await asked.answered()
        assert await process.wait() == -signal.SIGKILL
    await expect_one_grid(playground, tmp_path)


async def test_what_waited_in_line_when_the_bot_was_killed_still_runs(
    playground: Playground, tmp_path: Path
) -> None:
    async with doomed(playground, tmp_path, "running") as process:
        for name in ("Ada", "Ben", "Mo"):
            asked = await playground.as_member(name).slash("imagine", "imagine", prompt=name)
            if process.returncode is None and name != "Mo":
                with contextlib.suppress(ResponseTimeout):  # the kill may come before
                    await asked.answered()
        assert await process.wait() == -signal.SIGKILL
    jobs, _ = await stored(tmp_path)
    await expect_one_grid(playground, tmp_path, count=len(jobs))


async def test_a_set_that_was_accepted_when_the_bot_was_killed_is_made_once(
    playground: Playground, tmp_path: Path
) -> None:
    async with doomed(playground, tmp_path, "submitting") as process:
        ada = playground.as_member("Ada")
        prompt = "a {red, blue} fox --rows 1 --samples 1 --size 64x64 --steps 1"
        question = await (await ada.slash("imagine", "imagine", prompt=prompt)).answered()
        await ada.press(question, "Run all")
        assert await process.wait() == -signal.SIGKILL
    jobs, _ = await stored(tmp_path)
    assert [job.request.prompt for job in jobs] == ["a red fox", "a blue fox"]
    await expect_one_grid(playground, tmp_path, count=2)
    texts = [message.content for message in playground.world.messages_in("imagine")]
    assert [sum(f"grid {at} of 2" in text for text in texts) for at in (1, 2)] == [1, 1]


@pytest.mark.parametrize("token_lives", [True, False], ids=["as the card", "in the channel"])
async def test_a_grid_that_was_posted_but_not_written_down_is_not_posted_again(
    playground: Playground, tmp_path: Path, token_lives: bool
) -> None:
    if not token_lives:
        playground.world.faults.answer("PATCH", "@original$", 401, code=50027, times=1000)
    async with doomed(playground, tmp_path, "posted") as process:
        ada = playground.as_member("Ada")
        asked = await ada.slash("imagine", "imagine", prompt="a fox in the snow")
        await asked.answered()
        assert await process.wait() == -signal.SIGKILL
    assert len(grids(playground)) == 1
    await expect_one_grid(playground, tmp_path)


async def test_approved_images_are_posted_once(playground: Playground, tmp_path: Path) -> None:
    names = {"names": "{0: 'red', 1: 'green', 2: 'blue'}"}
    model = colour_classifier(tmp_path / "model.onnx", metadata=names)
    check = {
        "GRIDBRUSH_IMAGE_CHECK__ENGINE": str(model),
        "GRIDBRUSH_IMAGE_CHECK__LABELS": '{"green": 0.001}',
    }
    async with doomed(playground, tmp_path, "approved", **check) as process:
        asked = await playground.as_member("Ada").slash("imagine", "imagine", prompt="a forest")
        await playground.until(lambda _: waits_for_a_moderator(asked) or None, within=30)
        assert grids(playground) == []
        ((job,), _) = await stored(tmp_path)
        assert job.is_held
        keeper = playground.as_member("Keeper")
        await keeper.slash("imagine", "art-admin decide", request=job.id, decision="approve")
        assert await process.wait() == -signal.SIGKILL
    assert grids(playground) == []
    await expect_one_grid(playground, tmp_path)


def waits_for_a_moderator(asked: Invocation) -> bool:
    message = asked.response
    return message is not None and "Waits for a moderator" in str(message.embeds)
