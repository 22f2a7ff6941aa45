"""Measure a grid of four rows on a tiny real model: in the resident worker, and a process per row.

Needs the extra ``gridbrush[diffusers]``. Rows start together, as the local backend starts them with
four task slots. The CPU time of all rows is that of the worker too, which a busy machine does not
change.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import show
from bot.txt2img.config import WorkerConfig
from bot.txt2img.engines.worker.client import Worker, read_messages
from bot.txt2img.engines.worker.place import socket_path
from bot.txt2img.engines.worker.protocol import encode
from tests.txt2img import tiny_models

ROWS = 4
OPTIONS = ("--prompt=a red cat", "--H=64", "--W=64", "--steps=4", "--n_iter=1", "--n_samples=2")


def _paint_grid(folder: Path, name: str, environment: dict[str, str]) -> float:
    """Return the seconds of one grid."""
    began = time.monotonic()
    rows = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "bot.txt2img", *OPTIONS, f"--seed={number}"),
                f"--outdir={folder / name / str(number)}",
            ],
            env={**os.environ, "PAINTER_ENGINE": "diffusers", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(ROWS)
    ]
    if any(row.wait() for row in rows):
        raise RuntimeError(f"a row of the grid {name!r} failed")
    return time.monotonic() - began


def _ask(worker: Worker) -> dict[str, Any]:
    with worker.connect() as link:
        link.sendall(encode({"kind": "status"}))
        return next(read_messages(link))[0]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _run(folder: Path) -> None:
    model = tiny_models.save_sd(folder / "tiny")
    (folder / "worker").mkdir(mode=0o700)
    configured = str(folder / "worker" / "w.sock")
    config = folder / "config.json"
    config.write_text(json.dumps({"worker": {"socket": configured}}))
    environment = {"PAINTER_MODEL": str(model), "TXT2IMG_CONFIG": str(config)}
    worker = Worker(socket_path(configured, {}, "cpu"), WorkerConfig(), environment)
    first = _paint_grid(folder, "first", environment)
    pid = _ask(worker)["pid"]
    try:
        cpu = _cpu_seconds(pid)
        later = sorted(_paint_grid(folder, f"later{number}", environment) for number in range(5))
        cpu = (_cpu_seconds(pid) - cpu) / len(later)
        loads = _ask(worker)["loads"]
    finally:
        os.kill(pid, 15)
    processes = _paint_grid(folder, "processes", {"PAINTER_MODEL": str(model)})
    show("four rows, the worker is started and loads the model", f"{first:.2f} s")
    figure = f"{later[2]:.2f} s (best {later[0]:.2f} s, CPU of the worker {cpu:.2f} s)"
    show("four rows, the second grid and later", figure, "goal < 2 s")
    show("  models loaded for all six grids", str(loads), "goal 1")
    figure = f"{processes:.2f} s, ratio {later[2] / processes:.3f}"
    show("four rows, a process with the model for each", figure)


def main() -> None:
    """Print the seconds, and their ratio."""
    if importlib.util.find_spec("diffusers") is None:
        print("needs the extra gridbrush[diffusers]")
        return
    with tempfile.TemporaryDirectory() as name:
        _run(Path(name))


if __name__ == "__main__":
    main()
