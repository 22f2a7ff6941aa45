"""Select the image engine by the configuration and by environment variables.

The configuration is the file that ``TXT2IMG_CONFIG`` names: :mod:`bot.txt2img.config`. Variables
are what this program has beyond the options of ``scripts/txt2img.py``:

``MODEL``
    A model of the configuration's table; another value has no effect.
``PAINTER_ENGINE``
    ``auto`` (default), ``sketch``, ``diffusers``, ``comfyui`` or ``a1111``, for a model that names
    none. ``auto`` is diffusers if that library is installed and there is a model, else sketch.
``PAINTER_MODEL``
    The default model: a folder with a diffusers pipeline, a single file, or a model's name on the
    Hugging Face hub.
``PAINTER_THREADS``
    CPU threads for diffusers, default 1; more can change the last bits of a picture.
``PAINTER_REPORT``
    A file to write the report of the run to: see :mod:`bot.txt2img.report`. Empty or absent means
    none.
``PAINTER_STEP_SECONDS``
    Seconds the sketch engine sleeps at each sampling step, default 0, to imitate a real model.
``NEGATIVE_PROMPT``
    What should not be in the pictures; empty or absent means nothing. txt2img.py has no option
    for it, so a command line that works with both cannot contain it.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bot.txt2img.config import CHECKPOINT, HUB, PATH, Config, ModelConfig, read_config
from bot.txt2img.engines.base import ImageEngine
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.plan import UsageError

SKETCH = "sketch"
DIFFUSERS = "diffusers"
COMFYUI = "comfyui"
A1111 = "a1111"
SERVER_ENGINES = (COMFYUI, A1111)
"""Engines that ask an image server."""
INSTALL = "pip install 'gridbrush[diffusers]'"


def is_installed() -> bool:
    """Return whether the libraries for a real model are installed."""
    return bool(importlib.util.find_spec("diffusers") and importlib.util.find_spec("torch"))


def find_model(config: Config, environment: Mapping[str, str]) -> ModelConfig | None:
    """Return the model that the run names, else the default one; None if there is none."""
    if model := config.models.get(environment.get("MODEL", "")):
        return model
    location = environment.get("PAINTER_MODEL", "")
    return ModelConfig("", location=location) if location else None


def find_server_model(config: Config, environment: Mapping[str, str]) -> ModelConfig | None:
    """Return the model that the run names, else the default one as a checkpoint's name."""
    return as_checkpoint(find_model(config, environment))


def as_checkpoint(model: ModelConfig | None) -> ModelConfig | None:
    """Return a model as an image server knows it: the default one is a checkpoint's name."""
    return replace(model, kind=CHECKPOINT) if model is not None and not model.id else model


def requested_engine(
    environment: Mapping[str, str], config: Config | None = None, model: ModelConfig | None = None
) -> str:
    """Return the name of the engine for ``model``; it may be unknown."""
    of_backend = (config.engine if config else "") or environment.get("PAINTER_ENGINE") or "auto"
    name = (model.engine if model else "") or of_backend
    if name != "auto":
        return name
    location = model.location if model else environment.get("PAINTER_MODEL")
    return DIFFUSERS if location and is_installed() else SKETCH


def select_engine(
    environment: Mapping[str, str], device: str, say: Callable[[str], None] = print
) -> ImageEngine:
    """Return the engine that ``environment`` selects. Raises UsageError with a hint.

    ``say`` writes a line to the log while the engine generates.
    """
    config = read_config(environment)
    model = find_model(config, environment)
    name = requested_engine(environment, config, model)
    if name == SKETCH:
        from bot.txt2img.engines.sketch.engine import SketchEngine

        return SketchEngine(_parse_number(environment, "PAINTER_STEP_SECONDS", 0.0), time.sleep)
    if name == DIFFUSERS:
        return _diffusers(environment, config, model, device, say)
    if name == COMFYUI:
        from bot.txt2img.engines.comfyui import ComfyUIEngine

        return ComfyUIEngine(config.comfyui, find_server_model(config, environment), environment)
    if name == A1111:
        from bot.txt2img.engines.a1111 import A1111Engine

        return A1111Engine(config.a1111, find_server_model(config, environment), environment)
    known = ", ".join((SKETCH, DIFFUSERS, *SERVER_ENGINES))
    raise UsageError(f"PAINTER_ENGINE must be auto or one of {known}, not {name!r}.")


def _diffusers(
    environment: Mapping[str, str],
    config: Config,
    model: ModelConfig | None,
    device: str,
    say: Callable[[str], None],
) -> ImageEngine:
    if model is None or not model.location:
        raise UsageError("PAINTER_MODEL must name a model folder or a hub model for diffusers.")
    if model.kind not in (PATH, HUB):
        raise UsageError(f"The model {model.id!r} lies on an image server: diffusers has it not.")
    threads = _parse_number(environment, "PAINTER_THREADS", 1.0)
    if threads < 1 or threads != int(threads):
        raise UsageError(f"PAINTER_THREADS must be a whole number from 1, not {threads:g}.")
    worker = config.worker
    spec = EngineSpec(
        DIFFUSERS,
        model,
        device,
        int(threads),
        dtype=worker.dtype,
        offload=worker.offload,
        slicing=worker.slicing,
    )
    if not worker.socket:
        from bot.txt2img.engines.worker.loading import load_engine

        return load_engine(spec)
    # What can be said without the libraries is said before a worker is started.
    from bot.txt2img.engines.worker.client import Worker, WorkerEngine
    from bot.txt2img.engines.worker.place import PER_JOB, socket_path
    from bot.txt2img.file_hashes import files_version
    from bot.txt2img.models import read_configured

    facts = read_configured(model, environment)
    if not is_installed():
        raise UsageError(f"diffusers is not installed where the jobs run: {INSTALL}.")
    path = socket_path(worker.socket, environment, device)
    until = environment.get("STORAGE_PATH", "") if worker.socket == PER_JOB else ""
    spec = replace(spec, version=files_version(model.location, facts.file, facts.weight_bytes))
    return WorkerEngine(spec, Worker(path, worker, environment, until), say)


def _parse_number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{name} must be a number, 0 or more, not {text!r}.")
    return value
