"""Starts a grid for a test, or says why that cannot be done here.

``conftest.py`` beside this package has the ``grid`` fixture; tests elsewhere build their own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deepsquare.testnet.anvil import AnvilMissing
from tests.deepsquare.testnet.site import Setup, TestGrid


@contextlib.asynccontextmanager
async def running_grid(folder: Path, setup: Setup | None = None) -> AsyncIterator[TestGrid]:
    """A grid; the test is skipped where there is no EVM node, save in CI."""
    try:
        grid = await TestGrid.start(folder, setup)
    except AnvilMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    async with grid:
        yield grid
