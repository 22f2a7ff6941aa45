"""Killed at every step, and two processes on one wallet: nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deepsquare.clients import grid_options
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import Status
from tests.deepsquare.testnet.site import Setup, TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

ROOT = Path(__file__).parents[2]


async def program(grid: TestGrid, folder: Path, module: str, arguments: Sequence[str]) -> str:
    """Run one of the programs beside this file against the grid; what it printed."""
    options = grid_options(grid, folder / "data")
    del options["timeouts"]
    file = folder / "options.json"
    file.write_text(json.dumps(options, default=str))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", f"tests.deepsquare.{module}", str(file), *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()


async def test_killed_at_every_step_a_job_is_requested_once_and_every_lock_accounted_for(
    grid: TestGrid, tmp_path: Path
) -> None:
    for number in range(60):
        grid.behave(f"crash-{number}", Conduct(runs=False))
    steps = int(await program(grid, tmp_path, "crashing_program", ()))
    # Intent, script, transaction, number, forgotten transaction, cost, forgotten words: each has
    # a moment before and a moment after.
    assert steps >= 14
    jobs = await grid.request_new_jobs()
    assert Counter(job.name for job in jobs) == {f"crash-{n}": 1 for n in range(steps + 1)}
    assert {job.status for job in jobs} == {Status.FINISHED}
    assert await grid.bank.unaccounted() == 0


@pytest.mark.parametrize("setup", [Setup()])
async def test_two_processes_submit_forty_jobs_on_one_wallet_without_gap_or_duplicate(
    grid: TestGrid, tmp_path: Path
) -> None:
    for prefix in ("left", "right"):
        for number in range(20):
            grid.behave(f"{prefix}-{number}", Conduct(stays=Status.PENDING))
    address = grid.customer.address
    before = int(await grid.chain.rpc("eth_getTransactionCount", address, "latest"), 16)
    await asyncio.gather(
        program(grid, tmp_path, "paying_program", ("left", "20")),
        program(grid, tmp_path, "paying_program", ("right", "20")),
    )
    jobs = await grid.request_new_jobs()
    wanted = {f"{prefix}-{n}": 1 for prefix in ("left", "right") for n in range(20)}
    assert Counter(job.name for job in jobs) == wanted
    for block in ("latest", "pending"):
        count = int(await grid.chain.rpc("eth_getTransactionCount", address, block), 16)
        assert count == before + 40
    assert list((tmp_path / "data").rglob("transactions/*.json")) == []
