"""Generate pictures with a real model through Hugging Face's diffusers, on CPU or GPU.

Needs the optional extra ``diffusers``, which is imported when the engine is created. Each picture
has its own generator, so picture N of a seed does not depend on the size of its batch.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from PIL import Image

from bot.txt2img.engines.base import Batch, OutOfMemory, Report
from bot.txt2img.engines.pipelines import is_out_of_memory, load_pipeline, place
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.models import Model


class DiffusersEngine:
    """Run the model of ``spec``.

    ``facts`` are those about that model, ``sha256`` that of its single file. The constructor loads
    the model, which takes seconds to minutes. Raises UsageError.
    """

    def __init__(self, spec: EngineSpec, facts: Model, sha256: str = "") -> None:
        self._pipeline, self._sampler = load_pipeline(spec, facts)
        self._from_image: Any = None
        self._placed = self._pipeline
        self._spec = spec
        self._facts = facts
        self._sha256 = sha256
        self._report = self._describe(0, facts.guidance, negative=True)

    @property
    def notice(self) -> str:
        """Return the log line that names the model or its folder."""
        return f"Generating with {self._spec.model.location}"

    @property
    def report(self) -> Report:
        """Return the model, its guidance, and the number of steps that the scheduler ran."""
        return self._report

    @property
    def memory_bytes(self) -> int:
        """Return the bytes of the model's weights."""
        parts = self._pipeline.components.values()
        return sum(
            weights.nbytes
            for part in parts
            if hasattr(part, "parameters")
            for weights in (*part.parameters(), *part.buffers())
        )

    def close(self) -> None:
        """Free the model's memory; the engine cannot be used afterwards."""
        self._pipeline = self._from_image = self._placed = None
        free_memory()

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return the pictures of one pipeline call for the whole batch.

        Raises UsageError, OutOfMemory.
        """
        pipeline = self._select_pipeline(batch)
        # A run from a picture leaves out the first steps.
        expected = batch.steps
        if batch.init_image is not None:
            expected = max(1, int(batch.steps * batch.strength))
        steps_run = shown = 0

        def on_step_end(_pipeline: object, _number: int, _time: object, values: Any) -> Any:
            nonlocal steps_run, shown
            steps_run += 1
            # Some schedulers call the network more times than there are steps.
            while shown < min(batch.steps, steps_run * batch.steps // expected):
                shown += 1
                step()
            return values

        scale = self._facts.guidance if batch.scale is None else batch.scale
        guided = self._facts.negative_acts(batch.scale)
        failed = False
        try:
            images = pipeline(
                **self._arguments(batch, scale, guided=guided), callback_on_step_end=on_step_end
            ).images
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # Not raised from here: the traceback would keep the tensors alive.
            failed = True
        if failed:
            free_memory()
            raise OutOfMemory(
                f"{len(batch.prompts)} pictures of {batch.width}x{batch.height} do not fit into "
                "memory: ask for fewer samples or smaller pictures."
            )
        for _ in range(batch.steps - shown):
            step()
        self._report = self._describe(steps_run, scale, negative=guided)
        return tuple(image.convert("RGB") for image in images)

    def _arguments(self, batch: Batch, scale: float | None, *, guided: bool) -> dict[str, Any]:
        import torch

        count = len(batch.prompts)
        if batch.init_image is None:
            start: dict[str, Any] = {"width": batch.width, "height": batch.height}
        else:
            start = {"image": [batch.init_image] * count, "strength": batch.strength}
            # Where the size is an option its default is the model's, and the picture is resized.
            if "width" in inspect.signature(self._from_image.__call__).parameters:
                start |= {"width": batch.width, "height": batch.height}
        if batch.negative and guided:
            start["negative_prompt"] = [batch.negative] * count
        if scale is not None:
            start["guidance_scale"] = scale
        return {
            **start,
            "prompt": list(batch.prompts),
            "num_inference_steps": batch.steps,
            "generator": [
                torch.Generator("cpu").manual_seed(image_seed(batch.seed, batch.first + number))
                for number in range(count)
            ],
        }

    def _select_pipeline(self, batch: Batch) -> Any:
        """Return the pipeline for this kind of batch; both share their parts."""
        wanted = self._pipeline
        if batch.init_image is not None:
            if self._from_image is None:
                from diffusers import AutoPipelineForImage2Image

                self._from_image = AutoPipelineForImage2Image.from_pipe(self._pipeline)
                self._from_image.set_progress_bar_config(disable=True)
            wanted = self._from_image
        if wanted is not self._placed and self._spec.offload != "none":
            # The hooks that move the parts belong to one pipeline.
            place(wanted, self._spec)
        self._placed = wanted
        return wanted

    def _describe(self, steps: int, guidance: float | None, *, negative: bool) -> Report:
        facts = self._facts
        return Report(
            *("diffusers", facts.name, steps, guidance),
            negative=negative,
            sampler=self._sampler,
            sha256=self._sha256,
        )


def image_seed(seed: int, number: int) -> int:
    """Return the seed of picture ``number`` (from 0): the run's seed for 0, else a hash of both.

    It is not ``seed + number``: the rows of a workflow have consecutive seeds, so the second
    picture of one row would equal the first of the next.
    """
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def free_memory() -> None:
    """Give memory that is no longer used back to the device and the system."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass  # not glibc
