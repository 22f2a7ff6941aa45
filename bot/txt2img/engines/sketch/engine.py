"""Run the sketch engine: draw one picture per prompt while the sampling steps pass.

The log and every picture say that no model is used. Equal prompt, negative prompt, seed, number,
size and steps give equal pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from bot.txt2img.engines.sketch.picture import draw_picture


class SketchBatch(Protocol):
    """The fields of a batch that the engine reads; ``width`` and ``height`` are in pixels."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the prompts, one per picture."""
        ...

    @property
    def negative(self) -> str:
        """Return the negative prompt; may be empty."""
        ...

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        ...

    @property
    def first(self) -> int:
        """Return the number of the first picture within the run, from 0."""
        ...

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        ...

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        ...

    @property
    def steps(self) -> int:
        """Return the number of sampling steps, at least 1."""
        ...

    @property
    def init_image(self) -> Image.Image | None:
        """Return the picture to start from, which has the size of the result, or None."""
        ...

    @property
    def strength(self) -> float:
        """Return how far to depart from that picture, from 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class SketchReport:
    """Describe a run: no model, no guidance, and the negative prompt has an effect."""

    steps: int
    engine: str = "sketch"
    model: str = ""
    guidance: float | None = None
    negative: bool = True
    sampler: str = ""
    sha256: str = ""


class SketchEngine:
    """Draw pictures, spread over the steps; ``sleep(step_seconds)`` is called at each step."""

    notice = "No model installed: drawing sketches from the words of the prompt."

    def __init__(self, step_seconds: float, sleep: Callable[[float], None]) -> None:
        self._step_seconds = step_seconds
        self._sleep = sleep
        self._steps = 0

    def generate(self, batch: SketchBatch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return one picture per prompt; call ``step`` once for each step."""
        count = len(batch.prompts)
        pictures: list[Image.Image] = []
        for done in range(1, batch.steps + 1):
            while len(pictures) < count * done // batch.steps:
                pictures.append(_draw(batch, len(pictures)))
            if self._step_seconds:
                self._sleep(self._step_seconds)
            step()
        self._steps = batch.steps
        return tuple(pictures)

    @property
    def report(self) -> SketchReport:
        """Return the report of the last batch."""
        return SketchReport(self._steps)


def _draw(batch: SketchBatch, number: int) -> Image.Image:
    drawn = draw_picture(
        batch.prompts[number],
        batch.negative,
        batch.seed,
        batch.first + number,
        batch.width,
        batch.height,
        batch.steps,
    )
    if batch.init_image is None:
        return drawn
    return Image.blend(batch.init_image, drawn, batch.strength)
