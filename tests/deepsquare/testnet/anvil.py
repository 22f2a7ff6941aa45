"""A real Ethereum node, ``anvil``, as a process of this machine on a free port.

It knows how to find, start and stop the program; what is asked of it is other modules' business.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

from tests.deepsquare.testnet.compiler import COMPONENTS

CHAIN_ID = 179188
_LISTENING = re.compile(rb"Listening on (127\.0\.0\.1:\d+)")


class AnvilMissing(Exception):
    """The node is not installed; the text says how it is."""


def find_anvil() -> Path:
    """The program: as ``$ANVIL``, as ``scripts/components`` put it, or on the PATH.

    Raises AnvilMissing.
    """
    named = os.environ.get("ANVIL")
    pattern = "node_modules/@foundry-rs/anvil-*/bin/anvil"
    found = [Path(named)] if named else [*COMPONENTS.glob(pattern)]
    if not found and (path := shutil.which("anvil")):
        found = [Path(path)]
    if not found or not found[0].exists():
        raise AnvilMissing("anvil is not installed: scripts/components does it, and needs npm")
    return found[0]


def _command() -> list[str]:
    # Where it can be had: the node dies with us, also when we are killed and cannot see to it.
    bound = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return [*bound, str(find_anvil())]


class Anvil:
    """A running node; every transaction is mined at once unless told otherwise."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self._process = process
        self._drain = asyncio.create_task(_discard(process))
        self.url = f"http://{address}"

    @classmethod
    async def start(cls) -> Anvil:
        """Start a node with an empty chain. Raises AnvilMissing."""
        process = await asyncio.create_subprocess_exec(
            *_command(),
            *("--host", "127.0.0.1", "--port", "0", "--chain-id", str(CHAIN_ID)),
            # As subnet-EVM: later forks refuse a transaction with more than 16.7 million gas.
            *("--hardfork", "cancun", "--gas-limit", "300000000", "--color", "never"),
            start_new_session=True,  # a Ctrl-C is for us, and for us to pass on
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = b""
        while (match := _LISTENING.search(said)) is None:
            line = await process.stdout.readline()
            if not line:
                raise RuntimeError(f"anvil did not start: {said.decode(errors='replace')}")
            said += line
        return cls(process, match[1].decode())

    async def aclose(self) -> None:
        """Stop the node. Its chain is gone."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._drain


async def _discard(process: asyncio.subprocess.Process) -> None:
    # A full pipe would stop the node.
    assert process.stdout is not None
    while await process.stdout.read(1 << 16):
        pass
