"""Steps that tests of the backend on the test grid share: hand a job over, follow it, ask why.

They know the grid's switches and nothing of what a test is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

from bot.backends.base import LifecycleEvent, LogLine
from bot.backends.deepsquare import DeepSquareBackend
from bot.domain.events import BackendJobRef, Failed, FailureReason
from tests.backends.jobs import submission
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT
from tests.deepsquare.testnet.site import TestGrid

QUICK = Conduct(runs=False)
IDLE = Conduct(runs=False, instantly=False)


async def begin(
    grid: TestGrid, backend: DeepSquareBackend, conduct: Conduct, kind: str = "quick"
) -> BackendJobRef:
    """Hand the job ``job`` over; the Grid treats it so."""
    grid.behave("job", conduct)
    return await backend.submit(submission("job", backend.upload_url("job"), kind))


async def life(
    stream: AsyncIterator[LogLine | LifecycleEvent],
) -> tuple[list[LifecycleEvent], LifecycleEvent]:
    """What a stream says of the job's life, and how it ends."""
    said = [item async for item in stream if not isinstance(item, LogLine)]
    return said[:-1], said[-1]


def failure(last: LifecycleEvent) -> tuple[FailureReason, str]:
    assert isinstance(last, Failed), last
    return last.cause, last.message


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - it is another program's doing
            await asyncio.sleep(0.01)


async def spent(backend: DeepSquareBackend, grid: TestGrid) -> Decimal:
    """What the job cost; every lock must be accounted for."""
    settled = await backend.final_cost(BackendJobRef("deepsquare", "job"))
    assert settled is not None
    assert await grid.bank.unaccounted() == 0
    locked = sum(job.max_cost for job in await grid.request_new_jobs())
    assert (settled.cost + settled.refund) * CREDIT == locked
    return settled.cost
