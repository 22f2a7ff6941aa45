"""Describe a loaded model: what to load, on which device and how; the key of the model cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bot.txt2img.config import LoraConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything that decides which pictures a loaded model generates.

    ``engine`` is ``diffusers`` or ``sketch``. ``device`` is ``cpu`` or ``cuda``; ``threads`` are
    those of the CPU. ``dtype``, ``offload`` and ``slicing``: see WorkerConfig. ``version`` changes
    when the model's files do.
    """

    engine: str
    model: ModelConfig
    device: str = "cpu"
    threads: int = 1
    dtype: str = "auto"
    offload: str = "none"
    slicing: bool = False
    step_seconds: float = 0.0
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineSpec:
        """Return the specification that ``to_dict`` gave. Raises TypeError, KeyError."""
        model = data["model"]
        loras = tuple(LoraConfig(**lora) for lora in model["loras"])
        return cls(**{**data, "model": ModelConfig(**{**model, "loras": loras})})
