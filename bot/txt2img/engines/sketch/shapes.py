"""Compute closed outlines: curves, capsules and ellipses, as points in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bot.txt2img.engines.sketch.canvas import Points


def curve(points: Sequence[tuple[float, float]], closed: bool = True, density: int = 8) -> Points:
    """Return a Catmull–Rom line through ``points``, with ``density`` points for each of them."""
    knots = np.asarray(points, np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([knots[:1], knots, knots[-1:]])
    share = np.linspace(0, 1, density, endpoint=False)[:, None]
    before, start, end, after = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]
    pieces = [
        0.5
        * (
            2 * start[at]
            + (end[at] - before[at]) * share
            + (2 * before[at] - 5 * start[at] + 4 * end[at] - after[at]) * share**2
            + (3 * start[at] - before[at] - 3 * end[at] + after[at]) * share**3
        )
        for at in range(len(start))
    ]
    return np.concatenate([*pieces, knots[-2:-1]])


def ellipse(
    x: float, y: float, across: float, down: float, turns: float = 0.0, corners: int = 48
) -> Points:
    """Return an ellipse with half axes ``across`` and ``down``, turned clockwise."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    flat = np.stack([np.cos(angle) * across, np.sin(angle) * down], 1)
    placed: Points = rotated(flat, turns) + np.array([x, y])
    return placed


def capsule(
    start: tuple[float, float], end: tuple[float, float], first: float, last: float
) -> Points:
    """Return a limb with round ends, of radius ``first`` at its start and ``last`` at its end."""
    direction = np.arctan2(end[1] - start[1], end[0] - start[0])
    half = np.linspace(-np.pi / 2, np.pi / 2, 10)
    tip = np.stack([np.cos(direction + half), np.sin(direction + half)], 1) * last + end
    tail = np.stack([np.cos(direction + np.pi + half), np.sin(direction + np.pi + half)], 1)
    return np.concatenate([tip, tail * first + start])


def ribbon(line: Points, widths: Sequence[float]) -> Points:
    """Return a band along ``line``; ``widths`` are half widths, spread evenly over the line."""
    ahead = np.gradient(line, axis=0)
    length = np.maximum(np.hypot(ahead[:, 0], ahead[:, 1]), 1e-6)
    normal = np.stack([-ahead[:, 1] / length, ahead[:, 0] / length], 1)
    places = np.linspace(0, 1, len(widths))
    half = np.interp(np.linspace(0, 1, len(line)), places, widths)[:, None]
    return np.concatenate([line + normal * half, (line - normal * half)[::-1]])


def polygon(*points: tuple[float, float]) -> Points:
    """Straight edges between ``points``."""
    return np.asarray(points, np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def rotated(points: Points, turns: float) -> Points:
    """``points`` turned clockwise about the origin."""
    sine, cosine = np.sin(turns * 2 * np.pi), np.cos(turns * 2 * np.pi)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]))
