"""What paints: the program and its model, what they can do, and what they really did.

``Painter`` is what is known before a request is taken, ``Painted`` what a row's painter said
afterwards. Nobody here knows how a backend finds out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SCRIPT: Final = "stable-diffusion"
"""Stability's ``scripts/txt2img.py``, with the model that the request names."""

SKETCH: Final = "sketch"
"""Drawings from the words of the prompt."""

SCRIPT_MIN_PIXELS: Final = 256 * 256
"""Width × height: the script's watermark fails on anything smaller, after all the work."""

SCRIPT_GUIDANCE: Final = 9.0

_MOMENTS = 1000


def script_steps(asked: int) -> int:
    """Return how many steps Stability's script runs when ``asked`` (1 to 1000) are wanted.

    Its DDIM takes every (1000 // steps)th of 1000 moments, one late: 30 runs 31, 60 runs 63, and
    334 to 1000 run 500. Numbers with which it would reach behind the last moment and die are
    replaced by the workflow with the next smaller one that works.
    """
    steps = asked
    while 999 % (_MOMENTS // steps) == 0:
        steps -= 1
    return 999 // (_MOMENTS // steps) + 1


@dataclass(frozen=True, slots=True)
class Painter:
    """What will paint. ``engine`` is empty where that is not known, as with an own workflow.

    ``model`` is the only model there is; it is empty for a sketch, and where the request names
    one. ``negative``: whether a negative prompt changes the picture.
    """

    engine: str = ""
    model: str = ""
    negative: bool = True

    @property
    def chooses(self) -> bool:
        """Whether a request chooses the model; elsewhere naming one changes nothing."""
        return self.engine in ("", SCRIPT)

    @property
    def min_pixels(self) -> int:
        """The smallest width × height of one picture."""
        return SCRIPT_MIN_PIXELS if self.engine == SCRIPT else 1

    @property
    def names(self) -> tuple[str, ...]:
        """What its one model may be called in a request, in lower case."""
        known = (self.engine, self.model, self.model.rpartition("/")[2])
        return tuple(dict.fromkeys(name.casefold() for name in known if name))

    def steps_run(self, asked: int) -> int:
        """Return how many steps will really run."""
        return script_steps(asked) if self.engine == SCRIPT else asked

    def show(self, model: str = "") -> str:
        """Return engine and model in words; ``model`` is the one that a request names."""
        return show_painter(self.engine, model if self.chooses else self.model)


UNKNOWN: Final = Painter()


@dataclass(frozen=True, slots=True)
class Painted:
    """What really painted a row, in its own words.

    ``model`` is empty where there is none. ``steps`` is how many ran, 0 where there are none;
    ``guidance`` the scale, empty likewise. ``negative``: whether a negative prompt acts.
    """

    engine: str
    model: str = ""
    steps: int = 0
    guidance: str = ""
    negative: bool = True

    def show(self) -> str:
        """Return engine and model in words."""
        return show_painter(self.engine, self.model)


def show_painter(engine: str, model: str) -> str:
    """Return ``sketch, no model`` or ``diffusers, sdxl-turbo``; the model where no engine is known.

    Empty where nothing is known.
    """
    if not engine:
        return model
    return f"{engine}, {model or 'no model'}"
