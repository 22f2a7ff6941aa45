"""Define the interface of image engines: a batch of prompts in, one picture per prompt out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from bot.txt2img.plan import UsageError


class OutOfMemory(UsageError):
    """The batch does not fit into memory; half of it may."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures to generate together, one per prompt.

    ``first`` is the number, from 0, of the first picture within the run; with ``seed`` it decides
    each picture's initial noise. ``width`` and ``height`` are in pixels. ``scale`` is the guidance
    scale, None for the model's default. With ``init_image``, which has that size, the pictures
    start from it; ``strength``, above 0 and below 1, says how far they may depart from it.
    """

    prompts: tuple[str, ...]
    negative: str
    seed: int
    first: int
    width: int
    height: int
    steps: int
    scale: float | None
    init_image: Image.Image | None = None
    strength: float = 0.0


class StepProgress:
    """Call ``step`` once for each of ``steps`` sampling steps, however often a part begins again.

    Engines that generate a batch in parts, or hear of their progress from elsewhere, tell it how
    much is done.
    """

    def __init__(self, steps: int, step: Callable[[], None]) -> None:
        self._steps = steps
        self._step = step
        self._shown = 0

    def show(self, fraction: float) -> None:
        """Show that this part of the batch is done, from 0 to 1; less than before has no effect."""
        # Of parts that add up to a whole number of steps, none is lost by rounding.
        while self._shown < min(int(fraction * self._steps + 1e-6), self._steps):
            self._shown += 1
            self._step()


@dataclass(frozen=True, slots=True)
class Report:
    """The engine, model and parameters that a batch was generated with.

    ``model`` is empty if there is none. ``steps`` is the number of sampling steps that ran, which
    can differ from the number requested. ``guidance`` is the scale that was used, None if the
    model has none. ``negative`` says whether a negative prompt changes the picture. ``sampler`` is
    the scheduler's name, ``sha256`` that of the model's file; empty if unknown or none.
    """

    engine: str
    model: str
    steps: int
    guidance: float | None
    negative: bool
    sampler: str = ""
    sha256: str = ""


class RunReport(Protocol):
    """The fields of a report; see :class:`Report`. The sketch engine has a class of its own."""

    @property
    def engine(self) -> str:
        """Return the engine's name."""
        ...

    @property
    def model(self) -> str:
        """Return the model's name; empty if there is none."""
        ...

    @property
    def steps(self) -> int:
        """Return the number of sampling steps that ran."""
        ...

    @property
    def guidance(self) -> float | None:
        """Return the guidance scale that was used, or None."""
        ...

    @property
    def negative(self) -> bool:
        """Return whether a negative prompt changes the picture."""
        ...

    @property
    def sampler(self) -> str:
        """Return the name of the sampler or scheduler, or an empty text."""
        ...

    @property
    def sha256(self) -> str:
        """Return the sha256 of the model's file as 64 hexadecimal digits, or an empty text."""
        ...


class ImageEngine(Protocol):
    """Generate pictures. Deterministic: equal batches on one machine give equal pixels."""

    @property
    def notice(self) -> str:
        """Return a log line about the engine and model; may be empty."""
        ...

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return one RGB picture per prompt; call ``step`` once for each of ``batch.steps`` steps.

        Raises UsageError if the engine cannot generate this batch.
        """
        ...

    @property
    def report(self) -> RunReport:
        """Return the report of the last batch; valid only after ``generate``."""
        ...
