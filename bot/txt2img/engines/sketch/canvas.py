"""Provide the canvas: a float picture and the ways to put colour on it.

All coordinates are pixels from the top left corner; ``unit`` is the shorter side, so that sizes
given in units look alike at every resolution. Edges are anti-aliased: polygons are drawn three
times larger and reduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bot.txt2img.engines.sketch.color import Color
from bot.txt2img.engines.sketch.noise import Field

Points = NDArray[np.float64]
"""Shape (n, 2): x and y in pixels."""

_OVERSAMPLING = 3


@dataclass(frozen=True, slots=True)
class Patch:
    """A mask (0..1) for a part of the canvas, with its corner at ``left``, ``top``."""

    left: int
    top: int
    mask: Field

    @property
    def place(self) -> tuple[slice, slice]:
        """The part of the canvas below the mask."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class Canvas:
    """A picture that is being drawn; ``pixels`` is (height, width, 3) in 0..1, and may exceed 1."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.unit = min(width, height)
        self.pixels: Field = np.zeros((height, width, 3), np.float32)
        self.x: Field = np.arange(width, dtype=np.float32)[None, :] + 0.5
        self.y: Field = np.arange(height, dtype=np.float32)[:, None] + 0.5

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, as arrays have them."""
        return self.height, self.width

    def lookup(self, colors: Color, share: Field) -> None:
        """Fill everything from a ramp of ``colors`` by a field of shares in 0..1."""
        last = len(colors) - 1
        self.pixels = colors[np.clip(share * last, 0, last).astype(np.int32)]

    def blend(self, color: Color, mask: Field, top: int = 0) -> None:
        """Cover with ``color`` (one, or one per pixel) where ``mask`` says; from row ``top`` on."""
        part = self.pixels[top:]
        part += mask[..., None] * (color - part)

    def shine(self, color: Color, light: Field, top: int = 0) -> None:
        """Add light without burning out: screen ``color`` times ``light``."""
        part = self.pixels[top:]
        part += light[..., None] * color * np.maximum(1 - part, 0)

    def apply(self, patch: Patch, color: Color) -> None:
        """Cover with ``color`` (one, or one per pixel of the patch) below a patch."""
        part = self.pixels[patch.place]
        part += patch.mask[..., None] * (color - part)

    def gradient(self, patch: Patch, top: Color, bottom: Color) -> None:
        """Cover a patch with a colour that changes from its top to its bottom."""
        share = np.linspace(0, 1, patch.mask.shape[0], dtype=np.float32)[:, None, None]
        self.apply(patch, top * (1 - share) + bottom * share)

    def glow(self, center: tuple[float, float], radius: float, color: Color, power: float) -> None:
        """Draw a soft light around a point; at ``radius`` pixels a third of it is left."""
        reach = int(radius * 3) + 1
        left, right = max(0, int(center[0]) - reach), min(self.width, int(center[0]) + reach)
        top, bottom = max(0, int(center[1]) - reach), min(self.height, int(center[1]) + reach)
        if left >= right or top >= bottom:
            return
        squares = (self.x[:, left:right] - center[0]) ** 2 + (self.y[top:bottom] - center[1]) ** 2
        light = power * np.exp(-squares / (radius * radius))
        part = self.pixels[top:bottom, left:right]
        part += light[..., None] * color * np.maximum(1 - part, 0)

    def patch(self, outlines: Sequence[Points], cut: Sequence[Points] = ()) -> Patch:
        """Return the union of closed ``outlines`` less those to ``cut``, clipped to the canvas."""
        corners = np.concatenate(outlines)
        left, top = np.floor(corners.min(0)).astype(int) - 1
        right, bottom = np.ceil(corners.max(0)).astype(int) + 2
        left, top = max(0, left), max(0, top)
        width, height = min(self.width, right) - left, min(self.height, bottom) - top
        if width < 1 or height < 1:
            return Patch(0, 0, np.zeros((1, 1), np.float32))
        large = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
        draw = ImageDraw.Draw(large)
        for value, group in ((255, outlines), (0, cut)):
            for outline in group:
                moved = (outline - (left, top)) * _OVERSAMPLING
                draw.polygon([(float(x), float(y)) for x, y in moved], fill=value)
        mask = np.asarray(large.reduce(_OVERSAMPLING), np.float32) / 255
        return Patch(int(left), int(top), mask)

    def paint(self, outlines: Sequence[Points], color: Color, bottom: Color | None = None) -> Patch:
        """Cover the union of ``outlines``; with ``bottom``, as a gradient. Returns the patch."""
        patch = self.patch(outlines)
        self.gradient(patch, color, color if bottom is None else bottom)
        return patch

    def rim(self, patch: Patch, toward: tuple[float, float], color: Color, power: float) -> None:
        """Light the edge of a patch that faces ``toward`` (a step in pixels)."""
        shift_x, shift_y = round(toward[0]), round(toward[1])
        mask = patch.mask
        moved = np.zeros_like(mask)
        height, width = mask.shape
        if abs(shift_x) >= width or abs(shift_y) >= height:
            return
        source = mask[
            max(0, shift_y) : height + min(0, shift_y), max(0, shift_x) : width + min(0, shift_x)
        ]
        moved[
            max(0, -shift_y) : height + min(0, -shift_y),
            max(0, -shift_x) : width + min(0, -shift_x),
        ] = source
        self.apply(Patch(patch.left, patch.top, mask * (1 - moved) * power), color)
