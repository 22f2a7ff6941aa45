"""Mix colours, arrays of sRGB in 0..1, in Oklab, so that blends do not turn grey.

Oklab is Björn Ottosson's perceptual space; the matrices are his.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Color = NDArray[np.floating[Any]]
"""Shape (3,) or (n, 3): red, green, blue in 0..1."""

_TO_CONE = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_LAB = np.linalg.inv(_TO_LAB)
_FROM_CONE = np.linalg.inv(_TO_CONE)


def from_hex(text: str) -> Color:
    """``"ff8800"`` as a colour."""
    return np.array([int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)], np.float32)


def to_oklab(color: Color) -> NDArray[np.float64]:
    """Lightness, green–red and blue–yellow; the last axis holds the three."""
    value = color.astype(np.float64)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_CONE.T) @ _TO_LAB.T)


def from_oklab(lab: NDArray[np.float64]) -> Color:
    """Back to sRGB; what a screen cannot show is clipped."""
    linear = np.clip((lab @ _FROM_LAB.T) ** 3 @ _FROM_CONE.T, 0, 1)
    curve = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curve.astype(np.float32)


def mix(first: Color, second: Color, share: float) -> Color:
    """``first`` with ``share`` (0..1) of ``second`` in it."""
    return from_oklab(to_oklab(first) * (1 - share) + to_oklab(second) * share)


def from_hue(lightness: float, chroma: float, hue: float) -> Color:
    """Return a colour by lightness 0..1, chroma 0..0.3 and hue in turns."""
    angle = hue * 2 * np.pi
    return from_oklab(np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)]))


def turn(color: Color, turns: float, vividness: float = 1.0) -> Color:
    """``color`` with its hue turned and its chroma scaled, equally light."""
    lightness, green_red, blue_yellow = to_oklab(color)
    angle = np.arctan2(blue_yellow, green_red) + turns * 2 * np.pi
    chroma = np.hypot(green_red, blue_yellow) * vividness
    return from_oklab(np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)]))


def tint(color: Color, pigment: Color, share: float) -> Color:
    """``color``, equally light, with its hue drawn towards that of ``pigment``."""
    lab, goal = to_oklab(color), to_oklab(pigment)
    lab[1:] = lab[1:] * (1 - share) + goal[1:] * share
    return from_oklab(lab)


def ramp(stops: Sequence[Color], size: int = 1024) -> Color:
    """``size`` colours that pass evenly through all ``stops``."""
    labs = np.stack([to_oklab(stop) for stop in stops])
    at = np.linspace(0, 1, size)
    places = np.linspace(0, 1, len(stops))
    return from_oklab(np.stack([np.interp(at, places, labs[:, axis]) for axis in range(3)], 1))
