"""Resident workers as processes: how they start, fail, end and what they know."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.txt2img.config import WorkerConfig
from bot.txt2img.engines import select_engine
from bot.txt2img.engines.worker import client, protocol
from bot.txt2img.engines.worker.client import Worker, WorkerEngine, WorkerLost, read_messages
from bot.txt2img.engines.worker.loading import device_bytes, estimate_bytes, load_engine
from bot.txt2img.engines.worker.place import prepare_folder
from bot.txt2img.engines.worker.process import serve
from bot.txt2img.engines.worker.server import WorkerServer
from bot.txt2img.plan import UsageError
from tests.txt2img import worker_program
from tests.txt2img.test_worker import ENVIRONMENT, FAILING, SKETCH, SPEC, batch
from tests.txt2img.worker_program import draw


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Reap the workers that this process started."""
    yield
    while client._started:
        process = client._started.pop()
        process.kill()
        process.wait()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path / "w" / "w.sock", WorkerConfig(), ENVIRONMENT, program=FAILING)
    yield made
    with contextlib.suppress(OSError):
        os.kill(worker_status(made)["pid"], signal.SIGKILL)


def worker_status(worker: Worker) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(worker.path))
        link.sendall(protocol.encode({"kind": "status"}))
        return next(read_messages(link))[0]


FAILURES = {
    # prompt: pictures; what the log says; the error, if the second attempt fails too
    "memory 2": (4, "4 pictures do not fit into memory. A new worker generates this batch in", ""),
    "crash 2": (3, "an illegal memory access was encountered. A new worker", ""),
    "kill 2": (4, "The worker that holds the models died; see", ""),
    "memory 0": (
        1,
        "1 pictures do not fit into memory.",
        "1 pictures do not fit into memory. That",
    ),
    "kill 0": (2, "in two halves", "That was the second attempt."),
    "usage": (2, "", "this is refused"),
}


@pytest.mark.parametrize("prompt", FAILURES)
def test_a_failed_batch_runs_once_more_in_halves(worker: Worker, prompt: str) -> None:
    count, line, error = FAILURES[prompt]
    lines: list[str] = []
    engine = WorkerEngine(SPEC, worker, lines.append)
    whole = batch(*[prompt] * count)
    steps: list[int] = []
    if error:
        with pytest.raises(UsageError, match=error):
            engine.generate(whole, lambda: steps.append(1))
    else:
        pictures = engine.generate(whole, lambda: steps.append(1))
        assert [image.tobytes() for image in pictures] == [image.tobytes() for image in draw(whole)]
        assert (len(steps), engine.report.model) == (4, "/models/m")
    assert [bool(said) for said in (line, *lines)] == [bool(line)] + [True] * len(lines)
    assert all(line in said for said in lines)
    assert len(lines) == bool(line)


def test_a_worker_knows_nothing_of_the_job_and_is_the_owners_alone(
    worker: Worker, tmp_path: Path
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        WorkerEngine(SPEC, worker, print).generate(batch(), lambda: None)
        pid = worker_status(worker)["pid"]
        files = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(tmp_path / "lock") not in files
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PYTHONPATH" in environ
    for secret in (b"job-secret", b"a private prompt", b"GRIDBRUSH_JOB"):
        assert secret not in environ
    assert os.getsid(pid) == pid
    for path in worker.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(worker.path.parent.stat().st_mode) == 0o700


def test_rows_that_begin_together_share_one_worker_also_after_it_was_killed(
    worker: Worker,
) -> None:
    def generate(found: list[object]) -> None:
        try:
            found.append(len(WorkerEngine(SPEC, worker, print).generate(batch(), lambda: None)))
        except (UsageError, WorkerLost) as error:
            found.append(error)

    pids = set()
    for _ in range(2):
        found: list[object] = []
        threads = [threading.Thread(target=generate, args=(found,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 4
        status = worker_status(worker)
        assert (status["rows"], status["loads"]) == (4, 1)
        pids.add(status["pid"])
        os.kill(status["pid"], signal.SIGKILL)
    assert len(pids) == 2


def test_the_program_serves_rows_and_leaves_nothing_when_it_is_stopped(worker: Worker) -> None:
    real = Worker(worker.path, WorkerConfig(), ENVIRONMENT)
    engine = WorkerEngine(SKETCH, real, print)
    (picture,) = engine.generate(batch(width=64, height=64), lambda: None)
    assert picture.size == (64, 64)
    assert (engine.report.engine, engine.report.steps) == ("sketch", 4)
    pid = worker_status(real)["pid"]
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert not worker.path.exists()


def test_one_worker_serves_a_socket_and_another_returns_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w" / "w.sock"
    prepare_folder(path.parent)
    path.touch()  # left behind by a worker that was killed
    made: list[tuple[WorkerServer, asyncio.AbstractEventLoop]] = []
    ready = threading.Event()

    def make() -> WorkerServer:
        made.append((worker_program.make(), asyncio.get_running_loop()))
        ready.set()
        return made[0][0]

    before = os.umask(0o022)
    try:
        thread = threading.Thread(target=serve, args=(path, make))
        thread.start()
        assert ready.wait(60)
        assert serve(path, make) == 0
        ((server, loop),) = made
        loaded = WorkerEngine(SPEC, Worker(path, WorkerConfig(), {}), print)
        assert len(loaded.generate(batch("a", "b"), lambda: None)) == 2
        loop.call_soon_threadsafe(server.stop)
        thread.join(60)
        assert not path.exists()
    finally:
        os.umask(before)


def test_what_is_loaded_without_a_library(tmp_path: Path) -> None:
    engine = load_engine(SKETCH)
    assert len(engine.generate(batch(width=64, height=64), lambda: None)) == 1
    assert (engine.memory_bytes, estimate_bytes(SKETCH)) == (0, 0)
    engine.close()
    assert estimate_bytes(SPEC) == 0
    with pytest.raises(UsageError, match="there is no folder or file /models/m"):
        load_engine(SPEC)
    assert device_bytes("cpu") > 1 << 20


@pytest.mark.parametrize(
    ("environment", "model", "text"),
    [
        ({}, {}, "there is no folder or file"),
        ({"PAINTER_THREADS": "0"}, {}, "PAINTER_THREADS"),
        ({}, {"kind": "checkpoint"}, "lies on an image server"),
        ({}, {"location": ""}, "PAINTER_MODEL must name"),
        ({}, {"engine": "dall-e"}, "must be auto or one of sketch, diffusers, comfyui, a1111"),
    ],
)
def test_what_the_worker_would_refuse_is_refused_before_it_is_started(
    tmp_path: Path, environment: dict[str, str], model: dict[str, str], text: str
) -> None:
    config = tmp_path / "config.json"
    table = {"m": {"location": "/no/model", "engine": "diffusers", **model}}
    socket_file = str(tmp_path / "w" / "w.sock")
    config.write_text(json.dumps({"worker": {"socket": socket_file}, "models": table}))
    with pytest.raises(UsageError, match=text):
        select_engine({"TXT2IMG_CONFIG": str(config), "MODEL": "m", **environment}, "cpu")
    assert not (tmp_path / "w").exists()
