"""Runs workflows on the DeepSquare Grid, an open network of GPU providers, and pays for them.

A job is a script (``sbatch``), a request on a blockchain that locks credits (``chain``, ``desk``,
``sender``), a log stream (``logger``) and files on a public host (``transfer``); ``follow`` makes
one stream of it, ``backend`` one object. ``journal`` is what survives a crash. The facts of the
protocol are in ``abi``, ``log.proto`` and the modules that use them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bot.backends.deepsquare.backend import DeepSquareBackend
from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.state_store import StateStore

__all__ = ["DeepSquareBackend", "open"]


async def open(options: Mapping[str, object]) -> DeepSquareBackend:
    """Open the backend; the network is not asked yet. Raises ConfigError that names the key."""
    chosen = DeepSquareOptions.from_mapping(options)
    store = StateStore(chosen.folder)
    await asyncio.to_thread(store.prepare, chosen.now())
    records = await asyncio.to_thread(lambda: list(store.jobs()))
    return DeepSquareBackend(chosen, store, records)
