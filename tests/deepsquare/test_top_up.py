"""A job that nears the end of its paid minutes is paid for once, whatever breaks in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.backends.base import Extendable
from bot.backends.deepsquare import DeepSquareBackend
from bot.backends.deepsquare.abi import TOP_UP_JOB
from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.pricing import LockLimits, top_up_target
from bot.backends.deepsquare.state_store import StateStore
from bot.domain.errors import InsufficientFunds, SubmissionRejected, Unavailable
from bot.domain.events import BackendJobRef
from bot.domain.events import FundsExhausted as RanOut
from tests.backends.conformance import ending
from tests.deepsquare.clients import IMPATIENT, Clients, grid_options
from tests.deepsquare.steps import IDLE, begin, spent, until
from tests.deepsquare.testnet.chain import CREDIT, Status
from tests.deepsquare.testnet.rpc import RpcFaults
from tests.deepsquare.testnet.site import Setup, TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

SHORT = replace(IMPATIENT, receipt=0.3)


class Shifted:
    """The present, moved on by ``by``."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.by


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


async def top_ups(grid: TestGrid) -> int:
    """How many transactions for a top-up are on the chain."""
    address = grid.customer.address.lower()
    head = await grid.chain.block_number()
    found = 0
    for number in range(head + 1):
        block = await grid.chain.rpc("eth_getBlockByNumber", hex(number), True)
        found += sum(
            each["from"].lower() == address and each["input"].startswith("0x2fecc4f6")
            for each in block["transactions"]
        )
    return found


async def running(grid: TestGrid, backend: DeepSquareBackend) -> BackendJobRef:
    handle = await begin(grid, backend, IDLE)
    await grid.reached("job", Status.RUNNING)
    return handle


BOUNDS = LockLimits(minimum=0, default=500, maximum=1000)


@pytest.mark.parametrize(
    ("lock", "per_minute", "ran", "total"),
    [
        (500, 50, 0.0, None),  # ten minutes: a third is 3.3
        (500, 50, 6.6, None),
        (500, 50, 6.7, 1000),
        (500, 50, 12.0, 1000),
        (600, 50, 8.1, 1000),  # no further than the ceiling
        (960, 50, 19.0, None),  # what the ceiling leaves buys less than a minute
        (1000, 50, 19.9, None),
        (100, 85, 0.0, 600),  # it bought a single minute
        (5000, 10, 494.0, None),
        (100, 1, 94.0, None),
        (100, 1, 95.0, 600),  # never more than five minutes before
    ],
)
def test_a_lock_is_topped_up_when_its_minutes_run_out_within_the_ceiling(
    lock: int, per_minute: int, ran: float, total: int | None
) -> None:
    assert top_up_target(lock, per_minute, BOUNDS, ran) == total


async def test_only_a_running_job_whose_minutes_run_out_should_have_more(
    grid: TestGrid, clients: Clients
) -> None:
    now = Shifted()
    backend = await clients.open(now=now)
    assert isinstance(backend, Extendable)
    assert await backend.extension(BackendJobRef("deepsquare", "job")) is None
    handle = await running(grid, backend)
    assert await backend.extension(handle) is None
    now.by = timedelta(minutes=60)
    assert await backend.extension(handle) == 1000
    await backend.cancel(handle)
    assert await backend.extension(handle) is None
    await grid.reached("job", Status.CANCELLED)
    assert await backend.extension(handle) is None
    with pytest.raises(SubmissionRejected):
        await backend.extend(handle, Decimal("1000.1"))
    await backend.extend(handle, Decimal(1000))  # nobody wants it any more: nothing is paid
    assert await top_ups(grid) == 0


