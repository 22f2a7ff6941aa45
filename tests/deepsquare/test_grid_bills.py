"""The contracts at work: what a job costs in the end, and where the money goes."""

from __future__ import annotations

import pytest

from tests.deepsquare.testnet.chain import CREDIT, Reverted, Status
from tests.deepsquare.testnet.scheduler_service import ManualOperation, key, selector, topics

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)


@pytest.mark.parametrize(
    ("seconds", "reported", "cost"),
    [(304, 5, 42440), (62, 16, 100_000), (62, 17, 8488), (62, 0, 8488), (0, 1, 8488)],
)
async def test_the_bill_is_that_of_the_vectors(
    submitter: ManualOperation, seconds: int, reported: int, cost: int
) -> None:
    job = await submitter.request()
    before = await submitter.grid.bank.balance(submitter.grid.customer.address)
    await submitter.run(job)
    await submitter.chain.rpc("evm_increaseTime", seconds)
    receipt = await submitter.report(job, Status.FINISHED, reported)
    final = cost * CREDIT // 100
    ended = await submitter.again(job)
    assert (ended.status, ended.final_cost) == (Status.FINISHED, final)
    assert await submitter.grid.bank.balance(submitter.provider) == final * 80 // 100
    assert await submitter.grid.bank.balance(submitter.contracts.scheduler) == final * 20 // 100
    after = await submitter.grid.bank.balance(submitter.grid.customer.address)
    assert after - before == 1000 * CREDIT - final
    assert await submitter.grid.bank.unaccounted() == 0
    seen = topics(receipt)
    assert seen[-1] == "0bba917f"
    assert ("17e65314" in seen) is (reported == 17)
    transfers = 1 if final == 1000 * CREDIT else 2
    assert seen[-1 - transfers : -1] == ["ddf252ad"] * transfers


@pytest.mark.parametrize(
    ("lock", "minutes"), [(1000 * CREDIT, 11), (100 * CREDIT, 1), (849 * CREDIT, 10)]
)
async def test_a_claim_says_how_many_minutes_the_lock_buys(
    submitter: ManualOperation, lock: int, minutes: int
) -> None:
    job = await submitter.request(lock)
    await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    receipt = await submitter.serve("claimNextJob()")
    logs = receipt["logs"]
    assert isinstance(logs, list)
    claim = next(entry for entry in logs if entry["topics"][0][2:10] == "c8d7c7c2")
    assert int(claim["data"][2 + 3 * 64 : 2 + 4 * 64], 16) == minutes


async def test_a_job_that_fails_before_it_ran_costs_nothing(submitter: ManualOperation) -> None:
    job = await submitter.request()
    await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    await submitter.serve("claimNextJob()")
    await submitter.report(job, Status.FAILED)
    ended = await submitter.again(job)
    assert (ended.status, ended.final_cost) == (Status.FAILED, 0)
    assert ended.started == ended.ended
    assert await submitter.grid.bank.unaccounted() == 0


async def test_a_panic_is_refunded_in_full(submitter: ManualOperation) -> None:
    job = await submitter.request()
    await submitter.run(job)
    await submitter.serve("panicJob(bytes32,string)", key(job), "maintenance")
    ended = await submitter.again(job)
    assert (ended.status, ended.final_cost) == (Status.PANICKED, 0)
    assert ended.last_error == "maintenance"
    assert await submitter.grid.bank.balance(submitter.grid.customer.address) == 100_000 * CREDIT


async def test_a_top_up_raises_the_lock_and_the_rest_is_refunded(
    submitter: ManualOperation,
) -> None:
    job = await submitter.request(100 * CREDIT)
    await submitter.run(job)
    await submitter.customer("topUpJob(bytes32,uint256)", key(job), 100 * CREDIT)
    topped = await submitter.again(job)
    assert (topped.max_cost, topped.pending_top_up) == (200 * CREDIT, 100 * CREDIT)
    assert topics(await submitter.serve("claimNextTopUpJob()")) == ["a42f2b4a"]
    assert (await submitter.again(job)).pending_top_up == 0
    await submitter.report(job, Status.FINISHED, 2)
    assert (await submitter.again(job)).final_cost == 16976 * CREDIT // 100
    assert await submitter.grid.bank.unaccounted() == 0


async def test_only_an_authority_lets_others_top_up(submitter: ManualOperation) -> None:
    job = await submitter.request()
    await submitter.run(job)
    to, signature = submitter.contracts.scheduler, "topUpJobDelegate(bytes32)"
    with pytest.raises(Reverted) as denied:
        await submitter.chain.attempt(submitter.provider, to, signature, key(job))
    assert denied.value.data == selector("NoSpendingAuthority()")
    await submitter.customer("setDelegateSpendingAuthority(bytes32,bool)", key(job), True)
    await submitter.serve(signature, key(job))
    topped = await submitter.again(job)
    assert topped.max_cost == 1000 * CREDIT + 30 * 8488 * CREDIT // 100
    with pytest.raises(Reverted) as early:
        await submitter.chain.attempt(submitter.provider, to, signature, key(job))
    assert early.value.data[:4].hex() == "9003b68a"


async def test_providers_can_be_listed_with_prices_and_labels(submitter: ManualOperation) -> None:
    manager, provider = submitter.contracts.providers, submitter.provider
    page = await submitter.chain.call(
        manager, "fetchPage(uint256,uint256)", 0, 10, returns="bytes32[],uint256,uint256"
    )
    assert page == ((bytes(12) + bytes.fromhex(provider[2:]),), 1, 1)
    prices = "getProviderPrices(address)"
    assert await submitter.chain.call(
        manager, prices, provider, returns="(uint256,uint256,uint256)"
    ) == (85 * 10**17, 95 * 10**16, 8 * 10**13)
    valid = "isValidForScheduling(address)"
    assert await submitter.chain.call(manager, valid, provider, returns="bool")
    with pytest.raises(Reverted) as nobody:
        await submitter.chain.call(
            manager, "getProvider(address)", "0x" + "00" * 20, returns="bytes"
        )
    assert nobody.value.data == selector("NoProvider()")
