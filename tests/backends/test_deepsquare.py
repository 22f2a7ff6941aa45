"""The DeepSquare backend against the test grid: the conformance suite with the image's script."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.backends.conformance import *  # noqa: F403
from tests.backends.conformance import Site
from tests.deepsquare.clients import open_client
from tests.deepsquare.testnet.fixtures import running_grid
from tests.deepsquare.testnet.site import Setup

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_grid(tmp_path / "grid", Setup()) as grid:
        opening = functools.partial(open_client, grid, tmp_path / "data")
        yield Site(opening, tmp_path / "data", 2, generates=True, platform_input=True)
