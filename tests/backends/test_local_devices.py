"""GPUs, task slots and resident workers of this machine, as the local backend sees them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot.backends import task_slots
from bot.backends.local_devices import count_tasks, list_gpus, uses_model
from bot.backends.worker_status import WorkerStatus, read_workers, show_workers

DRIVER = """#!/bin/sh
[ "$1" = -L ] || exit 2
cat <<'END'
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)
  MIG 1g.5gb Device 0: (UUID: MIG-1)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2)
END
"""


@pytest.mark.parametrize(
    ("driver", "visible", "expected"),
    [
        (DRIVER, None, ("0", "1")),
        (DRIVER, "1", ("1",)),
        (DRIVER, "2, 0", ("2", "0")),
        (DRIVER, "GPU-2", ("GPU-2",)),
        (DRIVER, "", ()),
        (DRIVER, "-1", ()),
        (DRIVER, "0,-1,1", ("0",)),
        (None, None, ()),
        ("#!/bin/sh\nexit 9\n", None, ()),
        ("not a program", None, ()),
    ],
)
def test_the_gpus_are_those_that_jobs_may_use(
    tmp_path: Path, driver: str | None, visible: str | None, expected: tuple[str, ...]
) -> None:
    if driver is not None:
        (tmp_path / "nvidia-smi").write_text(driver)
        (tmp_path / "nvidia-smi").chmod(0o700)
    environ = {"PATH": str(tmp_path)}
    if visible is not None:
        environ["CUDA_VISIBLE_DEVICES"] = visible
    assert list_gpus(environ) == expected


CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("engine", "loads_model", "gpus", "servers", "expected"),
    [
        ("sketch", False, 4, 0, CPUS),
        ("auto", False, 4, 0, CPUS),
        ("diffusers", True, 4, 0, 4),
        ("auto", True, 2, 0, 2),
        ("diffusers", True, 0, 0, 1),
        ("comfyui", False, 4, 2, 2),
        ("a1111", False, 4, 0, 1),
    ],
)
def test_a_task_for_each_thing_that_generates(
    engine: str, loads_model: bool, gpus: int, servers: int, expected: int
) -> None:
    assert count_tasks(engine, loads_model=loads_model, gpus=gpus, servers=servers) == expected


def test_a_model_is_loaded_where_the_library_is_there() -> None:
    installed = importlib.util.find_spec("diffusers") is not None
    assert uses_model("diffusers", has_model=True)
    assert uses_model("auto", has_model=True) == installed
    assert not uses_model("auto", has_model=False)
    for engine in ("sketch", "comfyui", "a1111"):
        assert not uses_model(engine, has_model=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), "unset"), (("--gpus=3",), "3"), (("--gpus=GPU-a,GPU-b",), "GPU-a")],
)
def test_a_slot_has_its_own_gpu(tmp_path: Path, options: tuple[str, ...], expected: str) -> None:
    script = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES', 'unset'))"
    command = [sys.executable, task_slots.__file__, *options, str(tmp_path / "slots"), "2"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*command, sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
    # The first slot is taken: the next task gets the next GPU, and after the last the first.
    number, held = task_slots.acquire_slot(str(tmp_path / "slots"), 2)
    assert number == 0
    done = subprocess.run(
        [*command, sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(held)
    assert done.stdout.strip() == {"GPU-a": "GPU-b"}.get(expected, expected)


async def test_the_workers_of_a_folder_are_asked(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    assert await read_workers(folder) == ((), 0)
    folder.mkdir()
    (folder / "w.sock.log").touch()
    answers = {
        "good": b'{"pid": 7, "models": ["/m/a", "/m/b"], "waiting": 3, "blobs": []}',
        "odd": b"{}",
        "text": b"hello",
    }
    servers = []
    here = os.getcwd()
    os.chdir(folder)  # the path is too long for a socket
    try:
        for name, answer in answers.items():

            def accept(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                answer: bytes = answer,
            ) -> None:
                writer.write(len(answer).to_bytes(4, "big") + bytes(4) + answer)
                writer.close()

            servers.append(await asyncio.start_unix_server(accept, name))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("dead")
    finally:
        os.chdir(here)
    assert await read_workers(folder) == ((WorkerStatus(7, ("/m/a", "/m/b"), 3),), 3)
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("workers", "dead", "text"),
    [
        ((), 0, ""),
        ((WorkerStatus(1, ("a",), 2), WorkerStatus(2, (), 0)), 0, "workers 2 with 1 loaded mode"),
        ((), 1, "workers 1 that died, started anew by the next row"),
    ],
)
def test_the_operator_reads_about_workers(
    workers: tuple[WorkerStatus, ...], dead: int, text: str
) -> None:
    assert show_workers(workers, dead).startswith(text)
    assert bool(text) == bool(show_workers(workers, dead))