async def test_a_top_up_is_never_repeated(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open(SHORT)
    handle = await running(grid, backend)
    await grid.hold_blocks()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await backend.extend(handle, Decimal(600))
        assert await backend.extension(handle) == 600
    await grid.release_blocks()
    for _ in range(3):
        await backend.extend(handle, Decimal(600))
    assert (await grid.job("job")).max_cost == 600 * CREDIT
    assert await top_ups(grid) == 1
    await asyncio.gather(*(backend.extend(handle, Decimal(700)) for _ in range(3)))
    assert (await grid.job("job")).max_cost == 700 * CREDIT
    assert await top_ups(grid) == 2
    await backend.cancel(handle)
    await grid.reached("job", Status.CANCELLED)
    assert await spent(backend, grid) > 0
    assert backend.pending_transactions() == ()


class Killed(BaseException):
    """The process ends here."""


class Mortal(StateStore):
    """A journal whose process ends at moment ``fatal``: two for each write, from 0."""

    fatal = -1
    moments = 0

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        self._at_risk(lambda: super(Mortal, self)._write(file, document))

    def _remove(self, file: Path) -> None:
        self._at_risk(lambda: super(Mortal, self)._remove(file))

    def _at_risk(self, act: Callable[[], None]) -> None:
        self._pass()
        act()
        self._pass()

    def _pass(self) -> None:
        if self.moments == self.fatal:
            raise Killed
        self.moments += 1


async def test_killed_before_and_after_each_record_a_job_is_topped_up_once(
    grid: TestGrid, clients: Clients, tmp_path: Path
) -> None:
    backend = await clients.open()
    handle = await running(grid, backend)
    lock, fatal, over = 500, 0, False
    while not over:
        lock += 10
        chosen = DeepSquareOptions.from_mapping(grid_options(grid, tmp_path / "data"))
        store = Mortal(chosen.folder)
        store.fatal = fatal
        dying = DeepSquareBackend(chosen, store, [])
        try:
            await dying.extend(handle, Decimal(lock))
            over = True
        except Killed:
            pass
        await dying.aclose()
        again = await clients.open()
        wanted = await again.extension(handle)
        assert wanted in (None, lock)
        await again.extend(handle, Decimal(lock))
        assert (await grid.job("job")).max_cost == lock * CREDIT
        assert await top_ups(grid) == fatal + 1
        assert again.pending_transactions() == ()
        (record,) = again.records()
        assert record.attempts[0].lock == lock * CREDIT
        assert record.attempts[0].lock_target == 0
        fatal += 1
    # The target, the transaction, what it came to, the forgotten transaction.
    assert fatal - 1 == 8


@pytest.mark.parametrize("fault", ["credits", "allowance", "coins", "endpoint"])
async def test_a_top_up_that_cannot_be_paid_leaves_the_job_as_it_was(
    grid: TestGrid, clients: Clients, fault: str
) -> None:
    backend = await clients.open(SHORT)
    handle = await running(grid, backend)
    if fault == "credits":
        reckless = await clients.open(max_credits_per_job=Decimal(10**9))
        with pytest.raises(InsufficientFunds):
            await reckless.extend(handle, Decimal(10**9))
    elif fault == "allowance":
        await grid.bank.approve(grid.customer, 50)
        with pytest.raises(InsufficientFunds, match="may draw 50"):
            await backend.extend(handle, Decimal(600))
        await grid.bank.approve(grid.customer, 5000)
    elif fault == "coins":
        await grid.bank.set_square(grid.customer, 0)
        with pytest.raises(InsufficientFunds, match="own coin"):
            await backend.extend(handle, Decimal(600))
        await grid.bank.set_square(grid.customer, 1)
    else:
        grid.rpc.faults = RpcFaults(refused=frozenset({"*"}))
        with pytest.raises(Unavailable):
            await backend.extend(handle, Decimal(600))
        grid.rpc.faults = RpcFaults()
    assert (await grid.job("job")).max_cost == 500 * CREDIT
    assert backend.pending_transactions() == ()
    await backend.extend(handle, Decimal(600))
    assert (await grid.job("job")).max_cost == 600 * CREDIT
    assert await top_ups(grid) == 1


@pytest.mark.parametrize("setup", [Setup(speed=60)])
@pytest.mark.parametrize("paid", [True, False])
async def test_the_provider_lets_a_job_run_on_that_was_topped_up(
    grid: TestGrid, clients: Clients, paid: bool
) -> None:
    backend = await clients.open(lock_credits=Decimal(150))
    handle = await running(grid, backend)
    before = grid.operation.supervisors[0].runs[(await grid.job("job")).job_id].minutes
    if paid:
        await backend.extend(handle, Decimal(1000))
        job = await grid.job("job")
        runs = grid.operation.supervisors[0].runs
        await until(lambda: runs[job.job_id].minutes > before)
    _, last = await ending(backend.follow(handle))
    assert last == RanOut()  # it idles until its limit, which is the later one if paid
    assert await spent(backend, grid) > (150 if paid else 0)


async def test_a_journal_of_before_top_ups_is_read(
    grid: TestGrid, clients: Clients, tmp_path: Path
) -> None:
    backend = await clients.open()
    handle = await running(grid, backend)
    (file,) = tmp_path.rglob("jobs/job.json")
    file.write_text(file.read_text().replace(', "lock_target": 0', ""))
    assert "lock_target" not in file.read_text()
    assert await backend.extension(handle) is None
    await backend.extend(handle, Decimal(600))
    assert (await grid.job("job")).max_cost == 600 * CREDIT
    assert TOP_UP_JOB.encode_call(bytes(32), 1).hex().startswith("2fecc4f6")
