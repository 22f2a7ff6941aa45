"""Read DeepSquare's contracts as a customer, and encode calls to them.

The MetaScheduler's address is configured; it names the others. Transactions are sent by
``transactions``. Amounts are in wei of credit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from bot.backends.deepsquare import abi
from bot.backends.deepsquare.abi import ChainJob, Event, Function, JobDefinition
from bot.backends.deepsquare.revert_errors import ContractReverted
from bot.backends.deepsquare.rpc import EventLog, RpcClient, RpcError, TransactionReceipt
from bot.domain.errors import Unavailable

MAX_BLOCK_RANGE = 2000
"""Blocks in one eth_getLogs request; halved when the endpoint rejects it."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """Checksummed addresses."""

    scheduler: str
    credit: str
    jobs: str
    providers: str
    constants: str


@dataclass(frozen=True, slots=True)
class Transition:
    """A job's change of status; ``key`` identifies the event."""

    number: int
    before: int
    after: int
    block: int
    key: tuple[bytes, int]


class ContractReader:
    """Read the contracts for one customer."""

    def __init__(self, rpc: RpcClient, scheduler: str, chain_id: int, customer: str) -> None:
        self.rpc = rpc
        self.customer = customer
        self.scheduler = to_checksum_address(scheduler)
        self._chain_id = chain_id
        self._contracts: Contracts | None = None
        self._lock = asyncio.Lock()
        self._minimum: int | None = None
        self._max_block_range = 1 << 62

    async def contracts(self) -> Contracts:
        """Return the addresses, read once.

        Raises Unavailable where they cannot be read, or the endpoint serves another chain.
        """
        async with self._lock:
            if self._contracts is None:
                served = await self.rpc.chain_id()
                if served != self._chain_id:
                    raise Unavailable(
                        f"rpc_url serves chain {served}, chain_id says {self._chain_id}; "
                        "nothing is signed for it"
                    )
                found = [
                    to_checksum_address((await self._call_function(self.scheduler, function))[0])
                    for function in (
                        abi.CREDIT_TOKEN,
                        abi.JOBS,
                        abi.PROVIDER_MANAGER,
                        abi.CONSTANTS,
                    )
                ]
                self._contracts = Contracts(self.scheduler, *found)
            return self._contracts

    async def takes_jobs(self) -> bool:
        """Return whether this MetaScheduler takes jobs; otherwise it is retired."""
        return bool((await self._call_function(self.scheduler, abi.ENABLE_REQUEST_NEW_JOB))[0])

    async def minimum(self) -> int:
        """Return the minimum lock of a job."""
        if self._minimum is None:
            contracts = await self.contracts()
            (self._minimum,) = await self._call_function(contracts.constants, abi.MINIMUM_AMOUNT)
        assert self._minimum is not None
        return self._minimum

    async def credit_balance(self) -> int:
        """Return the wallet's credits, in wei."""
        contracts = await self.contracts()
        (held,) = await self._call_function(contracts.credit, abi.BALANCE_OF, self.customer)
        return int(held)

    async def allowance(self) -> int:
        """Return what the MetaScheduler may still draw from the wallet, in wei of credit."""
        contracts = await self.contracts()
        (allowed,) = await self._call_function(
            contracts.credit, abi.ALLOWANCE, self.customer, contracts.scheduler
        )
        return int(allowed)

    async def native_balance(self) -> int:
        """Return the wallet's native coin, which pays for gas, in wei."""
        return await self.rpc.balance(self.customer)

    async def job(self, number: int) -> ChainJob | None:
        """Return a job, or None if the chain does not have it (any more)."""
        contracts = await self.contracts()
        try:
            answer = await self.rpc.call(
                contracts.jobs, abi.GET_JOB.encode_call(abi.encode_job_number(number))
            )
        except ContractReverted as error:
            if error.revert.name == "InvalidJob":
                return None
            raise Unavailable(f"job {number} cannot be read: {error}") from error
        try:
            job = ChainJob.decode(answer)
        except (DecodingError, ValueError, OverflowError) as error:
            raise Unavailable(f"job {number} cannot be read: {error}") from error
        return job if job.number == number else None

    async def my_jobs(self) -> tuple[int, ...]:
        """Return the numbers of all the wallet's jobs, oldest first."""
        contracts = await self.contracts()
        (numbers,) = await self._call_function(contracts.jobs, abi.GET_BY_CUSTOMER, self.customer)
        return tuple(int.from_bytes(number, "big") for number in numbers)

    async def transitions(self, first: int, last: int) -> list[Transition]:
        """Return the status changes of all jobs in a range of blocks."""
        contracts = await self.contracts()
        found: list[Transition] = []
        async for log in self.events(contracts.jobs, abi.JOB_TRANSITION, first, last):
            number, before, after = abi.JOB_TRANSITION.decode(log.data)
            key = (log.block_hash, log.index)
            found.append(Transition(int.from_bytes(number, "big"), before, after, log.block, key))
        return found

    async def events(
        self, address: str, event: Event, first: int, last: int, step: int = MAX_BLOCK_RANGE
    ) -> AsyncIterator[EventLog]:
        """Yield the events of one kind in a range of blocks, in requests of ``step`` blocks."""
        step = min(step, self._max_block_range)
        while first <= last:
            end = min(first + step - 1, last)
            try:
                logs = await self.rpc.get_logs(address, event.topic, first, end)
            # Each endpoint rejects ranges that are too long in its own way.
            except RpcError as error:
                if step == 1:
                    raise Unavailable(f"events cannot be read: {error}") from error
                step = max(1, min(step, end - first + 1) // 2)
                self._max_block_range = min(self._max_block_range, step)
                continue
            for log in logs:
                yield log
            first = end + 1

    def request(self, definition: JobDefinition, lock: int, job_id: str) -> HexBytes:
        """Return the call data of requestNewJob. Nobody else may add to the job's lock."""
        name = abi.encode_job_name(job_id)
        return abi.REQUEST_NEW_JOB.encode_call(definition.abi(), lock, name, False)

    def new_job(self, receipt: TransactionReceipt) -> int | None:
        """Return the number of the job that a mined request created, from its event."""
        for log in receipt.logs:
            ours = log.topics and log.topics[0] == abi.NEW_JOB_REQUEST.topic
            if ours and to_checksum_address(log.address) == self.scheduler:
                number, emitter = abi.NEW_JOB_REQUEST.decode(log.data)
                if to_checksum_address(emitter) == self.customer:
                    return int.from_bytes(number, "big")
        return None

    async def _call_function(self, to: str, function: Function, *values: object) -> tuple[Any, ...]:
        try:
            answer = await self.rpc.call(to, function.encode_call(*values))
            return function.decode(answer)
        except ContractReverted as error:
            raise Unavailable(f"{function} of the contract {to} fails: {error}") from error
        except (DecodingError, ValueError) as error:
            raise Unavailable(
                f"at {to} there is no contract that answers {function} on this chain"
            ) from error
