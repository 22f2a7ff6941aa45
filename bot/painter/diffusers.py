"""The engine that runs a real model through Hugging Face's diffusers, on processor or GPU.

Needs the optional extra; nothing of it is imported before a picture is wanted. Each picture has
its own generator, so picture number N of a seed does not depend on how many are painted with it.
(The module's name hides nothing: imports are absolute.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from bot.painter.batch import Batch
from bot.painter.plan import Refusal


class DiffusersEngine:
    """A text-to-image pipeline from a folder or the hub; loaded at once, raises Refusal."""

    def __init__(self, model: str, device: str, threads: int) -> None:
        try:
            import torch
            from diffusers import AutoPipelineForText2Image
        except ImportError as error:
            raise Refusal(
                f"PAINTER_ENGINE=diffusers needs libraries that are not installed ({error}): "
                "pip install 'gridbrush[diffusers]', or use PAINTER_ENGINE=sketch."
            ) from error
        if device == "cuda" and not torch.cuda.is_available():
            raise Refusal("--device cuda: there is no CUDA GPU here; use --device cpu.")
        torch.set_num_threads(threads)
        precision = torch.float16 if device == "cuda" else torch.float32
        try:
            self._pipeline: Any = AutoPipelineForText2Image.from_pretrained(
                model, dtype=precision
            ).to(device)
        except (OSError, ValueError, KeyError) as error:
            raise Refusal(f"The model {model!r} cannot be loaded: {error}") from error
        self._pipeline.set_progress_bar_config(disable=True)
        self._new_generator: Callable[[], Any] = lambda: torch.Generator("cpu")
        self._out_of_memory = (torch.cuda.OutOfMemoryError, MemoryError)
        self._model = model

    @property
    def notice(self) -> str:
        """The model's name or folder."""
        return f"Painting with {self._model}"

    def paint(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Run the pipeline once for the whole batch."""
        shown = 0

        def stepped(_pipeline: object, _number: int, _time: object, values: Any) -> Any:
            nonlocal shown
            # Some schedulers call the network more often than there are steps.
            if shown < batch.steps:
                shown += 1
                step()
            return values

        generators = [
            self._new_generator().manual_seed(start(batch.seed, batch.first + number))
            for number in range(len(batch.prompts))
        ]
        try:
            images = self._pipeline(
                prompt=list(batch.prompts),
                negative_prompt=[batch.negative] * len(batch.prompts) if batch.negative else None,
                width=batch.width,
                height=batch.height,
                num_inference_steps=batch.steps,
                guidance_scale=batch.scale,
                generator=generators,
                callback_on_step_end=stepped,
            ).images
        except self._out_of_memory as error:
            raise Refusal(
                f"{len(batch.prompts)} pictures of {batch.width}x{batch.height} do not fit into "
                "memory: ask for fewer samples or smaller pictures."
            ) from error
        for _ in range(batch.steps - shown):
            step()
        return tuple(image.convert("RGB") for image in images)


def start(seed: int, number: int) -> int:
    """The seed of picture ``number`` (from 0): the run's own for the first, scattered after it.

    Not ``seed + number``: rows of a workflow have consecutive seeds, and the second picture of
    one row would be the first of the next.
    """
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
