"""The size of one picture: sides in steps of 64 pixels, fitted to a shape or given outright.

Stable Diffusion works on tiles of 64 pixels, so every size is a whole number of them. This module
knows numbers only; where they came from, and the words of a refusal, are the request's.
"""

from __future__ import annotations

from math import ceil, floor, isqrt, log

SIZE_STEP_PX = 64
"""Pixels; both sides are multiples of it."""

MAX_ASPECT_RATIO = 4
"""The long side is at most this many times the short one."""


def is_valid_aspect(width: int, height: int) -> bool:
    """Whether the two numbers, in whatever unit, lie between 1:4 and 4:1."""
    return 0 < width <= MAX_ASPECT_RATIO * height and height <= MAX_ASPECT_RATIO * width


def is_valid_size(width: int, height: int, max_pixels: int, min_pixels: int = 1) -> bool:
    """Whether a picture may have this size in pixels."""
    whole_tiles = width % SIZE_STEP_PX == 0 and height % SIZE_STEP_PX == 0
    return (
        whole_tiles
        and is_valid_aspect(width, height)
        and min_pixels <= width * height <= max_pixels
    )


def fit_aspect(
    ratio_w: int, ratio_h: int, area: int, max_pixels: int, min_pixels: int = 1
) -> tuple[int, int]:
    """The allowed width and height, in pixels, nearest to a shape and to ``area`` square pixels.

    Never above ``max_pixels`` or below ``min_pixels``. The shape weighs twice as much as the area,
    so a square stays square. Raises ValueError for a ratio beyond 1:4 or 4:1, and for limits that
    leave no size.
    """
    tiles, fewest = max_pixels // SIZE_STEP_PX**2, ceil(min_pixels / SIZE_STEP_PX**2)
    if not is_valid_aspect(ratio_w, ratio_h) or not 1 <= fewest <= tiles or area < 1:
        raise ValueError(f"nothing fits {ratio_w}:{ratio_h}, {area} and {max_pixels} pixels")
    if ratio_w < ratio_h:
        height, width = fit_aspect(ratio_h, ratio_w, area, max_pixels, min_pixels)
        return width, height
    ratio = ratio_w / ratio_h
    wanted = min(area, max_pixels) / SIZE_STEP_PX**2

    def misfit(size: tuple[int, int]) -> tuple[float, int]:
        columns, rows = size
        error = 2 * abs(log(columns / rows / ratio)) + abs(log(columns * rows / wanted))
        # Rounded, so that equally good sizes are equal; of those, the one with more pixels.
        return round(error, 9), -columns * rows

    # For one width the misfit grows on both sides of the exact height: only its neighbours matter.
    candidates = [
        (columns, min(max(rows, shortest), tallest))
        for columns in range(1, isqrt(MAX_ASPECT_RATIO * tiles) + 1)
        if (shortest := max(ceil(columns / MAX_ASPECT_RATIO), ceil(fewest / columns)))
        <= (tallest := min(columns, tiles // columns))
        for rows in (floor(columns / ratio), ceil(columns / ratio))
    ]
    columns, rows = min(candidates, key=misfit)
    return columns * SIZE_STEP_PX, rows * SIZE_STEP_PX
