"""Jobs that wait on an unreliable Grid: told of, cancelled without cost, or handed over anew.

The names follow the protocol's table of failures to expect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.errors import Unavailable
from bot.domain.events import (
    Cancelled,
    Exited,
    FailureReason,
    Requeued,
    RowReady,
    Started,
)
from tests.backends.conformance import ending, events
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.steps import QUICK, begin, failure, life, spent
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT, Status
from tests.deepsquare.testnet.sbatch import SbatchFaults
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


async def test_pending_for_long_is_cancelled_without_cost(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(replace(IMPATIENT, pending_warning=0.1, pending=0.3))
    handle = await begin(grid, backend, Conduct(stays=Status.PENDING))
    _, last = await life(backend.follow(handle))
    cause, sentence = failure(last)
    assert cause is FailureReason.UNAVAILABLE
    assert "Nothing was charged" in sentence
    assert "no provider takes the job" in caplog.text
    assert await spent(backend, grid) == 0


async def test_meta_scheduled_until_the_script_is_old_is_resubmitted_as_a_new_job(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(replace(IMPATIENT, claim_warning=0.1, script_renew=1.5))
    handle = await begin(grid, backend, Conduct(stays=Status.META_SCHEDULED))
    stream = backend.follow(handle)
    assert await anext(stream) == Requeued()
    grid.behave("job", Conduct())
    lines, last = await ending(stream)
    assert last == Exited(0)
    assert len([event for event in events(lines) if isinstance(event, RowReady)]) == 3
    first, second = await grid.request_new_jobs()
    assert (first.status, second.status) == (Status.CANCELLED, Status.FINISHED)
    assert first.script != second.script
    assert "supervisor down" in caplog.text
    assert await spent(backend, grid) == Decimal(second.final_cost) / CREDIT


async def test_resubmissions_come_to_an_end(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(replace(IMPATIENT, script_renew=0.2, max_resubmissions=1))
    handle = await begin(grid, backend, Conduct(stays=Status.META_SCHEDULED))
    said, last = await life(backend.follow(handle))
    assert said == [Requeued()]
    assert failure(last)[0] is FailureReason.UNAVAILABLE
    assert len(await grid.request_new_jobs()) == 2
    assert await spent(backend, grid) == 0


async def test_a_resubmission_that_was_cut_off_is_taken_up_by_the_next_process(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(replace(IMPATIENT, script_renew=0.2))
    handle = await begin(grid, backend, Conduct(stays=Status.META_SCHEDULED))
    stream = backend.follow(handle)
    assert await anext(stream) == Requeued()
    await stream.aclose()  # type: ignore[attr-defined]  # every follow is a generator
    grid.behave("job", QUICK)
    again = await clients.open()
    assert await again.find("job") == handle
    assert (await life(again.follow(handle)))[1] == Exited(0)
    assert len(await grid.request_new_jobs()) == 2


async def test_a_resubmission_during_an_outage_is_done_after_it(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(replace(IMPATIENT, script_renew=0.3))
    handle = await begin(grid, backend, Conduct(stays=Status.META_SCHEDULED))
    grid.sbatch.faults = SbatchFaults(status=502)
    with pytest.raises(Unavailable):
        await life(backend.follow(handle))
    grid.sbatch.faults = SbatchFaults()
    grid.behave("job", QUICK)
    assert (await life(backend.follow(handle)))[1] == Exited(0)
    assert len(await grid.request_new_jobs()) == 2


async def test_a_job_that_somebody_stopped_is_not_resubmitted(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(stays=Status.META_SCHEDULED))
    await backend.cancel(handle)
    assert await life(backend.follow(handle)) == ([], Cancelled(by=0))
    assert len(await grid.request_new_jobs()) == 1


@pytest.mark.parametrize(
    "conduct",
    [replace(QUICK, timeouts=2), replace(QUICK, refusals=2)],
    ids=["1 to 0", "2 to 0"],
)
async def test_status_going_back_to_pending_is_waited_out(
    grid: TestGrid, clients: Clients, conduct: Conduct
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, conduct)
    said, last = await life(backend.follow(handle))
    assert [event for event in said if event != Started()] == [Requeued(), Requeued()]
    assert last == Exited(0)


async def test_status_going_back_three_times_is_cancelled_without_cost(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(refusals=10_000))
    lines, last = await ending(backend.follow(handle))
    cause, sentence = failure(last)
    assert cause is FailureReason.UNAVAILABLE
    assert "rejected this job" in sentence
    assert all(b"slurm failed to submit" in line.data for line in lines)
    assert await spent(backend, grid) == 0


async def test_failed_at_claim_with_an_expired_script_is_resubmitted(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(stays=Status.PENDING))
    grid.clock.offset += 3700
    grid.behave("job", QUICK)
    said, last = await life(backend.follow(handle))
    assert Requeued() in said
    assert last == Exited(0)
    first, second = await grid.request_new_jobs()
    assert (first.status, first.final_cost) == (Status.FAILED, 0)
    assert await spent(backend, grid) == Decimal(second.final_cost) / CREDIT
