"""Two hundred jobs followed at once: one question for all of them at each look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.backends.base import LifecycleEvent, LogLine
from bot.backends.deepsquare.chain_watcher import REFRESHES_PER_POLL
from bot.domain.events import Cancelled, Started
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT, Status
from tests.deepsquare.testnet.client import REQUEST
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

PER_LOOK = 2 + REFRESHES_PER_POLL


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


async def request_all(grid: TestGrid, jobs: int) -> None:
    """So many jobs on the chain, asked for without the backend's care, so in a moment."""
    definition: tuple[object, ...] = (1, 100, 1, 1, "script", 4, [], [])
    for number in range(jobs):
        name = f"job-{number}"
        grid.behave(name, Conduct(stays=Status.PENDING))
        arguments = (definition, 100 * CREDIT, name.encode(), False)
        await grid.bank.act(grid.customer, grid.contracts.scheduler, REQUEST, *arguments)


async def looks(grid: TestGrid, count: int) -> None:
    """Wait for so many looks at the chain."""
    start = grid.counts["eth_getLogs"]
    async with asyncio.timeout(20):
        while grid.counts["eth_getLogs"] < start + count:  # noqa: ASYNC110 - a look has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("jobs", "truth"), [(200, 240.0), (40, 0.0)])
async def test_requests_per_look_do_not_grow_with_the_number_of_jobs(
    grid: TestGrid, clients: Clients, jobs: int, truth: float
) -> None:
    backend = await clients.open(
        replace(IMPATIENT, state_refresh=truth, poll=0.25, quiet_period=1.0)
    )
    await request_all(grid, jobs)
    ended: list[LifecycleEvent | LogLine] = []

    async def follow(name: str) -> None:
        handle = await backend.find(name)
        assert handle is not None
        ended.extend([item async for item in backend.follow(handle)])

    following = [asyncio.create_task(follow(f"job-{number}")) for number in range(jobs)]
    try:
        async with asyncio.timeout(40):
            while grid.logger.open_streams < jobs:  # noqa: ASYNC110 - the server's own count
                await asyncio.sleep(0.02)
        await looks(grid, 2)
        grid.counts.clear()
        await looks(grid, 10)
        assert grid.counts.total() <= 12 * PER_LOOK
        # News of one job cost one question more, and reach that job alone.
        handle = await backend.find("job-7")
        assert handle is not None
        await backend.cancel(handle)
        async with asyncio.timeout(20):
            while not ended:  # noqa: ASYNC110 - the follower's own list
                await asyncio.sleep(0.01)
        assert ended == [Cancelled(by=0)]
    finally:
        for task in following:
            task.cancel()
        outcomes = await asyncio.gather(*following, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}


async def test_a_job_that_begins_is_told_by_its_event(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(replace(IMPATIENT, state_refresh=1e6))
    grid.behave("job", Conduct(stays=Status.PENDING))
    handle = await backend.submit(submission("job", backend.upload_url("job"), "slow"))
    stream = backend.follow(handle)
    first = asyncio.ensure_future(anext(stream))
    await looks(grid, 2)
    grid.behave("job", Conduct())
    item = await first
    while isinstance(item, LogLine):
        item = await anext(stream)
    assert item == Started()
    await stream.aclose()  # type: ignore[attr-defined]  # every follow is a generator
