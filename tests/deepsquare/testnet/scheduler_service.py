"""Customer, meta-scheduler and provider in one hand, for testing the contracts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from tests.deepsquare.testnet.chain import CREDIT, Chain, Contracts, GridJob, Reverted, Status
from tests.deepsquare.testnet.client import REQUEST
from tests.deepsquare.testnet.site import TestGrid

DEFINITION_VECTOR: tuple[Any, ...] = (
    *(4, 8000, 8, 4, "4zHtMkzYxWgWqpDkVxCCXy", 0),
    [("os", "linux")],
    [],
)
SET_STATUS = "providerSetJobStatus(bytes32,uint8,uint64,string,int64)"


@dataclass(frozen=True, slots=True)
class ManualOperation:
    """The contracts with nobody at work: the test plays every part itself."""

    chain: Chain
    contracts: Contracts
    grid: TestGrid
    scheduler: str
    provider: str

    async def request(self, lock: int = 1000 * CREDIT, **changes: object) -> GridJob:
        """The vectors' job. A change is named by its field's letter, as ``t`` for the tasks."""
        fields = dict(zip("gmctbsua", DEFINITION_VECTOR, strict=True)) | changes
        definition = tuple(fields.values())
        arguments = (definition, lock, b"sd-grid 42", False)
        await self.customer(REQUEST, *arguments)
        return (await self.grid.request_new_jobs())[-1]

    async def customer(self, signature: str, *arguments: object) -> dict[str, object]:
        """A transaction of the customer's."""
        to = self.contracts.scheduler
        return await self.grid.bank.act(self.grid.customer, to, signature, *arguments)

    async def serve(self, signature: str, *arguments: object) -> dict[str, object]:
        """A transaction of the meta-scheduler's or the provider's, whoever may send it."""
        meta = signature.startswith(("metaSchedule(", "timeoutJob(", "panicJob("))
        sender = self.scheduler if meta else self.provider
        return await self.chain.send(sender, self.contracts.scheduler, signature, *arguments)

    async def report(self, job: GridJob, status: int, minutes: int = 0) -> dict[str, object]:
        """What a provider says of its job."""
        return await self.serve(SET_STATUS, key(job), status, minutes, "", 0)

    async def run(self, job: GridJob) -> None:
        """From PENDING to RUNNING."""
        await self.serve("metaSchedule(bytes32,address)", key(job), self.provider)
        await self.serve("claimNextJob()")
        await self.report(job, Status.RUNNING)

    async def again(self, job: GridJob) -> GridJob:
        """The job as it is now."""
        return await self.chain.job(self.contracts.jobs, job.job_id)


def key(job: GridJob) -> bytes:
    """The id as an argument."""
    return bytes.fromhex(job.job_id[2:])


def selector(signature: str) -> bytes:
    """The first four bytes of an error's data."""
    return keccak(text=signature)[:4]


def topics(receipt: dict[str, object]) -> list[str]:
    """The events of a receipt in order, 8 digits of each."""
    logs = receipt["logs"]
    assert isinstance(logs, list)
    return [entry["topics"][0][2:10] for entry in logs]


async def refusal_of_move(submitter: ManualOperation, before: int, after: int) -> bytes | None:
    """What the repository says against a move; None if it is allowed."""
    check = "checkTransition(uint8,uint8)"
    try:
        await submitter.chain.call(submitter.contracts.jobs, check, before, after, returns="bool")
    except Reverted as error:
        return error.data
    return None
