"""Print the engines and models in effect as one line of JSON: ``python -m bot.txt2img.describe``.

Reads the same environment and configuration as ``python -m bot.txt2img`` and loads no library.
Keys: ``engine``, ``model`` (empty for none), ``family``, ``guidance`` (null for the pipeline's
default), ``negative`` (whether a negative prompt has an effect), ``note``, and ``problems``, a list
of pairs of problem and hint: all for the default model. ``models`` has the same keys for each model
of the configuration's table, ``devices`` the GPUs' names and memory. The exit status is always 0.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bot.txt2img.config import CHECKPOINT, Config, ModelConfig, read_config
from bot.txt2img.engines import (
    COMFYUI,
    DIFFUSERS,
    INSTALL,
    SERVER_ENGINES,
    SKETCH,
    as_checkpoint,
    find_model,
    is_installed,
    requested_engine,
)
from bot.txt2img.engines.samplers import find_sampler
from bot.txt2img.models import Model, UnusableModel, read_configured
from bot.txt2img.plan import UsageError

_NVIDIA_SMI = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_DEVICE_SECONDS = 10.0
_MAX_THREADS = 16


def describe(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the description. Problems are listed, not raised."""
    try:
        config = read_config(environment)
    except UsageError as error:
        config = Config()
        result = _describe_model(environment, config, None)
        result["problems"].append((str(error), "Restart the bot, which writes it."))
        return {**result, "models": {}, "devices": []}
    default = find_model(config, {**environment, "MODEL": ""})
    # Side by side: each model on a server that does not answer would take its seconds.
    with ThreadPoolExecutor(_MAX_THREADS) as threads:
        described = threads.map(
            partial(_describe_model, environment, config), (default, *config.models.values())
        )
        result, *of_table = described
    models = dict(zip(config.models, of_table, strict=True))
    paints = any(each["engine"] == DIFFUSERS for each in (result, *models.values()))
    return {**result, "models": models, "devices": _list_gpus() if paints else []}


def _describe_model(
    environment: Mapping[str, str], config: Config, model: ModelConfig | None
) -> dict[str, Any]:
    """Return the description of one model; None is the default where there is none."""
    engine = requested_engine(environment, config, model)
    problems: list[tuple[str, str]] = []
    result: dict[str, Any] = {
        "engine": engine,
        "model": "",
        "family": "",
        "guidance": None,
        "negative": True,
        "note": "",
        "problems": problems,
    }
    if engine in SERVER_ENGINES:
        return {**result, **_ask_server(engine, config, model)}
    requested = (model.engine if model else "") or environment.get("PAINTER_ENGINE") or "auto"
    if requested == SKETCH or (requested == "auto" and model is None):
        return result
    if model is None:
        problems.append(("no model is named", "Set model to a folder or a name on the hub."))
    elif model.kind == CHECKPOINT:
        problem = f"the model {model.id} is the name of a checkpoint, which diffusers has not"
        problems.append((problem, "Name its folder or file, or choose an image server's engine."))
    else:
        try:
            facts = read_configured(model, environment)
            find_sampler(model.sampler, facts.family)
        except UnusableModel as error:
            problems.append((error.problem, error.hint))
        except UsageError as error:
            problems.append((str(error), "Correct the sampler, or leave it out."))
        else:
            if engine == DIFFUSERS:
                if too_large := _find_memory_problem(facts, config):
                    problems.append(too_large)
                result |= {
                    "model": facts.name,
                    "family": facts.family,
                    "guidance": facts.guidance,
                    "negative": facts.negative_acts(None),
                    "note": facts.note,
                }
    if not is_installed():
        problem = "the library diffusers is not installed"
        problems.append((problem, f'{INSTALL}, or set engine = "sketch".'))
    return result


def _ask_server(engine: str, config: Config, model: ModelConfig | None) -> dict[str, Any]:
    try:
        if engine == COMFYUI:
            from bot.txt2img.engines.comfyui import describe as describe_comfyui

            return describe_comfyui(config.comfyui, as_checkpoint(model))
        from bot.txt2img.engines.a1111 import describe as describe_a1111

        return describe_a1111(config.a1111, as_checkpoint(model))
    except UsageError as error:
        return {"problems": [(str(error), "Correct the settings of the image server.")]}


def _find_memory_problem(facts: Model, config: Config) -> tuple[str, str] | None:
    """Return the problem and hint if the weights are larger than the largest GPU's memory."""
    largest = max((int(gpu["memory_mb"]) for gpu in _list_gpus()), default=0)
    weights = facts.weight_bytes >> 20
    if config.device == "cpu" or config.worker.offload != "none" or not 0 < largest < weights:
        return None
    problem = f"{facts.name} has {weights} MiB of weights, and the GPU {largest} MiB of memory"
    return problem, 'Set offload = "model" for the worker, or name a smaller model.'


@functools.cache
def _list_gpus() -> list[dict[str, Any]]:
    """Return name and memory in MiB of each GPU; empty where there is no NVIDIA driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, *_NVIDIA_SMI],
            capture_output=True,
            text=True,
            check=True,
            timeout=_DEVICE_SECONDS,
        )
        pairs = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
        return [{"name": name.strip(), "memory_mb": int(memory)} for name, _, memory in pairs]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


if __name__ == "__main__":
    print(json.dumps(describe(os.environ)))
