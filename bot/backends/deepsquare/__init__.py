"""Run workflows on the DeepSquare Grid, an open network of GPU providers, and pay for them.

A job is a script (``sbatch_client``), a transaction that locks credits (``submission``,
``transactions``), a log stream (``log_client``) and files on a public host (``downloads``).
``follower`` merges log and chain into one stream; ``state_store`` is what survives a crash. The
facts of the protocol are in ``abi``, ``log.proto`` and the modules that use them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bot.backends.deepsquare.backend import DeepSquareBackend
from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.state_store import StateStore

__all__ = ["DeepSquareBackend", "open"]


async def open(options: Mapping[str, object]) -> DeepSquareBackend:
    """Open the backend without network access. Raises ConfigError that names the key."""
    chosen = DeepSquareOptions.from_mapping(options)
    store = StateStore(chosen.folder)
    await asyncio.to_thread(store.prepare, chosen.now())
    records = await asyncio.to_thread(lambda: list(store.jobs()))
    return DeepSquareBackend(chosen, store, records)
