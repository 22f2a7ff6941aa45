"""Draw figures in their own coordinates: feet at (0, 0), one unit tall, y upward.

Every part of a figure is a gradient with a bright edge towards the light and a dark edge away from
it, so that parts of one colour can be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.txt2img.engines.sketch import shapes
from bot.txt2img.engines.sketch.canvas import Canvas, Patch, Points
from bot.txt2img.engines.sketch.color import Color, from_hex, mix
from bot.txt2img.engines.sketch.palette import Palette
from bot.txt2img.engines.sketch.sky import LightSource

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pose:
    """The place of a figure: ``x``, ``y`` of its feet and its ``size``, in pixels.

    ``facing`` is 1 for right and -1 for left, ``turns`` rotates it clockwise about its feet.
    """

    canvas: Canvas
    palette: Palette
    lamp: LightSource
    x: float
    y: float
    size: float
    facing: int = 1
    turns: float = 0.0

    def placed(self, points: Points) -> Points:
        """Own coordinates as pixels."""
        flipped = points * (self.facing * self.size, -self.size)
        feet = np.array([self.x, self.y])
        placed: Points = shapes.rotated(flipped, self.turns) + feet
        return placed

    def at(self, x: float, y: float) -> Place:
        """One own point as pixels."""
        place = self.placed(np.array([[x, y]]))[0]
        return float(place[0]), float(place[1])

    def curve(self, *points: Place) -> Points:
        """Return a smooth closed shape."""
        return self.placed(shapes.curve(points))

    def twin(self, *points: Place) -> Points:
        """Return a smooth closed shape from its right half, top or bottom point first, mirrored."""
        inner = [(-x, y) for x, y in reversed(points) if x > 0]
        return self.curve(*points, *inner)

    def sharp(self, *points: Place) -> Points:
        """Return a polygon."""
        return self.placed(np.asarray(points, np.float64))

    def limb(self, start: Place, end: Place, first: float, last: float) -> Points:
        """Return a capsule between two points."""
        return self.placed(shapes.capsule(start, end, first, last))

    def band(self, points: Sequence[Place], widths: Sequence[float]) -> Points:
        """Return a ribbon along a smooth line."""
        return self.placed(shapes.ribbon(shapes.curve(points, closed=False), widths))

    def oval(self, x: float, y: float, across: float, down: float, turns: float = 0.0) -> Points:
        """Return an ellipse."""
        return self.placed(shapes.ellipse(x, y, across, down, turns))

    def part(self, color: Color, *outlines: Points, depth: float = 0.45) -> Patch:
        """Paint shapes as one lit body; ``depth`` is how dark its lower end is."""
        patch = self.canvas.patch(outlines)
        self.canvas.gradient(patch, color, mix(color, self.palette.near, depth))
        away_x, away_y = self.lamp.x - self.x, self.lamp.y - self.y + self.size * 0.5
        reach = max(1e-6, float(np.hypot(away_x, away_y)))
        step = max(1.0, self.size * 0.012)
        toward = (away_x / reach * step, away_y / reach * step)
        back = (-toward[0], -toward[1])
        self.canvas.rim(patch, back, mix(color, self.palette.near, 0.85), 0.4)
        self.canvas.rim(patch, toward, mix(color, self.palette.light, 0.75), 0.8)
        return patch

    def flat(self, color: Color, *outlines: Points) -> None:
        """Paint shapes in one colour, unlit."""
        self.canvas.apply(self.canvas.patch(outlines), color)

    def shine(self, x: float, y: float, radius: float, color: Color, power: float) -> None:
        """Draw a glow around an own point, ``radius`` in own units."""
        self.canvas.glow(self.at(x, y), radius * self.size, color, power)

    def toned(self, color: Color, share: float = 0.22) -> Color:
        """``color`` as it looks in this light."""
        return mix(mix(color, self.palette.far, share), self.palette.light, 0.06)

    def shadow(self, wide: float) -> None:
        """Draw a soft shadow on the ground."""
        place = self.canvas.patch([self.oval(0, 0, wide, wide * 0.13)])
        self.canvas.apply(Patch(place.left, place.top, place.mask * 0.5), self.palette.near)


def white() -> Color:
    """Plain white, before :meth:`Pose.toned`."""
    return from_hex("f6f2ea")
