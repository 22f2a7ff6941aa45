"""One grid for one test: a third of a second, and nothing left of the test before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deepsquare.testnet.fixtures import running_grid
from tests.deepsquare.testnet.scheduler_service import ManualOperation
from tests.deepsquare.testnet.site import Setup, TestGrid


@pytest.fixture
def setup() -> Setup:
    """How the grid is set up; a test module or a parameter may say otherwise."""
    return Setup()


@pytest.fixture
async def grid(tmp_path: Path, setup: Setup) -> AsyncIterator[TestGrid]:
    async with running_grid(tmp_path / "grid", setup) as running:
        yield running


@pytest.fixture
async def submitter(grid: TestGrid) -> ManualOperation:
    """A grid in which nobody acts of their own accord."""
    accounts = [str(text) for text in await grid.chain.rpc("eth_accounts")]
    provider = grid.operation.supervisors[0].address
    await grid.operation.aclose()
    return ManualOperation(grid.chain, grid.contracts, grid, accounts[1], provider)
