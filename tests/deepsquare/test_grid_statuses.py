"""The contracts at work: who may do what, and when."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode

from tests.deepsquare.testnet.chain import CREDIT, JOB, Reverted, Status, calldata
from tests.deepsquare.testnet.client import REQUEST
from tests.deepsquare.testnet.scheduler_service import (
    DEFINITION_VECTOR,
    SET_STATUS,
    ManualOperation,
    key,
    refusal_of_move,
    selector,
    topics,
)

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

# Who may follow whom; every other pair is refused.
DIAGRAM = {0: {1, 4, 8}, 1: {0, 2, 4, 8}, 2: {0, 3, 4, 6, 8}, 3: {4, 5, 6, 7, 8}}


async def test_all_81_moves_of_a_status_are_as_in_the_diagram(submitter: ManualOperation) -> None:
    for before in range(9):
        for after in range(9):
            data = await refusal_of_move(submitter, before, after)
            if before == after:
                assert data == selector("SameStatusError()")
            elif before >= Status.CANCELLED:
                assert data == selector("JobHotStatusOnly(uint8)") + encode(["uint8"], [before])
            elif after not in DIAGRAM[before]:
                pair = encode(["uint8", "uint8"], [before, after])
                assert data == selector("InvalidTransition(uint8,uint8)") + pair
            else:
                assert data is None


async def test_a_new_job_leaves_three_logs_in_their_order(submitter: ManualOperation) -> None:
    definition = DEFINITION_VECTOR
    receipt = await submitter.customer(REQUEST, definition, 1000 * CREDIT, b"sd-grid 42", False)
    parts = submitter.contracts
    logs = receipt["logs"]
    assert isinstance(logs, list)
    assert [(entry["address"], entry["topics"][0][2:10]) for entry in logs] == [
        (parts.jobs.lower(), "f07e304c"),
        (parts.credit.lower(), "ddf252ad"),
        (parts.scheduler.lower(), "1b831e90"),
    ]
    job = await submitter.chain.job(parts.jobs, logs[0]["data"])
    assert (job.status, job.name, job.uses) == (0, "sd-grid 42", (("os", "linux"),))
    assert (job.max_cost, job.customer) == (1000 * CREDIT, submitter.grid.customer.address)
    assert await submitter.grid.bank.balance(parts.scheduler) == 1000 * CREDIT
    assert await submitter.grid.bank.allowance(submitter.grid.customer) == 99_000 * CREDIT


async def test_a_job_comes_back_as_one_dynamic_tuple(submitter: ManualOperation) -> None:
    job = await submitter.request()
    request = {"to": submitter.contracts.jobs, "data": calldata("get(bytes32)", key(job))}
    answer = bytes.fromhex((await submitter.chain.rpc("eth_call", request, "latest"))[2:])
    assert len(answer) == 1280
    assert answer[:32] == (32).to_bytes(32, "big")
    times = (job.submitted, 0, 0, job.submitted, await submitter.chain.block_number(), 0)
    fields = (key(job), 0, job.customer, job.provider, DEFINITION_VECTOR)
    cost = (1000 * CREDIT, 0, 0, False)
    name = b"sd-grid 42".ljust(32, b"\0")
    assert answer == encode([JOB], [(*fields, cost, times, name, False, "", 0)])


@pytest.mark.parametrize(
    ("change", "lock", "refusal"),
    [
        ({}, 99 * CREDIT, "03eb8b54"),
        ({"t": 0}, 1000 * CREDIT, "d208e590"),
        ({"c": 0}, 1000 * CREDIT, "d208e590"),
        ({"m": 0}, 1000 * CREDIT, "d208e590"),
        ({"s": 5}, 1000 * CREDIT, ""),
        ({"t": 0}, 99 * CREDIT, "03eb8b54"),
    ],
)
async def test_what_may_not_be_requested_is_refused(
    submitter: ManualOperation, change: dict[str, object], lock: int, refusal: str
) -> None:
    with pytest.raises(Reverted) as caught:
        await submitter.request(lock, **change)
    assert caught.value.data[:4].hex() == refusal


async def test_nothing_can_be_requested_of_a_retired_contract(submitter: ManualOperation) -> None:
    await submitter.grid.retire()
    with pytest.raises(Reverted) as caught:
        await submitter.request()
    assert caught.value.data == selector("NewJobRequestDisabled()")


async def test_refusals_carry_the_bytes_of_the_vectors(submitter: ManualOperation) -> None:
    with pytest.raises(Reverted) as too_little:
        await submitter.request(99 * CREDIT)
    assert too_little.value.data.hex() == (
        "03eb8b540000000000000000000000000000000000000000000000055de6a779bbac0000"
        "0000000000000000000000000000000000000000000000056bc75e2d63100000"
    )
    job = await submitter.request()
    await submitter.run(job)
    await submitter.report(job, Status.FINISHED, 1)
    with pytest.raises(Reverted) as over:
        await submitter.customer("cancelJob(bytes32)", key(job))
    assert over.value.data.hex() == "8c6824c2" + "5".rjust(64, "0")
    await submitter.grid.bank.approve(submitter.grid.customer, 0)
    with pytest.raises(Reverted) as unapproved:
        await submitter.request()
    assert unapproved.value.data.hex() == (
        "08c379a0"
        "0000000000000000000000000000000000000000000000000000000000000020"
        "000000000000000000000000000000000000000000000000000000000000001d"
        "45524332303a20696e73756666696369656e7420616c6c6f77616e6365000000"
    )


async def test_an_empty_wallet_is_refused_in_openzeppelins_words(
    submitter: ManualOperation,
) -> None:
    await submitter.grid.bank.approve(submitter.grid.customer, 300_000)
    with pytest.raises(Reverted) as caught:
        await submitter.request(200_000 * CREDIT)
    assert b"ERC20: transfer amount exceeds balance" in caught.value.data


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_a_job_that_does_not_run_yet_is_cancelled_at_once_and_refunded(
    submitter: ManualOperation, step: int
) -> None:
    job = await submitter.request()
    if step > 0:
        await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    if step > 1:
        await submitter.serve("claimNextJob()")
    receipt = await submitter.customer("cancelJob(bytes32)", key(job))
    assert topics(receipt) == ["ddf252ad", "0bba917f"]
    ended = await submitter.again(job)
    assert (ended.status, ended.final_cost) == (Status.CANCELLED, 0)
    assert await submitter.grid.bank.balance(submitter.grid.customer.address) == 100_000 * CREDIT
    # The lock went through the allowance, and a refund does not restore it.
    assert await submitter.grid.bank.allowance(submitter.grid.customer) == 99_000 * CREDIT


async def test_a_cancelled_job_is_passed_over_in_its_providers_queue(
    submitter: ManualOperation,
) -> None:
    first, second = await submitter.request(), await submitter.request()
    for job in (first, second):
        await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    await submitter.customer("cancelJob(bytes32)", key(first))
    assert topics(await submitter.serve("claimNextJob()")) == []
    assert "c8d7c7c2" in topics(await submitter.serve("claimNextJob()"))
    with pytest.raises(Reverted) as caught:
        await submitter.serve("claimNextJob()")
    assert caught.value.data == selector("NoJob()")
    assert (await submitter.again(second)).status is Status.SCHEDULED


async def test_cancelling_a_running_job_is_only_a_request(submitter: ManualOperation) -> None:
    job = await submitter.request()
    await submitter.run(job)
    assert topics(await submitter.customer("cancelJob(bytes32)", key(job))) == []
    asked = await submitter.again(job)
    assert (asked.status, asked.cancel_requested) == (Status.RUNNING, True)
    await submitter.customer("cancelJob(bytes32)", key(job))
    assert topics(await submitter.serve("claimNextCancellingJob()")) == ["290fa751"]
    await submitter.report(job, Status.CANCELLED, 0)
    ended = await submitter.again(job)
    assert (ended.status, ended.final_cost) == (Status.CANCELLED, 8488 * CREDIT // 100)


@pytest.mark.parametrize("step", [1, 2])
async def test_a_job_can_be_sent_back_to_the_start(submitter: ManualOperation, step: int) -> None:
    job = await submitter.request()
    await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    if step == 2:
        await submitter.serve("claimNextJob()")
    assert topics(await submitter.serve("refuseJob(bytes32)", key(job))) == ["0bba917f", "50d9c3fa"]
    back = await submitter.again(job)
    assert (back.status, int(back.provider, 16)) == (Status.PENDING, 0)
    await submitter.serve("metaSchedule(bytes32,address)", key(job), submitter.provider)
    await submitter.serve("timeoutJob(bytes32)", key(job))
    assert (await submitter.again(job)).status is Status.PENDING
    with pytest.raises(Reverted) as caught:
        await submitter.serve("timeoutJob(bytes32)", key(job))
    assert caught.value.data[:4].hex() == "090713fe"


async def test_strangers_may_not_touch_a_job(submitter: ManualOperation) -> None:
    job = await submitter.request()
    to = submitter.contracts.scheduler
    stranger = submitter.scheduler
    with pytest.raises(Reverted) as cancelling:
        await submitter.chain.attempt(stranger, to, "cancelJob(bytes32)", key(job))
    addresses = encode(["address", "address"], [stranger, job.customer])
    assert cancelling.value.data == selector("CustomerOnly(address,address)") + addresses
    with pytest.raises(Reverted) as reporting:
        await submitter.chain.attempt(stranger, to, SET_STATUS, key(job), 3, 0, "", 0)
    assert reporting.value.data[:4].hex() == "32e3065c"
    with pytest.raises(Reverted) as role:
        await submitter.chain.attempt(submitter.provider, to, "timeoutJob(bytes32)", key(job))
    assert b"AccessControl" in role.value.data
    with pytest.raises(Reverted) as topping:
        await submitter.chain.attempt(stranger, to, "topUpJob(bytes32,uint256)", key(job), 1)
    assert topping.value.data[:4].hex() == "ed3e2aad"
    with pytest.raises(Reverted) as unknown:
        await submitter.chain.attempt(stranger, to, "cancelJob(bytes32)", bytes(31) + b"\x63")
    assert unknown.value.data == selector("InvalidJob()")
