"""Generate pictures with a real model through Hugging Face's diffusers, on CPU or GPU.

Needs the optional extra ``diffusers``, which is imported when the engine is created. Each picture
has its own generator, so picture N of a seed does not depend on the size of its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from bot.txt2img.engines.base import Batch, Report
from bot.txt2img.models import Model
from bot.txt2img.plan import UsageError


class DiffusersEngine:
    """Run a text-to-image pipeline from ``source``, a folder or a name on the hub.

    ``model`` holds the facts about ``source``. The constructor loads the model, which takes
    seconds to minutes. Raises UsageError.
    """

    def __init__(self, source: str, model: Model, device: str, threads: int) -> None:
        try:
            import torch
            from diffusers import AutoPipelineForText2Image
        except ImportError as error:
            raise UsageError(
                f"PAINTER_ENGINE=diffusers needs libraries that are not installed ({error}): "
                "pip install 'gridbrush[diffusers]', or use PAINTER_ENGINE=sketch."
            ) from error
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("--device cuda: there is no CUDA GPU here; use --device cpu.")
        torch.set_num_threads(threads)
        precision = torch.float16 if device == "cuda" else torch.float32
        try:
            self._pipeline: Any = AutoPipelineForText2Image.from_pretrained(
                source,
                dtype=precision,
                **({"variant": model.variant} if model.variant else {}),
                **dict.fromkeys(model.absent),
            ).to(device)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"The model {source!r} cannot be loaded: {error}") from error
        self._pipeline.set_progress_bar_config(disable=True)
        self._new_generator: Callable[[], Any] = lambda: torch.Generator("cpu")
        self._out_of_memory = (torch.cuda.OutOfMemoryError, MemoryError)
        self._source = source
        self._model = model
        self._report = Report("diffusers", model.name, 0, model.guidance, negative=True)

    @property
    def notice(self) -> str:
        """Return the log line that names the model or its folder."""
        return f"Generating with {self._source}"

    @property
    def report(self) -> Report:
        """Return the model, its guidance, and the number of steps that the scheduler ran."""
        return self._report

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return the pictures of one pipeline call for the whole batch. Raises UsageError."""
        steps_run = 0

        def on_step_end(_pipeline: object, _number: int, _time: object, values: Any) -> Any:
            nonlocal steps_run
            steps_run += 1
            # Some schedulers call the network more times than there are steps.
            if steps_run <= batch.steps:
                step()
            return values

        scale = self._model.guidance if batch.scale is None else batch.scale
        guided = self._model.negative_acts(batch.scale)

        generators = [
            self._new_generator().manual_seed(image_seed(batch.seed, batch.first + number))
            for number in range(len(batch.prompts))
        ]
        negatives = [batch.negative] * len(batch.prompts)
        try:
            images = self._pipeline(
                prompt=list(batch.prompts),
                **({"negative_prompt": negatives} if batch.negative and guided else {}),
                width=batch.width,
                height=batch.height,
                num_inference_steps=batch.steps,
                **({} if scale is None else {"guidance_scale": scale}),
                generator=generators,
                callback_on_step_end=on_step_end,
            ).images
        except self._out_of_memory as error:
            raise UsageError(
                f"{len(batch.prompts)} pictures of {batch.width}x{batch.height} do not fit into "
                "memory: ask for fewer samples or smaller pictures."
            ) from error
        for _ in range(batch.steps - steps_run):
            step()
        self._report = Report("diffusers", self._model.name, steps_run, scale, negative=guided)
        return tuple(image.convert("RGB") for image in images)


def image_seed(seed: int, number: int) -> int:
    """Return the seed of picture ``number`` (from 0): the run's seed for 0, else a hash of both.

    It is not ``seed + number``: the rows of a workflow have consecutive seeds, so the second
    picture of one row would equal the first of the next.
    """
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
