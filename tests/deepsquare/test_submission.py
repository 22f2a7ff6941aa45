"""Handing over: one request for one job, whatever is lost on the way, and who refuses what.

The names follow the rules for repeating (section by section of the protocol's retry table).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from bot.backends.base import Submission
from bot.backends.deepsquare.state import Purpose
from bot.domain.errors import SubmissionRejected, Unavailable
from bot.domain.events import BackendJobRef, Exited
from tests.backends.conformance import ending
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT, Clients
from tests.deepsquare.testnet.anvil import CHAIN_ID
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT, Status
from tests.deepsquare.testnet.rpc import SENDING, RpcFaults
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

WAITING = Conduct(stays=Status.PENDING)
SHORT = replace(IMPATIENT, receipt=0.3)
# The test node does not mine what had waited for a lower nonce until something new comes.
RAISING = replace(IMPATIENT, fee_bump_after=0.5)


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


async def count(grid: TestGrid, block: str = "latest") -> int:
    """How many transactions of the customer are mined."""
    address = grid.customer.address
    return int(await grid.chain.rpc("eth_getTransactionCount", address, block), 16)


async def test_a_job_is_on_the_chain_as_it_was_asked_for(grid: TestGrid, clients: Clients) -> None:
    uses, affinity = (("os", "linux"),), (("gpu", "in", "nvidia"),)
    backend = await clients.open(uses=uses, affinity=affinity)
    work = job("ours", grid)
    assert await backend.find("ours") is None
    assert (await backend.price(work.workflow)).credits == Decimal(500)
    handle = await backend.submit(work)
    assert handle == BackendJobRef("deepsquare", "ours") == await backend.find("ours")
    (found,) = await grid.request_new_jobs()
    assert (found.name, found.customer) == ("ours", grid.customer.address)
    assert (found.tasks, found.cpus_per_task, found.mem_per_cpu, found.gpus) == (3, 1, 100, 3)
    assert (found.uses, found.affinity) == (uses, (("gpu", "nvidia", "in"),))
    assert (found.max_cost, found.delegate, found.storage_type) == (500 * CREDIT, False, 4)
    assert grid.sbatch.fetch(found.script) == work.workflow.to_dict()


async def test_send_raw_transaction_is_repeated_with_the_same_bytes_only(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    before = await count(grid)
    # One request is lost on its way there, one answer on its way back.
    grid.rpc.faults = RpcFaults(unsent=Counter({SENDING: 1}))
    await backend.submit(job("unsent", grid))
    grid.rpc.faults = RpcFaults(lost=Counter({SENDING: 1}))
    await backend.submit(job("unheard", grid))
    assert await requests(grid) == ["unsent", "unheard"]
    assert await count(grid) == before + 2


async def test_reads_are_repeated(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open()
    reads = ("eth_call", "eth_chainId", "eth_getTransactionReceipt", "eth_getTransactionCount")
    grid.rpc.faults = RpcFaults(lost=Counter(dict.fromkeys(reads, 1)))
    await backend.submit(job("patient", grid))
    assert await requests(grid) == ["patient"]


async def test_a_submission_that_takes_too_long_is_found_later_and_not_repeated(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(SHORT)
    work = job("slow", grid)
    await grid.hold_blocks()
    for _ in range(2):
        with pytest.raises(Unavailable, match="not mined"):
            await backend.submit(work)
        with pytest.raises(Unavailable):
            await backend.find("slow")
    await grid.release_blocks()
    again = await clients.open()
    assert (
        await again.find("slow") == BackendJobRef("deepsquare", "slow") == await again.submit(work)
    )
    assert await requests(grid) == ["slow"]


async def test_a_request_with_an_old_script_is_replaced_on_the_same_nonce(
    grid: TestGrid, clients: Clients
) -> None:
    timeouts = replace(SHORT, script_resend=0.1, rebroadcast=0.05)
    backend = await clients.open(timeouts)
    work = job("stale", grid)
    before = await count(grid)
    await grid.hold_blocks()
    with pytest.raises(Unavailable):
        await backend.submit(work)
    assert grid.sbatch.submits >= 2
    await grid.release_blocks()
    await backend.find("stale")
    (found,) = await grid.request_new_jobs()
    assert await count(grid) == before + 1
    # The dearest is mined: the one with the newest script.
    assert grid.sbatch.fetch(found.script) == work.workflow.to_dict()
    record = next(iter(backend.records()))
    assert record.attempts[-1].script == found.script


async def test_a_request_that_is_not_mined_is_offered_at_a_better_price(
    grid: TestGrid, clients: Clients
) -> None:
    timeouts = replace(SHORT, fee_bump_after=0.1, rebroadcast=0.05)
    backend = await clients.open(timeouts)
    before = await count(grid)
    await grid.hold_blocks()
    with pytest.raises(Unavailable):
        await backend.submit(job("cheap", grid))
    assert grid.sbatch.submits == 1
    assert grid.counts[SENDING] >= 2
    await grid.release_blocks()
    await backend.find("cheap")
    assert await requests(grid) == ["cheap"]
    assert await count(grid) == before + 1


async def test_a_nonce_that_another_program_used_is_noticed_and_the_job_sent_anew(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(replace(SHORT, rebroadcast=9.0))
    work = job("robbed", grid)
    grid.rpc.faults = RpcFaults(unsent=Counter({SENDING: 1}))
    with pytest.raises(Unavailable):
        await backend.submit(work)
    await foreign_transaction(grid, await count(grid))
    assert await backend.find("robbed") is None
    await backend.submit(work)
    assert await requests(grid) == ["robbed"]


async def foreign_transaction(grid: TestGrid, nonce: int) -> None:
    """What another program with the same key sends."""
    signed = Account.from_key(grid.customer.key).sign_transaction(
        {
            "chainId": CHAIN_ID,
            "nonce": nonce,
            "gasPrice": 10**11,
            "gas": 21_000,
            "to": grid.customer.address,
            "value": 0,
        }
    )
    await grid.chain.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())


async def test_a_lost_transaction_of_a_dead_process_does_not_hold_up_the_others(
    grid: TestGrid, clients: Clients
) -> None:
    dead = await clients.open(replace(SHORT, rebroadcast=9.0))
    grid.rpc.faults = RpcFaults(unsent=Counter({SENDING: 1}))
    with pytest.raises(Unavailable):
        await dead.submit(job("dead", grid))
    alive = await clients.open(RAISING)
    await alive.submit(job("alive", grid))
    assert await requests(grid) == ["dead", "alive"]
    assert await alive.find("dead") == BackendJobRef("deepsquare", "dead")


async def test_an_abandoned_request_with_an_old_script_is_voided_and_its_job_sent_anew(
    grid: TestGrid, clients: Clients
) -> None:
    timeouts = replace(SHORT, rebroadcast=9.0)
    dead = await clients.open(timeouts)
    work = job("abandoned", grid)
    grid.rpc.faults = RpcFaults(unsent=Counter({SENDING: 1}))
    with pytest.raises(Unavailable):
        await dead.submit(work)
    alive = await clients.open(replace(IMPATIENT, script_resend=1.0))
    await asyncio.sleep(1.0)  # the script's age is told by the clock
    await alive.submit(job("next", grid))
    assert await requests(grid) == ["next"]
    assert await alive.find("abandoned") is None
    await alive.submit(work)
    assert await requests(grid) == ["next", "abandoned"]


async def test_a_hole_in_the_nonces_is_filled(
    grid: TestGrid, clients: Clients, tmp_path: Path
) -> None:
    backend = await clients.open(SHORT)
    dead = await clients.open(replace(SHORT, rebroadcast=9.0))
    grid.rpc.faults = RpcFaults(unsent=Counter({SENDING: 1}))
    with pytest.raises(Unavailable):
        await dead.submit(job("forgotten", grid))
    slot = backend.pending_transactions()[0]
    assert slot.purpose is Purpose.REQUEST
    # The next one takes its place behind it; then the first one's file is lost.
    await grid.hold_blocks()
    with pytest.raises(Unavailable):
        await backend.submit(job("behind", grid))
    for file in tmp_path.rglob(f"{slot.nonce:012d}.json"):
        file.unlink()
    await grid.chain.rpc("anvil_dropAllTransactions")
    await grid.release_blocks()
    patient = await clients.open(RAISING)
    assert await patient.find("behind") == BackendJobRef("deepsquare", "behind")
    assert await requests(grid) == ["behind"]


async def test_a_job_is_found_by_its_name_when_our_own_records_are_lost(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open(folder="lost")
    work = job("known", grid)
    await backend.submit(work)
    empty = await clients.open(folder="empty")
    assert await empty.find("unknown") is None
    assert await empty.find("known") == BackendJobRef("deepsquare", "known")
    # A job that is followed after the loss is found in the same way.
    later = await clients.open(folder="later")
    grid.behave("known", Conduct())
    assert (await ending(later.follow(BackendJobRef("deepsquare", "known"))))[1] == Exited(0)
    with pytest.raises(SubmissionRejected, match="never submitted"):
        await anext(later.follow(BackendJobRef("deepsquare", "unknown")))
    _, last = await ending(empty.follow(BackendJobRef("deepsquare", "known")))
    assert last == Exited(0)
    assert await requests(grid) == ["known"]
