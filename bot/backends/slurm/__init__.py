"""Runs workflows on one's own Slurm cluster.

The same script as on this machine, its steps started by ``srun``; submitted, watched and cancelled
with Slurm's own client programs. All truth about a job is in its folder on the shared file system
and in Slurm's record of it, so it is found again by our id and is never run twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bot.backends.slurm.backend import SlurmBackend
from bot.backends.slurm.options import SlurmOptions

__all__ = ["SlurmBackend", "SlurmOptions", "open"]


async def open(options: Mapping[str, object]) -> SlurmBackend:
    """Open the backend. Raises ConfigError if the shared folder is not named or cannot be used.

    Whether Slurm itself answers is a matter of health: a cluster that is away keeps no bot from
    starting.
    """
    backend = SlurmBackend(SlurmOptions.from_mapping(options))
    await asyncio.to_thread(backend.prepare)
    return backend
