"""The engine that needs nothing installed: pictures drawn from the words of the prompt.

Says in the log and in every picture that no model is at work. The same prompt, negative prompt,
seed, number and size give the same picture, byte for byte. How it is drawn is in
:mod:`bot.txt2img.engines.sketch`.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from bot.txt2img.engines.base import Batch, Report
from bot.txt2img.engines.sketch.picture import draw_picture


class SketchEngine:
    """Draws pictures while the steps go by; ``rest`` is called for ``step_seconds`` each step."""

    notice = "No model installed: drawing sketches from the words of the prompt."

    def __init__(self, step_seconds: float, rest: Callable[[float], None]) -> None:
        self._step_seconds = step_seconds
        self._rest = rest
        self._steps = 0

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """The pictures, drawn evenly spread over the steps so that progress means something."""
        count = len(batch.prompts)
        pictures: list[Image.Image] = []
        for done in range(1, batch.steps + 1):
            while len(pictures) < count * done // batch.steps:
                pictures.append(_picture(batch, len(pictures)))
            if self._step_seconds:
                self._rest(self._step_seconds)
            step()
        self._steps = batch.steps
        return tuple(pictures)

    @property
    def report(self) -> Report:
        """Return what painted: no model."""
        return Report("sketch", "", self._steps, guidance=None, negative=True)


def _picture(batch: Batch, number: int) -> Image.Image:
    return draw_picture(
        batch.prompts[number],
        batch.negative,
        batch.seed,
        batch.first + number,
        batch.width,
        batch.height,
        batch.steps,
    )
