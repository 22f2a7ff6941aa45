"""A bot, as far as Slurm can see: submits one job, follows it, and says what it reads.

    python -m tests.slurm.following_program SHARED_DIR JOB_ID GATE

To be killed in the middle. The job's rows wait until the file GATE is there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot.backends import open_backend
from bot.backends.base import LogLine
from tests.slurm.jobs import PUBLISH, job, wait_for


async def main(shared_dir: str, job_id: str, gate: str) -> None:
    """Submit, and print each line."""
    options = {"shared_dir": shared_dir, "engine": "sketch", "poll_seconds": 0.2}
    backend = await open_backend("slurm", options)
    command = f"{wait_for(Path(gate))}\n{PUBLISH}"
    handle = await backend.submit(job(job_id, backend.upload_url(job_id), command))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine):
            print(item.data.decode(), end="", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
