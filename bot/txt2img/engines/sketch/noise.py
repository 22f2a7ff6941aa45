"""Generate fractal noise in one and two dimensions, for clouds, nebulae, ridges and water."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]
"""Shape (height, width) or (width,), mostly in 0..1."""


def fractal(
    random: np.random.Generator,
    shape: tuple[int, int],
    across: float,
    down: float,
    octaves: int = 5,
    gain: float = 0.5,
) -> Field:
    """Smooth noise in 0..1 with about ``across`` by ``down`` bumps in the coarsest octave."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for _ in range(octaves):
        if across > width / 2 and down > height / 2:
            break
        size = (int(np.ceil(across)) + 3, int(np.ceil(down)) + 3)
        values = random.random((size[1], size[0]), np.float32)
        shift_x, shift_y = random.random(2)
        box = (1 + shift_x * 0.9, 1 + shift_y * 0.9, 1 + across, 1 + down)
        box = (box[0], box[1], max(box[2], box[0] + 0.5), max(box[3], box[1] + 0.5))
        layer = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC, box=box)
        total += weight * np.asarray(layer)
        weight *= gain
        across, down = across * 2.03, down * 2.03
    return normalized(total)


def normalized(field: Field) -> Field:
    """Return the same field, stretched to 0..1."""
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)


def warped(field: Field, move_x: Field, move_y: Field) -> Field:
    """Return ``field`` shifted by ``move_x`` and ``move_y`` pixels, mirrored at its edges."""
    height, width = field.shape
    rows = np.arange(height, dtype=np.float32)[:, None] + move_y
    columns = np.arange(width, dtype=np.float32)[None, :] + move_x
    return field[_mirrored(rows, height), _mirrored(columns, width)]


def _mirrored(index: Field, size: int) -> NDArray[np.int32]:
    folded = np.abs(index.astype(np.int32)) % (2 * size)
    return np.asarray(np.minimum(folded, 2 * size - 1 - folded), np.int32)


def profile(
    random: np.random.Generator,
    width: int,
    bumps: float,
    octaves: int = 6,
    gain: float = 0.5,
    ridged: bool = False,
) -> Field:
    """Return noise in 0..1 over ``width`` pixels; ``ridged`` folds it into sharp crests."""
    total = np.zeros(width, np.float64)
    weight = 1.0
    for _ in range(octaves):
        count = int(np.ceil(bumps)) + 4
        values = random.random(count)
        at = np.linspace(0, bumps, width) + random.random()
        cell = at.astype(int)
        share = at - cell
        share = share * share * (3 - 2 * share)
        line = values[cell] * (1 - share) + values[cell + 1] * share
        total += weight * (1 - np.abs(2 * line - 1) if ridged else line)
        weight *= gain
        bumps *= 2.1
    return normalized(total.astype(np.float32))


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below ``low``, 1 above ``high``, an S between."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
