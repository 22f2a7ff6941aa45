"""A job on the cluster whose rows share one loaded model; opt-in, see test_diffusers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Submission
from bot.backends.worker_status import WorkerStatus, read_workers
from bot.domain.events import Exited, RowReady
from tests.backends.conformance import ending, events
from tests.backends.test_local_worker import grid
from tests.slurm.cluster import Cluster
from tests.slurm.site import cluster, options_for
from tests.txt2img import tiny_models

__all__ = ["cluster"]

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timing("starts a cluster, and a worker that loads a library of 10 s"),
]


async def test_the_rows_of_a_job_share_a_worker_that_ends_with_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    model = tiny_models.save_sd(tmp_path / "tiny")
    options = options_for(cluster, tmp_path / "shared")
    options |= {"engine": "diffusers", "model": str(model), "gpus": "none", "data_dir": tmp_path}
    backend = await open_backend("slurm", options)
    wanted: Submission = grid("shared", backend, rows=2)
    handle = await backend.submit(wanted)
    seen: set[WorkerStatus] = set()
    over = asyncio.Event()

    async def watch() -> None:
        while not over.is_set():
            for folder in Path("/tmp").glob(f"gridbrush-{os.getuid()}-*"):
                found, _ = await read_workers(folder)
                seen.update(worker for worker in found if str(model) in worker.models)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    lines, last = await ending(backend.follow(handle))
    over.set()
    await watching
    assert last == Exited(0), b"".join(line.data for line in lines)
    assert len([event for event in events(lines) if isinstance(event, RowReady)]) == 2
    assert len({worker.pid for worker in seen}) == 1
    async with asyncio.timeout(60):
        while any(Path(f"/proc/{worker.pid}").exists() for worker in seen):
            await asyncio.to_thread(os.sched_yield)
    await backend.aclose()
