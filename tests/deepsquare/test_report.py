"""What an operator is told: each thing that can be wrong, with its mend, and the wallet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.checks import CheckResult
from bot.domain.errors import Unavailable
from tests.backends.jobs import submission
from tests.deepsquare.clients import Clients
from tests.deepsquare.testnet.anvil import CHAIN_ID
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

WORKFLOW = submission("grid", "https://transfer.example.org").workflow


@pytest.fixture
async def clients(grid: TestGrid, tmp_path: Path) -> AsyncIterator[Clients]:
    opened = Clients(grid, tmp_path)
    yield opened
    await opened.aclose()


def wrong(findings: list[CheckResult]) -> set[str]:
    """What is not well; every such finding says how to mend it."""
    bad = [finding for finding in findings if not finding.ok]
    assert all(finding.hint and finding.detail for finding in bad)
    return {finding.name for finding in bad}


async def test_a_grid_that_is_well_is_found_so_and_a_default_grid_is_priced(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    findings = await backend.run_checks(WORKFLOW)
    assert wrong(findings) == set()
    details = {finding.name: finding.detail for finding in findings}
    assert list(details) == [
        *("chain", "contract", "coin for gas", "credits", "allowance", "providers", "price"),
        *("script service", "logger", "file host"),
    ]
    assert details["price"].startswith("a default grid costs up to 28.374 credits a minute")
    assert details["providers"] == "1 with 8 GPUs"


async def test_each_thing_that_is_wrong_is_found(grid: TestGrid, clients: Clients) -> None:
    backend = await clients.open()
    await grid.bank.approve(grid.customer, 99)
    await grid.bank.set_square(grid.customer, 0)
    await grid.retire()
    await grid.logger.stop()
    await grid.transfer.service.stop()
    await grid.sbatch.service.stop()
    assert wrong(await backend.run_checks(WORKFLOW)) == {
        *("contract", "coin for gas", "allowance", "price"),
        *("script service", "logger", "file host"),
    }
    health = await backend.health()
    assert not health.ok
    assert health.hint


async def test_a_public_grid_that_is_gone_is_told_in_one_go(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await grid.rpc.service.stop()
    assert {"chain", "contract", "credits", "providers", "price"} <= wrong(
        await backend.run_checks(WORKFLOW)
    )
    with pytest.raises(Unavailable):
        await backend.wallet_report()


async def test_a_script_service_that_is_away_is_no_healthy_backend(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await grid.sbatch.service.stop()
    health = await backend.health()
    assert not health.ok
    assert "does not answer" in health.detail


async def test_the_wallet_shows_balances_and_sets_its_allowance(
    grid: TestGrid, clients: Clients
) -> None:
    backend = await clients.open()
    await backend.approve(Decimal("1234.5"))
    report = await backend.wallet_report()
    assert (report.address, report.chain_id) == (grid.customer.address, CHAIN_ID)
    assert report.scheduler == grid.contracts.scheduler
    assert (report.credits, report.allowance) == (Decimal(100_000), Decimal("1234.5"))
    assert Decimal(99) < report.coins < Decimal(100)
    await backend.approve(Decimal(0))
    assert (await backend.wallet_report()).allowance == 0
    assert backend.pending_transactions() == ()
