"""Jobs of the local backend whose rows share one loaded model; opt-in, see test_diffusers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LogLine, Submission
from bot.backends.worker_status import WorkerStatus, read_workers
from bot.domain.events import Cancelled, Exited, RowReady
from bot.domain.workflow.document import Workflow
from tests.backends.conformance import ending, events
from tests.backends.jobs import submission
from tests.txt2img import tiny_models

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timing("starts jobs and a worker that loads a library of 10 s"),
]

ROW = """
set -u
publisher() { python -c "$PUBLISHER" "$@"; }
seed=$((SEED_BASE + index - 1))
publisher mark row-start "row=$index" "seed=$seed"
python "$TXT2IMG" --prompt="a cat" --H=64 --W=64 --steps="$STEPS" --n_iter=1 --n_samples=2 \\
  --seed="$seed" --device="$DEVICE" --outdir="$STORAGE_PATH/$index"
publisher publish row-done "$STORAGE_PATH/$index/grid-0000.png" "row-0$index.png" \\
  "row=$index" "seed=$seed"
"""


def grid(job_id: str, backend: Backend, *, rows: int = 3, steps: int = 2) -> Submission:
    """A grid of the tiny model."""
    made = submission(job_id, backend.upload_url(job_id), rows=rows)
    document: dict[str, Any] = dict(made.workflow.to_dict())
    document["steps"][0]["for"]["steps"][0]["run"]["command"] = ROW
    document["resources"]["memPerCpu"] = 1500
    document["env"].append({"key": "STEPS", "value": str(steps)})
    return replace(made, workflow=Workflow.from_dict(document))


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    model = tiny_models.save_sd(tmp_path / "tiny")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    options = {"engine": "diffusers", "model": str(model), "device": "cpu", "environ": environ}
    opened = await open_backend("local", {"data_dir": tmp_path, "poll_seconds": 0.01, **options})
    yield opened
    with contextlib.suppress(ValueError):
        os.kill((await worker_of(tmp_path)).pid, signal.SIGKILL)


async def worker_of(folder: Path) -> WorkerStatus:
    (found,), _ = await read_workers(folder / "local" / "worker")
    return found


async def until_sampling(stream: AsyncIterator[object]) -> bytes:
    """Read the log until a batch has begun; return it."""
    log = b""
    async for item in stream:
        if isinstance(item, LogLine):
            log += item.data
            if b"DDIM Sampler:   1%" in log or b"DDIM Sampler:   2%" in log:
                break
    return log


async def test_grids_share_a_worker_that_outlives_cancelled_jobs_and_its_own_death(
    backend: Backend, tmp_path: Path
) -> None:
    assert (await backend.health()).detail == "1 task slots, engine diffusers"
    pids = set()
    for name in ("first", "second"):
        handle = await backend.submit(grid(name, backend))
        lines, last = await ending(backend.follow(handle))
        assert last == Exited(0), b"".join(line.data for line in lines)
        assert len([event for event in events(lines) if isinstance(event, RowReady)]) == 3
        worker = await worker_of(tmp_path)
        pids.add(worker.pid)
        assert worker.models == (str(tmp_path / "tiny"),)
    assert len(pids) == 1
    health = (await backend.health()).detail
    assert "workers 1 with 1 loaded models and 0 rows" in health

    handle = await backend.submit(grid("cancelled", backend, rows=1, steps=400))
    stream = backend.follow(handle)
    await until_sampling(stream)
    await backend.cancel(handle)
    _, last = await ending(stream)
    assert last == Cancelled(by=0)
    async with asyncio.timeout(60):
        while (worker := await worker_of(tmp_path)).waiting:
            pass
    assert worker.pid in pids

    handle = await backend.submit(grid("killed", backend, rows=2, steps=100))
    stream = backend.follow(handle)
    await until_sampling(stream)
    os.kill(worker.pid, signal.SIGKILL)
    lines, last = await ending(stream)
    log = b"".join(line.data for line in lines)
    assert last == Exited(0), log
    assert b"died; see" in log
    assert b"A new worker generates this batch in two halves." in log
    assert (await worker_of(tmp_path)).pid not in pids
