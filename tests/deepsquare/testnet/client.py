"""The simplest customer: hands a job over with httpx and calldata, and has no software of its own.

For testing the grid itself, without the backend.
"""

from __future__ import annotations

from typing import Any

import httpx

from tests.backends.jobs import submission
from tests.deepsquare.testnet.chain import CREDIT, DEFINITION, GridJob
from tests.deepsquare.testnet.site import TestGrid

MUTATION = "mutation Submit($job: Job!) { submit(job: $job) }"
REQUEST = f"requestNewJob({DEFINITION},uint256,bytes32,bool)"


async def post(grid: TestGrid, job: object, query: object = MUTATION) -> httpx.Response:
    """The GraphQL call."""
    body = {"query": query, "variables": {"job": job}, "operationName": "Submit"}
    async with httpx.AsyncClient() as client:
        return await client.post(grid.sbatch.url, json=body)


def document(grid: TestGrid, name: str, kind: str = "quick", rows: int = 3) -> dict[str, Any]:
    """A job of the conformance suite."""
    return submission(name, grid.transfer.url.rstrip("/"), kind, rows).workflow.to_dict()


async def order(
    grid: TestGrid,
    name: str,
    kind: str = "quick",
    rows: int = 3,
    lock: int = 500 * CREDIT,
    uses: tuple[tuple[str, str], ...] = (),
    affinity: tuple[tuple[tuple[str, str], bytes], ...] = (),
) -> GridJob:
    """Submit, pay, and return the job as it then is."""
    script = (await post(grid, document(grid, name, kind, rows))).json()["data"]["submit"]
    definition = (rows, 100, 1, rows, script, 4, [*uses], [*affinity])
    arguments = (definition, lock, name.encode(), False)
    await grid.bank.act(grid.customer, grid.contracts.scheduler, REQUEST, *arguments)
    grid.wake()
    return await grid.job(name)


async def act(grid: TestGrid, signature: str, job: GridJob, *arguments: object) -> None:
    """A call of the customer's about a job, as ``cancelJob(bytes32)``. Raises Reverted."""
    job_id = bytes.fromhex(job.job_id[2:])
    await grid.bank.act(grid.customer, grid.contracts.scheduler, signature, job_id, *arguments)
    grid.wake()
