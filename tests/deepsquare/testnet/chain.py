"""What the Grid's own people do on the chain: read jobs, and send transactions as their roles.

Calls are encoded by signature, straight to the node and not through the counted RPC endpoint. It
holds no key but those of the node's test accounts, and knows nothing of the customer's software.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import aiohttp
from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

CREDIT = 10**18
DEFINITION = (
    "(uint64,uint64,uint64,uint64,string,uint8,(string,string)[],((string,string),bytes2)[])"
)
JOB = (
    f"(bytes32,uint8,address,address,{DEFINITION},(uint256,uint256,uint256,bool),"
    "(uint256,uint256,uint256,uint256,uint256,uint256),bytes32,bool,string,int64)"
)
HARDWARE = "(uint64,uint64[],uint64[],uint64[])"
PRICES = "(uint256,uint256,uint256)"
LABELS = "(string,string)[]"


class Status(IntEnum):
    """The contract's own numbers."""

    PENDING = 0
    META_SCHEDULED = 1
    SCHEDULED = 2
    RUNNING = 3
    CANCELLED = 4
    FINISHED = 5
    FAILED = 6
    OUT_OF_CREDITS = 7
    PANICKED = 8

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self >= Status.CANCELLED


class Reverted(Exception):
    """A call or transaction was refused; ``data`` is what the contract said, selector first."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(f"{message} {data.hex()}")
        self.data = data


class RpcError(Exception):
    """The node answered with an error that is no revert."""


@dataclass(frozen=True, slots=True)
class GridJob:
    """A job as the repository has it. Credits are in wei, times in Unix seconds.

    ``name`` is the customer's own, without its padding; ``exit_code`` is the raw wait status.
    """

    job_id: str
    status: Status
    customer: str
    provider: str
    gpus: int
    mem_per_cpu: int
    cpus_per_task: int
    tasks: int
    script: str
    storage_type: int
    uses: tuple[tuple[str, str], ...]
    affinity: tuple[tuple[str, str, str], ...]
    max_cost: int
    final_cost: int
    pending_top_up: int
    delegate: bool
    submitted: int
    started: int
    ended: int
    name: str
    cancel_requested: bool
    last_error: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Contracts:
    """Where the contracts are, checksummed."""

    credit: str
    jobs: str
    providers: str
    queues: str
    constants: str
    scheduler: str


def topic(signature: str) -> str:
    """An event's first topic."""
    return "0x" + keccak(text=signature).hex()


def calldata(signature: str, *arguments: Any) -> str:
    """A call of ``name(type,...)``."""
    types = _types(signature[signature.index("(") + 1 : -1])
    return "0x" + (keccak(text=signature)[:4] + encode(types, arguments)).hex()


TRANSITION = topic("JobTransitionEvent(bytes32,uint8,uint8)")
CREATED = topic("JobCreated(bytes32)")
REQUESTED = topic("NewJobRequestEvent(bytes32,address)")


@dataclass
class Chain:
    """A JSON-RPC client for one node."""

    url: str
    session: aiohttp.ClientSession
    timeouts_seconds: float = 0.005
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def rpc(self, method: str, *params: Any) -> Any:
        """One request. Raises Reverted or RpcError."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(self.url, json=body) as response:
            answer = await response.json()
        if "error" not in answer:
            return answer["result"]
        error = answer["error"]
        if isinstance(error.get("data"), str) or "revert" in error["message"]:
            raise Reverted(error["message"], bytes.fromhex((error.get("data") or "0x")[2:]))
        raise RpcError(f"{method}: {error['message']}")

    async def call(self, to: str, signature: str, *arguments: Any, returns: str) -> Any:
        """A view's answer; ``returns`` is a list of types, and one value comes bare."""
        request = {"to": to, "data": calldata(signature, *arguments)}
        data = bytes.fromhex((await self.rpc("eth_call", request, "latest"))[2:])
        values = decode(_types(returns), data)
        return values[0] if len(values) == 1 else values

    async def attempt(self, sender: str, to: str, signature: str, *arguments: Any) -> None:
        """Nothing if such a transaction would pass now. Raises Reverted."""
        request = {"from": sender, "to": to, "data": calldata(signature, *arguments)}
        await self.rpc("eth_call", request, "latest")

    async def send(self, sender: str, to: str, signature: str, *arguments: Any) -> dict[str, Any]:
        """A transaction of one of the node's accounts, and its receipt. Raises Reverted."""
        return await self.transact(sender, to, calldata(signature, *arguments))

    async def transact(self, sender: str, to: str | None, data: str) -> dict[str, Any]:
        """Send calldata, or code if ``to`` is None, and wait until it is mined."""
        request = {"from": sender, "data": data, "gas": hex(10_000_000)}
        if to is not None:
            request["to"] = to
        async with self._locks.setdefault(sender, asyncio.Lock()):
            digest = await self.rpc("eth_sendTransaction", request)
        while True:
            receipt = await self.rpc("eth_getTransactionReceipt", digest)
            if receipt is not None:
                break
            await asyncio.sleep(self.timeouts_seconds)
        if int(receipt["status"], 16) == 0:
            before = hex(int(receipt["blockNumber"], 16) - 1)
            await self.rpc("eth_call", request, before)
            raise Reverted("reverted when mined", b"")
        return dict(receipt)

    async def logs(self, address: str, topics: list[str], start: int) -> list[dict[str, Any]]:
        """The events of one contract whose first topic is one of ``topics``, from a block on."""
        request = {
            "address": address,
            "topics": [topics],
            "fromBlock": hex(start),
            "toBlock": "latest",
        }
        return list(await self.rpc("eth_getLogs", request))

    async def block_number(self) -> int:
        """The newest block."""
        return int(await self.rpc("eth_blockNumber"), 16)

    async def now(self) -> int:
        """The newest block's time."""
        return int((await self.rpc("eth_getBlockByNumber", "latest", False))["timestamp"], 16)

    async def advance(self, seconds: int) -> None:
        """Move the chain's clock on; a block is mined for it."""
        await self.rpc("evm_increaseTime", seconds)
        await self.rpc("evm_mine")

    async def job(self, repository: str, job_id: str) -> GridJob:
        """One job. Raises Reverted for an unknown one."""
        key = bytes.fromhex(job_id[2:])
        return _job(await self.call(repository, "get(bytes32)", key, returns=JOB))


def _job(values: Any) -> GridJob:
    job_id, status, customer, provider, definition, cost, times, name, asked, error, code = values
    gpus, memory, cpus, tasks, script, storage, uses, affinity = definition
    return GridJob(
        job_id="0x" + job_id.hex(),
        status=Status(status),
        customer=to_checksum_address(customer),
        provider=to_checksum_address(provider),
        gpus=gpus,
        mem_per_cpu=memory,
        cpus_per_task=cpus,
        tasks=tasks,
        script=script,
        storage_type=storage,
        uses=tuple(uses),
        affinity=tuple((*label, op.rstrip(b"\0").decode()) for label, op in affinity),
        max_cost=cost[0],
        final_cost=cost[1],
        pending_top_up=cost[2],
        delegate=cost[3],
        submitted=times[0],
        started=times[1],
        ended=times[2],
        name=name.rstrip(b"\0").decode("utf-8", "replace"),
        cancel_requested=asked,
        last_error=error,
        exit_code=code,
    )


def _types(text: str) -> list[str]:
    """A list of types, split at the commas that are in no tuple."""
    parts, depth, part = [], 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += character
    return [*parts, part] if part else parts
