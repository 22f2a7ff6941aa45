"""Jobs on an unreliable Grid, against the test grid: each symptom ends in the right state.

The names follow the protocol's table of failures to expect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bot.backends.base import LifecycleEvent, LogLine
from bot.domain.events import (
    BackendJobRef,
    Cancelled,
    Exited,
    FailureReason,
    FundsExhausted,
    Requeued,
    RowReady,
    Started,
)
from tests.backends.conformance import ending, events
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.steps import IDLE, QUICK, begin, failure, life, spent, until
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT, Status
from tests.deepsquare.testnet.logger import LoggerFaults
from tests.deepsquare.testnet.site import Setup, TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


async def test_failed_with_logs_tells_the_exit_status_and_is_paid(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(), "dying")
    lines, last = await ending(backend.follow(handle))
    assert last == Exited(3, "exit status 3")
    assert lines[-1].data == b"---\n"
    assert await spent(backend, grid) > 0


@pytest.mark.parametrize(
    ("conduct", "last"),
    [
        (replace(QUICK, ends_as=Status.FINISHED, exit_code=0), Exited(0)),
        (
            replace(QUICK, ends_as=Status.FINISHED, exit_code=137 << 8),
            Exited(137, "the job was killed, exit status 137"),
        ),
    ],
    ids=["no link", "exit status"],
)
async def test_finished_without_link_or_with_an_exit_status_is_no_success_by_itself(
    grid: TestGrid, clients: Clients, conduct: Conduct, last: LifecycleEvent
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, conduct)
    lines, ended = await ending(backend.follow(handle))
    assert ended == last
    assert not [event for event in events(lines) if isinstance(event, RowReady)]


@pytest.mark.parametrize("setup", [Setup(speed=6000)])
async def test_out_of_credits_is_told_with_what_was_made_until_then(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(lock_credits=Decimal(100))
    handle = await begin(grid, backend, IDLE)
    _, last = await life(backend.follow(handle))
    assert last == FundsExhausted()
    assert "raise [backend.deepsquare] lock_credits" in caplog.text
    assert await spent(backend, grid) > 80


async def test_panicked_is_told_as_lost(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(lost_after=3), "slow")
    _, last = await ending(backend.follow(handle))
    assert failure(last) == (FailureReason.DIED, "The provider lost this job. Try again.")
    assert await spent(backend, grid) > 0


async def test_panicked_by_an_administrator_is_refunded_and_tried_again(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, IDLE)
    job = await grid.reached("job", Status.RUNNING)
    grid.behave("job", QUICK)
    await grid.panic(job, "maintenance")
    said, last = await life(backend.follow(handle))
    assert Requeued() in said
    assert last == Exited(0)
    assert len(await grid.request_new_jobs()) == 2


async def test_no_log_at_all_while_running_still_ends_by_the_chain(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(replace(IMPATIENT, log_silence=0.05))
    handle = await begin(grid, backend, Conduct(silent=True))
    said, last = await life(backend.follow(handle))
    assert (said, last) == ([Started()], Exited(0))
    assert "its log is silent" in caplog.text


async def test_a_logger_that_is_down_for_minutes_costs_no_line(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await grid.logger.stop()
    handle = await begin(grid, backend, Conduct())
    stream = backend.follow(handle)
    assert await anext(stream) == Started()
    await grid.reached("job", Status.FINISHED)
    await grid.logger.start()
    lines, last = await ending(stream)
    assert len([event for event in events(lines) if isinstance(event, RowReady)]) == 3
    assert last == Exited(0)


async def test_a_logger_that_never_comes_back_does_not_hold_a_finished_job(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(replace(IMPATIENT, logger_outage=0.3))
    await grid.logger.stop()
    handle = await begin(grid, backend, QUICK)
    assert (await life(backend.follow(handle)))[1] == Exited(0)


async def test_a_log_stream_that_breaks_all_the_time_loses_and_repeats_nothing(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct())
    await grid.reached("job", Status.FINISHED)
    whole, _ = await ending(backend.follow(handle))
    for count in range(1, len(whole)):
        grid.logger.faults = LoggerFaults(drop_after=count)
        stream = backend.follow(handle)
        lines = [await anext(stream) for _ in range(count)]
        grid.logger.faults = LoggerFaults()
        rest, last = await ending(stream)
        assert lines + list(rest) == whole
        assert last == Exited(0)


async def test_a_chain_that_is_down_for_minutes_leaves_the_log_running(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(), "slow")
    stream = backend.follow(handle)
    while not isinstance(item := await anext(stream), LogLine):
        assert item == Started()
    await grid.rpc.service.stop()
    await until(lambda: "the chain is unavailable" in caplog.text)
    grid.logger.write(grid.customer.address, (await grid.job("job")).job_id, b"still here")
    while not (isinstance(item := await anext(stream), LogLine) and b"still" in item.data):
        pass
    await grid.rpc.service.start()
    await backend.cancel(handle)
    assert (await ending(stream))[1] == Cancelled(by=0)
    assert "the chain is available again" in caplog.text


async def test_a_provider_that_vanishes_is_cancelled_and_at_last_given_up(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    moved = timedelta()

    def now() -> datetime:
        return datetime.now(UTC) + moved

    timeouts = replace(IMPATIENT, cancel=300.0, overdue=600.0, lost=900.0)
    backend = await clients.open(timeouts, now=now)
    handle = await begin(grid, backend, Conduct(vanishes_after=3, ignores_cancel=True), "slow")
    stream = backend.follow(handle)
    async for item in stream:
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    moved = timedelta(minutes=30)
    reading = asyncio.ensure_future(life(stream))
    await until(lambda: "longer than was paid for" in caplog.text)
    await until(lambda: grid.counts["eth_sendRawTransaction"] >= 2)
    moved = timedelta(hours=9)
    assert failure((await reading)[1])[0] is FailureReason.DIED
    assert (await grid.job("job")).cancel_requested


async def test_a_cancel_that_the_provider_ignores_is_sent_again(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(replace(IMPATIENT, cancel=0.2))
    handle = await begin(grid, backend, replace(IDLE, ignores_cancel=True))
    await grid.reached("job", Status.RUNNING)
    await backend.cancel(handle)
    reading = asyncio.ensure_future(life(backend.follow(handle)))
    await until(lambda: "cancelling again" in caplog.text)
    await until(lambda: grid.counts["eth_sendRawTransaction"] >= 3)
    grid.behave("job", IDLE)
    assert (await reading)[1] == Cancelled(by=0)


async def test_a_reorganised_chain_is_followed_like_any_other(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, IDLE)
    stream = backend.follow(handle)
    assert await anext(stream) == Started()
    await grid.reorganise(2)  # it was never claimed
    await grid.reached("job", Status.RUNNING)
    await backend.cancel(handle)
    assert (await life(stream))[1] == Cancelled(by=0)


async def test_a_request_that_is_reorganised_away_is_looked_for_and_at_last_given_up(
    grid: TestGrid, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await clients.open(replace(IMPATIENT, state_refresh=0.05, outage=0.05, lost=0.3))
    handle = await begin(grid, backend, Conduct(stays=Status.PENDING))
    stream = backend.follow(handle)
    reading = asyncio.ensure_future(life(stream))
    await until(lambda: grid.counts["eth_getLogs"] >= 3)
    await grid.reorganise(1)
    assert failure((await reading)[1])[0] is FailureReason.DIED
    assert "gone from the chain" in caplog.text


async def test_an_enable_request_new_job_that_is_false_stops_new_jobs_and_not_the_running_one(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, Conduct(stays=Status.PENDING))
    await grid.retire()
    grid.behave("job", QUICK)
    assert (await life(backend.follow(handle)))[1] == Exited(0)
    assert not (await backend.health()).ok


async def test_what_is_kept_of_a_settled_job_holds_no_word_of_the_member(
    grid: TestGrid, clients: Clients, tmp_path: Path
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, QUICK)
    kept = list(tmp_path.rglob("job.json"))
    assert "MAC_KEY" in kept[0].read_text()
    await life(backend.follow(handle))
    assert await backend.final_cost(handle) == await backend.final_cost(handle)
    assert "MAC_KEY" not in kept[0].read_text()
    assert logging.getLogger("bot.backends.deepsquare").level == logging.NOTSET


async def test_a_settlement_names_cost_refund_and_the_grids_job(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    handle = await begin(grid, backend, QUICK)
    settled = await backend.final_cost(handle)
    job = await grid.job("job")
    assert settled is not None
    assert settled.cost == Decimal(job.final_cost) / CREDIT > 0
    assert settled.refund == 500 - settled.cost
    assert settled.detail.startswith(f"Grid job {int(job.job_id, 16)}: ")
    assert await backend.final_cost(BackendJobRef("deepsquare", "unknown")) is None
