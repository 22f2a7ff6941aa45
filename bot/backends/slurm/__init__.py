"""Run workflows on a Slurm cluster.

The same script as the local backend, its steps started by ``srun``; submitted, polled and cancelled
with Slurm's own client programs. All state of a job is in its folder on the shared file system and
in Slurm's record, so it is found again by its id and never runs twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bot.backends.slurm.backend import SlurmBackend
from bot.backends.slurm.options import SlurmOptions

__all__ = ["SlurmBackend", "SlurmOptions", "open"]


async def open(options: Mapping[str, object]) -> SlurmBackend:
    """Open the backend. Raises ConfigError if the shared folder is not set or cannot be used.

    Slurm itself is not contacted: the bot starts while the cluster is unavailable, and ``health``
    tells.
    """
    backend = SlurmBackend(SlurmOptions.from_mapping(options))
    await asyncio.to_thread(backend.prepare)
    return backend
