"""Sizes of images in pixels: steps of 64, ratios from 1:4 to 4:1, bounds on the area."""

from __future__ import annotations

from math import ceil, floor, isqrt, log

SIZE_STEP_PX = 64
"""Width and height are multiples of it."""

MAX_ASPECT_RATIO = 4
"""Maximum ratio of the long side to the short one."""


def is_valid_aspect(width: int, height: int) -> bool:
    """Return whether the ratio is from 1:4 to 4:1; the unit does not matter."""
    return 0 < width <= MAX_ASPECT_RATIO * height and height <= MAX_ASPECT_RATIO * width


def is_valid_size(width: int, height: int, max_pixels: int, min_pixels: int = 1) -> bool:
    """Return whether an image may have this size in pixels."""
    whole_tiles = width % SIZE_STEP_PX == 0 and height % SIZE_STEP_PX == 0
    return (
        whole_tiles
        and is_valid_aspect(width, height)
        and min_pixels <= width * height <= max_pixels
    )


def fit_aspect(
    ratio_w: int, ratio_h: int, area: int, max_pixels: int, min_pixels: int = 1
) -> tuple[int, int]:
    """Return the allowed width and height nearest to a ratio and to ``area`` square pixels.

    The area is from ``min_pixels`` to ``max_pixels``. The ratio weighs twice as much as the area,
    so a square stays square. Raises ValueError for a ratio beyond 1:4 or 4:1, and if the limits
    allow no size.
    """
    tiles, min_tiles = max_pixels // SIZE_STEP_PX**2, ceil(min_pixels / SIZE_STEP_PX**2)
    if not is_valid_aspect(ratio_w, ratio_h) or not 1 <= min_tiles <= tiles or area < 1:
        raise ValueError(f"nothing fits {ratio_w}:{ratio_h}, {area} and {max_pixels} pixels")
    if ratio_w < ratio_h:
        height, width = fit_aspect(ratio_h, ratio_w, area, max_pixels, min_pixels)
        return width, height
    ratio = ratio_w / ratio_h
    wanted = min(area, max_pixels) / SIZE_STEP_PX**2

    def fit_error(size: tuple[int, int]) -> tuple[float, int]:
        columns, rows = size
        error = 2 * abs(log(columns / rows / ratio)) + abs(log(columns * rows / wanted))
        # Rounded, so that equally good sizes compare equal; of those, the larger one.
        return round(error, 9), -columns * rows

    # For one width the error grows on both sides of the exact height: two neighbours suffice.
    candidates = [
        (columns, min(max(rows, min_rows), max_rows))
        for columns in range(1, isqrt(MAX_ASPECT_RATIO * tiles) + 1)
        if (min_rows := max(ceil(columns / MAX_ASPECT_RATIO), ceil(min_tiles / columns)))
        <= (max_rows := min(columns, tiles // columns))
        for rows in (floor(columns / ratio), ceil(columns / ratio))
    ]
    columns, rows = min(candidates, key=fit_error)
    return columns * SIZE_STEP_PX, rows * SIZE_STEP_PX
