"""Everything that a run writes and says, searched for what must never be in it."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from pathlib import Path

import pytest

from bot.backends.deepsquare import open as open_backend
from bot.backends.deepsquare.wallet import Wallet
from bot.domain.errors import BackendError
from tests.backends.conformance import ending
from tests.backends.jobs import KEY, submission
from tests.deepsquare.clients import grid_options
from tests.deepsquare.testnet.rpc import RpcFaults
from tests.deepsquare.testnet.sbatch import SbatchFaults
from tests.deepsquare.testnet.site import TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)


async def test_the_private_key_is_in_nothing_that_a_run_writes_or_says(
    grid: TestGrid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = await open_backend(grid_options(grid, tmp_path))
    said = [repr(backend)]
    handle = await backend.submit(submission("job", backend.upload_url("job")))
    await ending(backend.follow(handle))
    await backend.final_cost(handle)
    for fault in (RpcFaults(status=500), RpcFaults(refused=frozenset({"*"}))):
        grid.rpc.faults = fault
        with pytest.raises(BackendError) as caught:
            await backend.submit(submission("more", backend.upload_url("more")))
        said += traceback.format_exception(caught.value)
    grid.rpc.faults = RpcFaults()
    grid.sbatch.faults = SbatchFaults(internal="failed")
    with pytest.raises(BackendError) as caught:
        await backend.submit(submission("more", backend.upload_url("more")))
    said += traceback.format_exception(caught.value)
    await grid.logger.stop()
    said += [
        str(finding)
        for finding in await backend.run_checks(submission("x", "https://x.example").workflow)
    ]
    await backend.aclose()

    key = grid.customer.key.removeprefix("0x")
    spellings = (key, key.upper(), str(int(key, 16)), repr(bytes.fromhex(key)))
    files = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*.json")]
    assert len(files) >= 3
    for text in (*said, *files, caplog.text):
        assert not any(spelling in text for spelling in spellings)
    # The job's own key is in the record of a living job alone, and never in a log.
    assert KEY.hex() not in caplog.text + "".join(said)


def test_no_object_but_the_wallets_own_shows_the_key_in_its_repr() -> None:
    key = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
    wallet = Wallet(key)
    frame = sys._getframe()
    ours = [each for each in gc.get_referents(wallet) if isinstance(each, str)]
    assert ours == [wallet.address]
    assert key not in repr(wallet)
    assert frame is not None
