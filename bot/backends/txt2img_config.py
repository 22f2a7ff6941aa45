"""Write the configuration file of ``bot.txt2img``: its models, image servers and worker.

``bot/txt2img/config.py`` describes the file. It is readable by its owner only: it may hold the
password of an image server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bot.files import atomic_write

CONFIG_FILE: Final = "txt2img.json"


@dataclass(frozen=True, slots=True)
class EngineTables:
    """What the configuration file holds beside engine and device; see ``bot.txt2img.config``.

    ``models`` are entries by id, ``worker`` settings of the resident worker, ``comfyui`` and
    ``a1111`` image servers, whose password the repr hides.
    """

    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    worker: Mapping[str, object] = field(default_factory=dict)
    comfyui: Mapping[str, object] = field(default_factory=dict, repr=False)
    a1111: Mapping[str, object] = field(default_factory=dict, repr=False)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> EngineTables:
        """Return the tables among a backend's options; absent ones are empty."""
        known = {name: options[name] for name in cls.__dataclass_fields__ if name in options}
        return cls(**known)  # type: ignore[arg-type]  # settings have checked the types

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self.models or self.worker or self.comfyui or self.a1111)

    @property
    def has_models_or_servers(self) -> bool:
        """Return whether the description of an engine depends on the tables."""
        return bool(self.models or self.comfyui or self.a1111)

    @property
    def uses_hub(self) -> bool:
        """Return whether a model may have to be downloaded from the Hugging Face hub."""
        return any(model.get("kind") == "hub" for model in self.models.values())

    def with_caches(self, caches: Path) -> EngineTables:
        """Return the tables with the location of each model that a job downloads to ``caches``."""
        return replace(
            self,
            models={
                id: {**model, "location": str(caches / "models" / str(model["download"]))}
                if model.get("download")
                else model
                for id, model in self.models.items()
            },
        )

    def find_pending(self) -> frozenset[str]:
        """Return the ids of the models that are still to be downloaded. Blocking."""
        return frozenset(
            id
            for id, model in self.models.items()
            if model.get("download") and not Path(str(model["location"])).exists()
        )


def write_txt2img_config(
    path: Path, tables: EngineTables, *, engine: str, device: str, socket: str = ""
) -> None:
    """Write the file atomically, readable by its owner only. Blocking.

    ``socket`` is the resident worker's, empty where there is none.
    """
    worker = {name: value for name, value in tables.worker.items() if name != "enabled"}
    data = {
        "engine": engine,
        "device": device,
        "worker": {**worker, "socket": socket},
        "comfyui": tables.comfyui,
        "a1111": tables.a1111,
        "models": tables.models,
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
