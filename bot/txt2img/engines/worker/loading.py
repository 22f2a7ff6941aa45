"""Load the engine of a specification, in the worker or in the run itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bot.txt2img.engines.sketch.engine import SketchEngine
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.file_hashes import file_sha256
from bot.txt2img.models import UnusableModel, read_configured
from bot.txt2img.plan import UsageError

if TYPE_CHECKING:
    from bot.txt2img.engines.worker.model_cache import LoadedEngine

_MEMORY_SHARE = 0.85
"""Of a device's memory, for weights: the rest is for what a batch needs."""


class _ResidentSketchEngine(SketchEngine):
    """The sketch engine, which holds nothing."""

    memory_bytes = 0

    def close(self) -> None:
        """Do nothing."""


def load_engine(spec: EngineSpec, hashes: Path | None = None) -> LoadedEngine:
    """Load the model; takes seconds to minutes. Raises UsageError, OutOfMemory.

    ``hashes`` is where the sha256 of single files are kept.
    """
    if spec.engine == "sketch":
        return _ResidentSketchEngine(spec.step_seconds, time.sleep)
    from bot.txt2img.engines.diffusers_engine import DiffusersEngine

    facts = read_configured(spec.model, os.environ)
    sha256 = ""
    if facts.file is not None:
        try:
            sha256 = file_sha256(facts.file, hashes)
        except OSError as error:
            raise UsageError(f"{facts.file} cannot be read: {error.strerror}") from error
        wanted = spec.model.sha256.lower()
        if wanted and wanted != sha256:
            raise UsageError(
                f"{facts.file} has the sha256 {sha256}, and the settings say {wanted}: "
                "download the file again, or correct the settings."
            )
    return DiffusersEngine(spec, facts, sha256)


def estimate_bytes(spec: EngineSpec) -> int:
    """Return about how much memory the model will take, by its files; 0 if unknown."""
    try:
        return (
            0 if spec.engine == "sketch" else read_configured(spec.model, os.environ).weight_bytes
        )
    except UnusableModel:
        return 0


def device_bytes(device: str) -> int:
    """Return how much of the device's memory models may take together."""
    if device == "cuda":
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info()[1] * _MEMORY_SHARE)
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return int(pages * page * _MEMORY_SHARE / 2)
