"""Select the image engine by environment variables.

They are what this program has beyond the options of ``scripts/txt2img.py``:

``PAINTER_ENGINE``
    ``auto`` (default), ``sketch`` or ``diffusers``. ``auto`` is diffusers if that library is
    installed and ``PAINTER_MODEL`` is set, else sketch.
``PAINTER_MODEL``
    A folder with a diffusers pipeline, or a model's name on the Hugging Face hub.
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
from collections.abc import Mapping

from bot.txt2img.config import read_config
from bot.txt2img.engines.base import ImageEngine
from bot.txt2img.plan import UsageError

SKETCH = "sketch"
DIFFUSERS = "diffusers"
A1111 = "a1111"
INSTALL = "pip install 'gridbrush[diffusers]'"


def is_installed() -> bool:
    """Return whether the libraries for a real model are installed."""
    return bool(importlib.util.find_spec("diffusers") and importlib.util.find_spec("torch"))


def requested_engine(environment: Mapping[str, str]) -> str:
    """Return the name of the engine that ``environment`` selects; it may be unknown."""
    name = environment.get("PAINTER_ENGINE") or "auto"
    if name == "auto":
        return DIFFUSERS if environment.get("PAINTER_MODEL") and is_installed() else SKETCH
    return name


def select_engine(environment: Mapping[str, str], device: str) -> ImageEngine:
    """Return the engine that ``environment`` selects. Raises UsageError with a hint."""
    config = read_config(environment)
    chosen = config.models.get(environment.get("MODEL", ""))
    name = (chosen and chosen.engine) or config.engine or requested_engine(environment)
    if name == A1111:
        from bot.txt2img.engines.a1111 import A1111Engine

        return A1111Engine(config.a1111, chosen, environment)
    model = environment.get("PAINTER_MODEL", "")
    if name == SKETCH:
        from bot.txt2img.engines.sketch.engine import SketchEngine

        return SketchEngine(_parse_number(environment, "PAINTER_STEP_SECONDS", 0.0), time.sleep)
    if name == DIFFUSERS:
        from bot.txt2img.engines.diffusers_engine import DiffusersEngine
        from bot.txt2img.models import read_model

        if not model:
            raise UsageError("PAINTER_MODEL must name a model folder or a hub model for diffusers.")
        threads = _parse_number(environment, "PAINTER_THREADS", 1.0)
        if threads < 1 or threads != int(threads):
            raise UsageError(f"PAINTER_THREADS must be a whole number from 1, not {threads:g}.")
        facts = read_model(model, environment)
        return DiffusersEngine(model, facts, device, int(threads))
    raise UsageError(f"PAINTER_ENGINE must be auto, sketch or diffusers, not {name!r}.")


def _parse_number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{name} must be a number, 0 or more, not {text!r}.")
    return value
