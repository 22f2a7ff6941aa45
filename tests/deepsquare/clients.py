"""The backend as tests open it over the test grid: impatient, and otherwise as an operator would.

It knows the backend's options and the grid's; what a test wants to see is the test's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.backends import deepsquare
from bot.backends.deepsquare import DeepSquareBackend
from bot.backends.deepsquare.timeouts import Timeouts
from tests.deepsquare.testnet.credit_token import Customer
from tests.deepsquare.testnet.site import TestGrid

IMPATIENT = Timeouts(
    poll=0.05,
    outage=0.2,
    receipt_poll=0.02,
    receipt=20.0,
    rebroadcast=0.2,
    quiet_period=0.1,
    tail=0.5,
    logger_outage=5.0,
    backoff=(0.02, 0.05),
    retries=(0.02, 0.05),
    request=2.0,
    probe=3.0,
)


def grid_options(
    grid: TestGrid,
    data_dir: Path,
    timeouts: Timeouts = IMPATIENT,
    customer: Customer | None = None,
    **changed: Any,
) -> dict[str, object]:
    """Return the grid's options with a test's timeouts."""
    options = dict(grid.options(data_dir, customer))
    del options["poll_seconds"]
    return options | {"timeouts": timeouts, **changed}


async def open_client(
    grid: TestGrid,
    data_dir: Path,
    timeouts: Timeouts = IMPATIENT,
    customer: Customer | None = None,
    **changed: Any,
) -> DeepSquareBackend:
    """A backend over the grid, as a new process would open it."""
    return await deepsquare.open(grid_options(grid, data_dir, timeouts, customer, **changed))


class Clients:
    """Opens backends over one grid and closes them all."""

    def __init__(self, grid: TestGrid, data_dir: Path) -> None:
        self._grid = grid
        self._data_dir = data_dir
        self._opened: list[DeepSquareBackend] = []

    async def open(
        self, timeouts: Timeouts = IMPATIENT, *, folder: str = "data", **changed: Any
    ) -> DeepSquareBackend:
        """One more of them; they share ``folder`` unless told otherwise."""
        backend = await open_client(self._grid, self._data_dir / folder, timeouts, **changed)
        self._opened.append(backend)
        return backend

    async def aclose(self) -> None:
        """Close what was opened; closing twice is harmless."""
        for backend in self._opened:
            await backend.aclose()
