"""Who refuses what, and why: the wallet, the contract, the operator's ceiling, an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.backends.base import Submission
from bot.backends.deepsquare import DeepSquareBackend
from bot.domain.errors import InsufficientFunds, SubmissionRejected, Unavailable
from bot.domain.events import BackendJobRef
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.steps import until
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import Status
from tests.deepsquare.testnet.rpc import SENDING, RpcFaults
from tests.deepsquare.testnet.site import Setup, TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

WAITING = Conduct(stays=Status.PENDING)
SHORT = replace(IMPATIENT, receipt=0.3)


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


def job(name: str, grid: TestGrid, **changed: Any) -> Submission:
    """A job that waits on the chain until told otherwise."""
    grid.behave(name, WAITING)
    made = submission(name, grid.transfer.url.rstrip("/"))
    return replace(made, workflow=replace(made.workflow, **changed))


async def requests(grid: TestGrid) -> list[str]:
    """The names of all jobs that were ever requested."""
    return [each.name for each in await grid.request_new_jobs()]


async def test_cancel_job_is_repeated_until_it_is_over(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(SHORT)
    handle = await backend.submit(job("unwanted", grid))
    await grid.hold_blocks()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await backend.cancel(handle)
    await grid.release_blocks()
    await backend.cancel(handle)
    await backend.cancel(handle)
    assert (await grid.job("unwanted")).status is Status.CANCELLED
    settled = await backend.final_cost(handle)
    assert settled is not None
    assert (settled.cost, settled.refund) == (Decimal(0), Decimal(500))


async def test_a_wallet_that_lacks_something_says_what(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open()
    bank = grid.bank
    await bank.approve(grid.customer, 499)
    with pytest.raises(InsufficientFunds, match="may draw 499 credits"):
        await backend.submit(job("poor", grid))
    await backend.approve(Decimal(500))
    await bank.set_square(grid.customer, 0)
    with pytest.raises(InsufficientFunds, match="holds 0 of the chain's own coin"):
        await backend.submit(job("poor", grid))
    await bank.set_square(grid.customer, 1)
    assert await backend.find("poor") is None
    assert list(backend.records()) == []
    assert await requests(grid) == []
    assert await backend.submit(job("poor", grid)) == BackendJobRef("deepsquare", "poor")


@pytest.mark.parametrize("setup", [Setup()])
async def test_a_request_that_is_refused_when_it_is_mined_says_why(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await grid.bank.approve(grid.customer, 900)
    await grid.hold_blocks()
    works = [job(name, grid) for name in ("first", "second")]
    sending = asyncio.gather(*map(backend.submit, works), return_exceptions=True)
    await until(lambda: grid.counts[SENDING] >= 2)
    await grid.release_blocks()
    outcomes = await sending
    assert sorted(type(each).__name__ for each in outcomes) == [
        "BackendJobRef",
        "InsufficientFunds",
    ]
    refused = works[outcomes.index(next(e for e in outcomes if isinstance(e, InsufficientFunds)))]
    assert "allowance" in str(next(e for e in outcomes if isinstance(e, InsufficientFunds)))
    assert await backend.find(refused.job_id) is None
    assert len(await requests(grid)) == 1
    await backend.approve(Decimal(500))
    await backend.submit(refused)
    assert len(await requests(grid)) == 2


async def test_a_job_that_would_say_nothing_or_costs_too_much_is_refused(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(max_credits_per_job=Decimal(50))
    with pytest.raises(SubmissionRejected, match="enableLogging"):
        await backend.submit(job("mute", grid, enable_logging=False))
    with pytest.raises(SubmissionRejected, match="max_credits_per_job allows 50"):
        await backend.submit(job("dear", grid))
    picky = await clients.open(uses=(("os", "plan9"),))
    with pytest.raises(SubmissionRejected, match="labels"):
        await picky.submit(job("picky", grid))
    assert await requests(grid) == []


async def test_a_retired_contract_stops_all_submissions_and_is_told_to_the_operator(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await grid.retire()
    with pytest.raises(Unavailable, match="meta_scheduler"):
        await backend.submit(job("late", grid))
    health = await backend.health()
    assert not health.ok
    assert "retired" in health.detail
    assert await requests(grid) == []


async def test_nothing_is_signed_for_another_chain(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(chain_id=1)
    with pytest.raises(Unavailable, match="chain_id says 1"):
        await backend.submit(job("elsewhere", grid))
    assert not (await backend.health()).ok
    assert grid.counts[SENDING] == 0


async def test_a_contract_that_is_none_is_named(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(meta_scheduler=grid.customer.address)
    with pytest.raises(Unavailable, match="no contract"):
        await backend.submit(job("nowhere", grid))


async def test_an_endpoint_that_is_away_fails_nothing_for_good(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    work = job("patient", grid)
    for fault in (
        RpcFaults(status=502),
        RpcFaults(refused=frozenset({"*"})),
        RpcFaults(refused=frozenset({"eth_estimateGas"})),
    ):
        grid.rpc.faults = fault
        with pytest.raises(Unavailable):
            await backend.submit(work)
    grid.rpc.faults = RpcFaults()
    await grid.rpc.service.stop()
    with pytest.raises(Unavailable):
        await backend.submit(work)
    assert not (await backend.health()).ok
    await grid.rpc.service.start()
    assert (await backend.health()).ok
    await backend.submit(work)
    assert await requests(grid) == ["patient"]


async def test_past_run_times_size_the_next_lock(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open()
    quick = Conduct(runs=False)
    for name in ("one", "two", "three"):
        grid.behave(name, quick)
        handle = await backend.submit(submission(name, grid.transfer.url.rstrip("/")))
        await grid.reached(name, Status.FINISHED)
        assert await backend.final_cost(handle) is not None
    priced = await backend.price(submission("four", grid.transfer.url.rstrip("/")).workflow)
    assert priced.credits == 100
    # Also a new process knows them.
    again: DeepSquareBackend = await clients.open()
    priced = await again.price(submission("four", grid.transfer.url.rstrip("/")).workflow)
    assert priced.credits == 100
