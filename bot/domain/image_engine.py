"""Image engine and model: their capabilities, and what they report after a row.

``EngineInfo`` is known before a request is accepted; ``GenerationInfo`` is reported for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SCRIPT: Final = "stable-diffusion"
"""Name of Stability's ``scripts/txt2img.py``, with the model that the request names."""

SKETCH: Final = "sketch"
"""Name of the engine that draws sketches without a model."""

SCRIPT_MIN_PIXELS: Final = 256 * 256
"""Minimum width × height: the script's watermark fails on anything smaller, at the very end."""


_TIMESTEPS = 1000


def script_steps(requested: int) -> int:
    """Return how many steps Stability's script runs when ``requested`` (1 to 1000) are wanted.

    Its DDIM takes every (1000 // steps)th of 1000 timesteps, shifted by one: 30 runs 31, 60 runs
    63, and 334 to 1000 run 500. Numbers for which it would index past the last timestep and fail
    are replaced by the workflow with the next smaller one that works.
    """
    return 999 // (_TIMESTEPS // healed_steps(requested)) + 1


def healed_steps(requested: int) -> int:
    """Return the number of steps that the workflow asks the script for; see ``script_steps``."""
    steps = requested
    while 999 % (_TIMESTEPS // steps) == 0:
        steps -= 1
    return steps


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Engine that makes images. ``engine`` is empty if unknown, as with a custom workflow.

    ``model`` is the only available model; it is empty for sketches, and where the request names
    one. ``negative``: whether a negative prompt changes the image.
    """

    engine: str = ""
    model: str = ""
    negative: bool = True

    @property
    def selects_model(self) -> bool:
        """Return whether a request selects the model; otherwise naming one has no effect."""
        return self.engine in ("", SCRIPT)

    @property
    def min_pixels(self) -> int:
        """Return the minimum width × height of one image."""
        return SCRIPT_MIN_PIXELS if self.engine == SCRIPT else 1

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names by which a request may call its only model, in lower case."""
        known = (self.engine, self.model, self.model.rpartition("/")[2])
        return tuple(dict.fromkeys(name.casefold() for name in known if name))

    def steps_run(self, requested: int) -> int:
        """Return how many steps will really run."""
        return script_steps(requested) if self.engine == SCRIPT else requested

    def show(self, model: str = "") -> str:
        """Return engine and model in words; ``model`` is the one the request names."""
        return _format_engine(self.engine, model if self.selects_model else self.model)


UNKNOWN: Final = EngineInfo()


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Engine and settings that made a row, as the engine reports them.

    ``model`` is empty if there is none. ``steps`` is how many ran, 0 if there are none;
    ``guidance`` is the scale, empty if there is none. ``negative``: whether a negative prompt has
    an effect. ``sampler`` is the scheduler's name, ``model_sha256`` that of the model's file in
    hexadecimal digits; both are empty if unknown.
    """

    engine: str
    model: str = ""
    steps: int = 0
    guidance: str = ""
    negative: bool = True
    sampler: str = ""
    model_sha256: str = ""

    def show(self) -> str:
        """Return engine and model in words."""
        return _format_engine(self.engine, self.model)


def _format_engine(engine: str, model: str) -> str:
    """Return ``sketch, no model`` or ``diffusers, sdxl-turbo``.

    Without a known engine that is the model alone, which may be empty.
    """
    if not engine:
        return model
    return f"{engine}, {model or 'no model'}"
