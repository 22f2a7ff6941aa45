"""Count what generates pictures on this machine: its GPUs, and how many tasks run side by side."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

DIFFUSERS: Final = "diffusers"
SERVER_ENGINES: Final = frozenset({"comfyui", "a1111"})
_TIMEOUT_SECONDS: Final = 20.0


def uses_model(engine: str, *, has_model: bool) -> bool:
    """Return whether the engine loads a model on this machine, which fills its device."""
    if engine == "auto":
        return has_model and importlib.util.find_spec(DIFFUSERS) is not None
    return engine == DIFFUSERS


def list_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the GPUs that jobs may use. Blocking: asks the driver.

    ``CUDA_VISIBLE_DEVICES`` wins; it is empty where no GPU shall be used.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        ids = [id.strip() for id in visible.split(",")]
        # As the driver does: what follows an invalid id is invisible.
        return tuple(ids[: ids.index("-1")] if "-1" in ids else [id for id in ids if id])
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [program, "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    # "GPU 0: NVIDIA H100 (UUID: ...)"; parts of a divided GPU are indented.
    return tuple(
        line.removeprefix("GPU ").partition(":")[0]
        for line in done.stdout.splitlines()
        if line.startswith("GPU ")
    )


def count_tasks(engine: str, *, loads_model: bool, gpus: int, servers: int) -> int:
    """Return how many tasks run side by side where the settings do not say.

    One for each GPU (or one on the CPU, which a model keeps busy alone), for each image server, or
    for each processor.
    """
    if engine in SERVER_ENGINES:
        return max(1, servers)
    if loads_model:
        return max(1, gpus)
    # The affinity mask, unlike os.cpu_count, counts what a container may really use.
    return len(os.sched_getaffinity(0))
