"""ComfyUI engines with short patience, for tests against stand-in servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web
from PIL import Image

from bot.txt2img.config import CHECKPOINT, LoraConfig, ModelConfig, ServerConfig
from bot.txt2img.engines.base import Batch
from bot.txt2img.engines.comfyui.engine import ComfyUIEngine
from bot.txt2img.engines.comfyui.jobs import Timing
from tests.image_servers.comfyui import ComfyUI

SHORT = Timing(
    answer=2.0,
    poll=0.05,
    pause=0.005,
    max_pause=0.02,
    patience=10.0,
    first_patience=0.05,
    patience_elsewhere=0.05,
    withdrawal=1.0,
)
MODEL = ModelConfig("sd", kind=CHECKPOINT, location="sd15.safetensors", family="sd")
ROW = {"GRIDBRUSH_JOB": "job-1", "index": "1"}
NO_STEP: Callable[[], None] = lambda: None  # noqa: E731


def engine(
    *servers: ComfyUI | str,
    model: ModelConfig | None = MODEL,
    row: int = 0,
    timing: Timing = SHORT,
    environment: dict[str, str] | None = None,
    **config: Any,
) -> ComfyUIEngine:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    given = {"index": str(row)} if row else {}
    return ComfyUIEngine(ServerConfig(urls, **config), model, environment or given, timing=timing)


def batch(samples: int = 1, **changes: Any) -> Batch:
    plain = Batch(("a cat",) * samples, "", 7, 0, 64, 64, 4, None)
    return replace(plain, **changes)


def model(**changes: Any) -> ModelConfig:
    return replace(MODEL, **changes)


def lora(name: str, weight: float = 1.0) -> LoraConfig:
    return LoraConfig(name, f"{name}.safetensors", weight)


def colours(pictures: tuple[Image.Image, ...]) -> list[Any]:
    return [picture.getpixel((0, 0)) for picture in pictures]


def nodes(server: ComfyUI, number: int = -1) -> dict[str, Any]:
    """The inputs of each node of a graph that the server got, by class."""
    return {node["class_type"]: node["inputs"] for node in server.submitted[number].values()}


@contextmanager
def two_servers() -> Iterator[tuple[ComfyUI, ComfyUI]]:
    with ComfyUI() as one, ComfyUI() as two:
        yield one, two


def answering(
    path: str, make: Callable[[], web.StreamResponse]
) -> Callable[[web.Request], web.StreamResponse | None]:
    """A fault that answers requests whose path begins with ``path``."""
    return lambda request: make() if request.path.startswith(path) else None
