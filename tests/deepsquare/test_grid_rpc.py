"""The RPC endpoint, asked by web3.py as anybody would: what it counts, and how it fails."""

from __future__ import annotations

from collections import Counter

import pytest
from eth_account import Account
from eth_typing import HexStr
from eth_utils.address import to_checksum_address
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import ContractCustomError, ExtraDataLengthError, Web3Exception, Web3RPCError
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import Nonce, TxParams, Wei

from tests.deepsquare.testnet.anvil import CHAIN_ID
from tests.deepsquare.testnet.chain import CREDIT, Status, calldata
from tests.deepsquare.testnet.client import REQUEST, document, post
from tests.deepsquare.testnet.rpc import RpcFaults
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

PRICE = Wei(25 * 10**9)


def connect(grid: TestGrid) -> AsyncWeb3[AsyncHTTPProvider]:
    # Without web3's own retries: it would hide what is to be seen.
    provider = AsyncHTTPProvider(grid.rpc.url, exception_retry_configuration=None)
    return AsyncWeb3(provider)


def request(grid: TestGrid, script: str, lock: int = 500 * CREDIT, nonce: int = 1) -> TxParams:
    empty: list[object] = []
    definition = (3, 100, 1, 3, script, 4, empty, empty)
    return {
        "to": grid.contracts.scheduler,
        "data": HexStr(calldata(REQUEST, definition, lock, b"by-web3", False)),
        "value": Wei(0),
        "gas": 1_000_000,
        "gasPrice": PRICE,
        "nonce": Nonce(nonce),
        "chainId": CHAIN_ID,
    }


def sign(grid: TestGrid, transaction: TxParams) -> bytes:
    signed = Account.sign_transaction({**transaction}, grid.customer.key)
    return bytes(signed.raw_transaction)


async def test_a_signed_transaction_becomes_a_job_that_runs(grid: TestGrid) -> None:
    web3 = connect(grid)
    assert await web3.eth.chain_id == CHAIN_ID
    me = to_checksum_address(grid.customer.address)
    # The grid approved in the customer's name, which took the first nonce.
    assert await web3.eth.get_transaction_count(me, "pending") == 1
    script = (await post(grid, document(grid, "by-web3"))).json()["data"]["submit"]
    digest = await web3.eth.send_raw_transaction(sign(grid, request(grid, script)))
    receipt = await web3.eth.wait_for_transaction_receipt(digest, poll_latency=0.01)
    assert receipt["status"] == 1
    assert receipt["logs"][2]["topics"][0].hex()[:8] == "1b831e90"
    job = await grid.reached("by-web3", Status.FINISHED)
    assert grid.log(job)[0] == b"--- Job has started ---"
    assert grid.counts["eth_sendRawTransaction"] == 1
    await web3.provider.disconnect()


async def test_block_headers_have_the_long_extra_data_of_an_avalanche_subnet(
    grid: TestGrid,
) -> None:
    web3 = connect(grid)
    with pytest.raises(ExtraDataLengthError):
        await web3.eth.get_block("latest")
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    assert (await web3.eth.get_block("latest"))["number"] > 0
    await web3.provider.disconnect()


async def test_a_refusal_comes_with_its_data(grid: TestGrid) -> None:
    web3 = connect(grid)
    call: TxParams = {**request(grid, "x" * 22, 99 * CREDIT), "from": grid.customer.address}
    with pytest.raises(ContractCustomError) as caught:
        await web3.eth.estimate_gas(call)
    assert str(caught.value.data).startswith("0x03eb8b54")
    await web3.provider.disconnect()


async def test_known_errors_are_said_in_geths_words(grid: TestGrid) -> None:
    web3 = connect(grid)
    await grid.hold_blocks()
    raw = sign(grid, request(grid, "x" * 22))
    await web3.eth.send_raw_transaction(raw)
    with pytest.raises(Web3RPCError, match="already known"):
        await web3.eth.send_raw_transaction(raw)
    cheap = sign(grid, {**request(grid, "y" * 22), "gasPrice": Wei(PRICE + 1)})
    with pytest.raises(Web3RPCError, match="replacement transaction underpriced"):
        await web3.eth.send_raw_transaction(cheap)
    dear = sign(grid, {**request(grid, "y" * 22), "gasPrice": Wei(PRICE * 110 // 100)})
    replacement = await web3.eth.send_raw_transaction(dear)
    await grid.release_blocks()
    await web3.eth.wait_for_transaction_receipt(replacement, poll_latency=0.01)
    assert [job.script for job in await grid.request_new_jobs()] == ["y" * 22]
    with pytest.raises(Web3RPCError, match="nonce too low"):
        await web3.eth.send_raw_transaction(raw)
    await grid.bank.set_square(grid.customer, 0)
    with pytest.raises(Web3RPCError, match="insufficient funds for gas"):
        await web3.eth.send_raw_transaction(sign(grid, request(grid, "z" * 22, nonce=2)))
    await web3.provider.disconnect()


async def test_an_answer_can_be_lost_after_the_transaction_is_taken(grid: TestGrid) -> None:
    web3 = connect(grid)
    grid.rpc.faults = RpcFaults(lost=Counter({"eth_sendRawTransaction": 1}))
    with pytest.raises(Exception, match=r"disconnected|reset|closed"):
        await web3.eth.send_raw_transaction(sign(grid, request(grid, "x" * 22)))
    assert len(await grid.request_new_jobs()) == 1
    grid.rpc.faults = RpcFaults(unsent=Counter({"eth_sendRawTransaction": 1}))
    with pytest.raises(Exception, match=r"disconnected|reset|closed"):
        await web3.eth.send_raw_transaction(sign(grid, request(grid, "y" * 22, nonce=2)))
    assert len(await grid.request_new_jobs()) == 1
    await web3.provider.disconnect()


async def test_the_endpoint_can_refuse_and_go_away_and_come_back(grid: TestGrid) -> None:
    web3 = connect(grid)
    grid.rpc.faults = RpcFaults(refused=frozenset({"eth_call"}))
    with pytest.raises(Web3Exception, match="internal error"):
        await web3.eth.call({"to": grid.contracts.jobs, "data": HexStr("0x")})
    grid.rpc.faults = RpcFaults(status=503)
    with pytest.raises(Exception, match="503"):
        await web3.eth.get_block_number()
    await grid.rpc.service.stop()
    with pytest.raises(Exception, match=r"connect|Connect"):
        await web3.eth.get_block_number()
    grid.rpc.faults = RpcFaults()
    await grid.rpc.service.start()
    assert await web3.eth.get_block_number() > 0
    await web3.provider.disconnect()


async def test_events_of_too_many_blocks_at_once_are_refused(grid: TestGrid) -> None:
    web3 = connect(grid)
    grid.rpc.most_blocks = 4
    newest = await web3.eth.get_block_number()
    with pytest.raises(Web3RPCError, match="requested too many blocks from 0 to"):
        await web3.eth.get_logs({"fromBlock": 0, "toBlock": "latest"})
    assert await web3.eth.get_logs({"fromBlock": newest - 3, "toBlock": newest})
    await web3.provider.disconnect()


async def test_every_request_is_counted_also_in_a_batch(grid: TestGrid) -> None:
    web3 = connect(grid)
    grid.counts.clear()
    async with web3.batch_requests() as batch:
        batch.add(web3.eth.get_block_number())
        batch.add(web3.eth.get_block_number())
        await batch.async_execute()
    assert grid.counts == {"eth_blockNumber": 2}
    await web3.provider.disconnect()
