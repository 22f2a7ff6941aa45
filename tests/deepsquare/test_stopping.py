"""A stopped job ends within seconds of the Grid's word, whatever the rest of its log does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.backends.base import LifecycleEvent, LogLine
from bot.backends.deepsquare.timeouts import Timeouts
from bot.domain.events import BackendJobRef, Cancelled
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.steps import IDLE, begin
from tests.deepsquare.testnet.chain import GridJob, Status
from tests.deepsquare.testnet.logger import LoggerFaults
from tests.deepsquare.testnet.rpc import RpcFaults
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

USUAL = Timeouts()
SECONDS = 5.0


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


async def misbehave(grid: TestGrid, job: GridJob, how: str) -> None:
    """What the log does from now on, until cancelled."""
    if how == "is cut again and again":
        grid.logger.faults = LoggerFaults(drop_after=1)
        grid.logger.drop_streams()
    elif how == "is away":
        await grid.logger.stop()
    for number in itertools.count():
        if how == "floods":
            for _ in range(50):
                grid.logger.write(grid.customer.address, job.job_id, b"noise %d" % number)
        elif how == "drips":
            grid.logger.write(grid.customer.address, job.job_id, b"still here")
        elif how == "says that it ended, and goes on":
            grid.logger.write(grid.customer.address, job.job_id, b"---")
        await asyncio.sleep(0.05 if how == "floods" else 0.3)


@pytest.mark.parametrize(
    "how",
    [
        "stays open",
        "floods",
        "drips",
        "says that it ended, and goes on",
        "is cut again and again",
        "is away",
    ],
)
async def test_a_stopped_job_ends_within_seconds_though_its_log(
    grid: TestGrid, clients: Clients, how: str
) -> None:
    backend = await clients.open(USUAL)
    handle = await begin(grid, backend, IDLE)
    job = await grid.reached("job", Status.RUNNING)
    grid.logger.write(grid.customer.address, job.job_id, b"--- Job has started ---")
    stream = backend.follow(handle)
    while not isinstance(await anext(stream), LogLine):
        pass
    misbehaving = asyncio.create_task(misbehave(grid, job, how))
    ended = asyncio.create_task(last_of(stream))
    await backend.cancel(handle)
    await grid.reached("job", Status.CANCELLED)
    word = time.monotonic()
    last = await asyncio.wait_for(ended, 40)
    assert last == Cancelled(by=0)
    assert time.monotonic() - word < SECONDS
    misbehaving.cancel()


async def last_of(
    stream: AsyncIterator[LogLine | LifecycleEvent],
) -> LogLine | LifecycleEvent | None:
    last: LogLine | LifecycleEvent | None = None
    async for item in stream:
        last = item
    return last


async def test_a_request_that_did_not_reach_the_chain_is_sent_once_it_answers(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(replace(IMPATIENT, stopping=0.05))
    handle = await begin(grid, backend, IDLE)
    await grid.reached("job", Status.RUNNING)
    ended = asyncio.create_task(last_of(backend.follow(handle)))
    grid.rpc.faults = RpcFaults(refused=frozenset({"*"}))
    with pytest.raises(Exception, match=r"refused|RPC|answer|Unavailable|chain|429|HTTP"):
        await backend.cancel(handle)
    grid.rpc.faults = RpcFaults()
    assert await asyncio.wait_for(ended, 20) == Cancelled(by=0)
    assert isinstance(handle, BackendJobRef)
