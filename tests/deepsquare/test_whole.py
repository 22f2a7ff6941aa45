"""The whole bot on the test grid: the command line and a channel, what it costs, and the wallet."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from PIL import Image

from bot.domain.grid import GridGeometry
from bot.domain.job import JobState
from bot.domain.text import format_credits
from bot.playground.server import Playground
from bot.store.database import Database
from bot.store.job_queries import JobCost
from bot.store.jobs import JobRepository
from tests.bot_process import bot_process, grids
from tests.deepsquare.testnet.site import TestGrid
from tests.playground.clock import Clock

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

SMALL = {
    "GRIDBRUSH_IMAGINE__WIDTH": "256",
    "GRIDBRUSH_IMAGINE__HEIGHT": "256",
    "GRIDBRUSH_IMAGINE__ROWS": "4",
    "GRIDBRUSH_IMAGINE__SAMPLES": "3",
    "GRIDBRUSH_IMAGINE__STEPS": "2",
    "GRIDBRUSH_METRICS__LISTEN": "",
}


def environment(grid: TestGrid, folder: Path, **more: str) -> dict[str, str]:
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "200"}
    data = {"GRIDBRUSH_DATA__DIR": str(folder / "data")}
    return {**base, **SMALL, **data, **grid.environment(), **more}


async def gridbrush(grid: TestGrid, folder: Path, *words: str, **more: str) -> tuple[int, str, str]:
    """Run the command; its status, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words),
        cwd=Path(__file__).parents[2],
        env=environment(grid, folder, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def stored_credits(folder: Path) -> list[tuple[JobState, JobCost]]:
    path = folder / "data" / "gridbrush.sqlite3"
    async with await Database.open(path, now=Clock()) as database:
        jobs = JobRepository(database)
        return [(job.state, await jobs.credits(job.id)) for job in await jobs.prefix("")]


def settled(credits: JobCost) -> Decimal:
    """The cost, when what was locked has been divided into it and what came back."""
    assert credits.price is not None
    assert credits.cost is not None
    assert credits.refund is not None
    assert 0 < credits.cost <= credits.price
    assert credits.cost + credits.refund == credits.price
    return credits.cost


async def test_one_command_makes_one_grid_on_the_grid(grid: TestGrid, tmp_path: Path) -> None:
    status, out, err = await gridbrush(grid, tmp_path, "imagine", "a fox in the snow", "--json")
    assert status == 0, err
    made = json.loads(out)
    assert len(made["rows"]) == 4
    assert Path(made["grid"]).exists()
    assert len(await grid.request_new_jobs()) == 1
    assert grid.customer.key.removeprefix("0x") not in out + err

    # The command left before the provider had settled: the next one writes the cost down.
    status, out, err = await gridbrush(grid, tmp_path, "jobs", "--list")
    assert status == 0, err
    [(_, credits)] = await stored_credits(tmp_path)
    assert format_credits(settled(credits)) in out


async def test_the_operator_sees_what_the_grid_is_like(grid: TestGrid, tmp_path: Path) -> None:
    status, out, err = await gridbrush(grid, tmp_path, "check")
    assert status == 0, out + err
    for what in ("chain", "credits", "allowance", "logger", "file host"):
        assert what in out.lower()
    assert "bad" not in out
    assert grid.customer.key.removeprefix("0x") not in out + err


async def test_the_wallet_is_shown_and_its_allowance_set_after_a_yes(
    grid: TestGrid, tmp_path: Path
) -> None:
    status, out, err = await gridbrush(grid, tmp_path, "wallet")
    assert status == 0, err
    assert grid.customer.address in out
    status, out, err = await gridbrush(grid, tmp_path, "wallet", "--allow", "1234")
    assert status != 0, "nobody said yes"
    status, out, err = await gridbrush(grid, tmp_path, "wallet", "--allow", "1234", "--yes")
    assert status == 0, err
    assert "allowance  1,234 credits" in out
    status, _, err = await gridbrush(grid, tmp_path, "wallet", "--allow", "much", "--yes")
    assert status == 2
    assert "number of credits" in err


async def test_imagine_in_a_channel_posts_a_grid_with_four_row_links_and_a_cost(
    grid: TestGrid, tmp_path: Path
) -> None:
    playground = Playground()
    await playground.start()
    try:
        await _imagine_in_a_channel(playground, grid, tmp_path)
    finally:
        await playground.aclose()
    await gridbrush(grid, tmp_path, "jobs", "--list")
    [(state, credits)] = await stored_credits(tmp_path)
    assert state is JobState.FINISHED
    assert settled(credits) > 0
    assert await grid.bank.unaccounted() == 0
    assert grid.customer.key.removeprefix("0x") not in (tmp_path / "bot.log").read_text()


async def _imagine_in_a_channel(playground: Playground, grid: TestGrid, folder: Path) -> None:
    """Ask there, wait for the grid, and bring its rows home by their links."""
    settings = {**SMALL, **grid.environment()}
    async with bot_process(playground, folder, settings) as process:
        asked = await playground.as_member("Ada").slash("imagine", "imagine", prompt="a fox")
        await asked.answered()
        await playground.until(lambda _: grids(playground), within=60)
        (message,) = grids(playground)
        links = [
            str(control["url"])
            for control in message.controls()
            if grid.transfer.service.host in str(control.get("url", ""))
        ]
        assert len(links) == 4
        async with httpx.AsyncClient() as http:
            rows = [await http.get(link) for link in links]
        assert [row.status_code for row in rows] == [200] * 4
        strips = {Image.open(io.BytesIO(row.content)).size for row in rows}
        assert strips == {GridGeometry(256, 256, rows=4, samples=3).strip_size}
        assert len({row.content for row in rows}) == 4, "each row has a seed of its own"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
