"""Read the configuration that a backend writes for this program: engines, servers and models.

``TXT2IMG_CONFIG`` names a JSON file, readable by its owner only: it may hold a server's password.
All keys are optional; unknown ones are ignored, so that a job of another version still runs::

    {"engine": "comfyui", "device": "cuda",
     "worker": {"socket": "/…", "memory_mb": 0, "idle_seconds": 600, "offload": "none",
                "slicing": false, "dtype": "auto"},
     "comfyui": {"urls": ["http://127.0.0.1:8188"], "graphs": {"txt2img": "/…/graph.json"}},
     "a1111": {"urls": ["http://127.0.0.1:7860"], "username": "", "password": ""},
     "models": {"sdxl": {"title": "SDXL", "engine": "", "kind": "path", "location": "/…",
                         "family": "", "guidance": 5.0, "sampler": "", "sha256": "",
                         "loras": {"film": {"location": "/…", "weight": 0.8}}}}}

The variable ``MODEL`` of a job is a key of ``models``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bot.txt2img.plan import UsageError

PATH, HUB, CHECKPOINT = "path", "hub", "checkpoint"
"""Where a model lies: a folder or file, the Hugging Face hub, or by name on a server."""


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """A LoRA that is applied to a model. ``location`` is a file, or a name on a server."""

    name: str
    location: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model of the table. Empty and None mean: found out, or the engine's default."""

    id: str
    title: str = ""
    engine: str = ""
    kind: str = PATH
    location: str = ""
    family: str = ""
    guidance: float | None = None
    sampler: str = ""
    sha256: str = ""
    loras: tuple[LoraConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The resident worker. ``socket`` empty means that models are loaded in each process.

    ``memory_mb`` limits what its models take together, 0: what the device has. ``offload`` is
    ``none``, ``model`` or ``sequential``; ``dtype`` is ``auto``, ``float32``, ``float16`` or
    ``bfloat16``.
    """

    socket: str = ""
    memory_mb: int = 0
    idle_seconds: float = 600.0
    offload: str = "none"
    slicing: bool = False
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Image servers of one kind. ``graphs``: what is generated -> file of a ComfyUI API graph."""

    urls: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    graphs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    engine: str = ""
    device: str = ""
    worker: WorkerConfig = WorkerConfig()
    comfyui: ServerConfig = ServerConfig()
    a1111: ServerConfig = ServerConfig()
    models: Mapping[str, ModelConfig] = field(default_factory=dict)


def read_config(environment: Mapping[str, str]) -> Config:
    """Return the configuration; an empty one without ``TXT2IMG_CONFIG``. Raises UsageError."""
    path = environment.get("TXT2IMG_CONFIG", "")
    if not path:
        return Config()
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return _parse(data)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # Without the error's own text: it may quote the file, which may hold a password.
        raise UsageError(
            f"the configuration {path} cannot be read ({type(error).__name__}): restart the bot."
        ) from None


def _parse(data: Mapping[str, Any]) -> Config:
    return Config(
        engine=str(data.get("engine", "")),
        device=str(data.get("device", "")),
        worker=WorkerConfig(**_known(WorkerConfig, data.get("worker", {}))),
        comfyui=_parse_server(data.get("comfyui", {})),
        a1111=_parse_server(data.get("a1111", {})),
        models={
            str(id): _parse_model(str(id), model) for id, model in data.get("models", {}).items()
        },
    )


def _parse_server(data: Mapping[str, Any]) -> ServerConfig:
    known = _known(ServerConfig, data)
    return ServerConfig(**{**known, "urls": tuple(known.get("urls", ()))})


def _parse_model(id: str, data: Mapping[str, Any]) -> ModelConfig:
    loras = tuple(
        LoraConfig(name, **_known(LoraConfig, lora)) for name, lora in data.get("loras", {}).items()
    )
    return ModelConfig(id, **{**_known(ModelConfig, data), "loras": loras})


def _known(
    kind: type[ModelConfig | LoraConfig | WorkerConfig | ServerConfig], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the entries of ``data`` that ``kind`` has as fields, without those of its key."""
    known = {field.name for field in fields(kind)} - {"id", "name"}
    return {key: value for key, value in data.items() if key in known}
