"""What engines are given and what they are: a batch of prompts in, as many pictures out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures to be painted together, one per prompt.

    ``first`` is the number, from 0, of the first picture within the run: together with ``seed``
    it fixes where each picture starts. ``width`` and ``height`` in pixels. ``scale`` is the
    guidance scale, None for what suits the model.
    """

    prompts: tuple[str, ...]
    negative: str
    seed: int
    first: int
    width: int
    height: int
    steps: int
    scale: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What really painted a batch.

    ``model`` is empty where there is none. ``steps`` is how many sampling steps ran, which can be
    more or fewer than were asked for; ``guidance`` the scale that was used, None where there is no
    such thing; ``negative`` whether a negative prompt changes the picture.
    """

    engine: str
    model: str
    steps: int
    guidance: float | None
    negative: bool


class ImageEngine(Protocol):
    """Paints batches. The same batch on the same machine gives the same pixels."""

    @property
    def notice(self) -> str:
        """A line for the log about what is painting; may be empty."""
        ...

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """One RGB picture per prompt; calls ``step`` once for each of ``batch.steps`` steps.

        Raises Refusal when the engine cannot paint this batch at all.
        """
        ...

    @property
    def report(self) -> Report:
        """Return what painted the last batch; only to be asked after ``paint``."""
        ...
