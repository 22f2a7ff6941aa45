"""A worker with an engine that fails as the first word of a prompt says.

    SOCKET   as of ``python -m bot.txt2img.engines.worker``

Words: ``memory N`` does not fit more than N pictures, ``crash N`` fails with more than N, ``kill
N`` kills the process with more than N, ``usage`` refuses. Other prompts give plain pictures, of a
colour that depends on the seed and the picture's number.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from bot.txt2img.engines.base import Batch, OutOfMemory, Report
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.engines.worker.model_cache import ModelCache
from bot.txt2img.engines.worker.process import serve
from bot.txt2img.engines.worker.server import WorkerServer
from bot.txt2img.plan import UsageError


def draw(batch: Batch) -> tuple[Image.Image, ...]:
    """Return the pictures that the engine gives for a plain prompt."""
    return tuple(
        Image.new("RGB", (batch.width, batch.height), (batch.seed % 256, batch.first + number, 7))
        for number in range(len(batch.prompts))
    )


class FailingEngine:
    """See the module."""

    notice = ""
    memory_bytes = 0

    def __init__(self, spec: EngineSpec) -> None:
        self._name = spec.model.location
        self._steps = 0

    def close(self) -> None:
        """Do nothing."""

    @property
    def report(self) -> Report:
        return Report("diffusers", self._name, self._steps, 7.5, negative=True, sampler="Euler")

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        step()
        word, _, limit = batch.prompts[0].partition(" ")
        if word == "usage":
            raise UsageError("this is refused")
        if limit.isdigit() and len(batch.prompts) > int(limit):
            if word == "memory":
                raise OutOfMemory(f"{len(batch.prompts)} pictures do not fit into memory.")
            if word == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        for _ in range(batch.steps - 1):
            step()
        self._steps = batch.steps
        return draw(batch)


def make() -> WorkerServer:
    """Return the worker."""
    cache = ModelCache(FailingEngine, lambda _: 0, time.monotonic)
    return WorkerServer(cache, time.monotonic, lambda _: 1 << 30)


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), make))
