"""Draw land as a series of ridges: mountains, hills, dunes and wooded slopes."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import Color, mix
from bot.txt2img.engines.sketch.noise import Field, fractal, profile, smoothstep
from bot.txt2img.engines.sketch.plants import conifer, grasses
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.shapes import curve, ribbon
from bot.txt2img.engines.sketch.sky import LightSource


def fill_ridge(
    canvas: Canvas, heights: Field, crest: Color, foot: Color, depth: float, shade: Field | None
) -> None:
    """Cover everything below a ridge: ``heights`` are rows of its crest, one per column.

    The colour fades from ``crest`` to ``foot`` within ``depth`` pixels; ``shade`` (one value per
    column or pixel, about 1) multiplies it.
    """
    top = int(max(0, np.floor(heights.min()) - 1))
    if top >= canvas.height:
        return
    below = canvas.y[top:] - heights[None, :]
    share = np.clip(below / depth, 0, 1)[..., None]
    color = crest + (foot - crest) * share
    if shade is not None:
        color = color * (shade[top:] if shade.ndim == 2 else shade[None, :])[..., None]
    canvas.blend(color, np.clip(below + 0.5, 0, 1), top)


def paint_mountains(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Four to six ranges up to our feet, snow on the far ones in cold weather, firs on the last."""
    random = dice.stream("mountains")
    palette = scene.palette
    layers = int(random.integers(4, 7))
    wide = canvas.width / canvas.unit
    for layer in range(layers):
        near = layer / (layers - 1)
        base = horizon + (canvas.height * 0.96 - horizon) * near**1.25
        tall = canvas.unit * (0.34 - 0.2 * near) * random.uniform(0.75, 1.15)
        line = profile(random, canvas.width, (1.6 + 2.2 * near) * wide, 7, 0.47, ridged=layer < 3)
        heights = base - tall * line**1.25
        crest = palette.land(0.12 + 0.88 * near**1.3)
        haze = mix(crest, palette.horizon, 0.72 * (1 - near) + 0.08)
        shade = None
        if layer < 3:
            shade = _faces(canvas, dice, f"faces {layer}", heights, lamp, 0.34 * (1 - near * 0.6))
        fill_ridge(canvas, heights, crest, haze, tall * 1.5, shade)
        if layer < 2 and ("snow" in scene.weather or random.random() < 0.4):
            _snow_caps(canvas, dice, layer, heights, tall, mix(palette.light, haze, 0.25))
        if layer == layers - 1:
            _firs(canvas, dice, heights, palette.near, 0.05)


def paint_hills(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> None:
    """Soft hills with grass at our feet and flowers in it by day."""
    random = dice.stream("hills")
    palette = scene.palette
    wide = canvas.width / canvas.unit
    layers = 5
    for layer in range(layers):
        near = layer / (layers - 1)
        base = horizon + (canvas.height * 0.93 - horizon) * near**1.15
        tall = canvas.unit * random.uniform(0.08, 0.15)
        line = profile(random, canvas.width, (1.0 + 0.6 * near) * wide, 3, 0.32)
        heights = base - tall * line
        crest = mix(palette.land(0.1 + 0.75 * near), palette.light, 0.16 * (1 - near))
        foot = mix(palette.land(0.2 + 0.8 * near), palette.horizon, 0.3 * (1 - near))
        fill_ridge(canvas, heights, crest, foot, canvas.unit * 0.3, None)
        if 0 < layer < 4 and random.random() < 0.7:
            _firs(canvas, dice, heights, mix(foot, palette.near, 0.6), 0.02 + 0.03 * near, 0.5)
    grasses(canvas, dice, palette, flowers="snow" not in scene.weather)


def paint_desert(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Dunes with a lit and a shaded side, and now and then a table mountain behind them."""
    heights: Field
    random = dice.stream("desert")
    palette = scene.palette
    if random.random() < 0.65:
        line = profile(random, canvas.width, 3.2, 4)
        tables = smoothstep(0.42, 0.5, line) * (0.7 + 0.3 * smoothstep(0.66, 0.7, line))
        heights = horizon + canvas.unit * (0.03 - 0.17 * tables)
        crest = mix(palette.far, palette.near, 0.25)
        fill_ridge(canvas, heights, crest, palette.horizon, canvas.unit * 0.24, None)
    ripples = fractal(dice.stream("ripples"), canvas.shape, 3, 46, octaves=2)
    for layer in range(5):
        near = layer / 4
        base = horizon + (canvas.height * 0.9 - horizon) * near
        tall = canvas.unit * (0.07 + 0.16 * near)
        line = profile(random, canvas.width, 1.2 + 0.8 * random.random(), 2, 0.35, ridged=True)
        heights = base - tall * line
        below = canvas.y - heights[None, :]
        lit = _facing(canvas, heights, lamp, canvas.unit * 0.03, below * 1.5)
        depth = np.clip(below / (tall * 1.8), 0, 1)
        shade = 0.7 + 0.36 * lit * (1 - depth * 0.5) + 0.05 * (ripples - 0.5) * near
        crest = mix(palette.land(0.12 + 0.5 * near), palette.light, 0.2 * (1 - near))
        foot = palette.land(0.25 + 0.75 * near)
        fill_ridge(canvas, heights, crest, foot, canvas.unit * 0.36, shade.astype(np.float32))


def paint_forest(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Rows of firs that come out of the haze, rays between them, great trunks at the sides."""
    random = dice.stream("forest")
    palette = scene.palette
    layers = 5
    for layer in range(layers):
        near = layer / (layers - 1)
        base = horizon + canvas.height * (0.02 + 0.24 * near)
        line = profile(random, canvas.width, 2.5, 3)
        heights = (base - canvas.unit * 0.06 * line).astype(np.float32)
        crest = mix(palette.land(0.05 + 0.8 * near**1.2), palette.horizon, 0.45 * (1 - near) ** 1.5)
        gap = random.uniform(0.3, 0.7) if near > 0.4 else -1.0
        _firs(canvas, dice, heights, crest, 0.14 + 0.3 * near**1.2, 0.9, gap, f"row {layer}")
        haze = mix(crest, palette.horizon, 0.6 * (1 - near))
        fill_ridge(canvas, heights, crest, haze, canvas.unit * 0.2, None)
        if layer == 2:
            _rays(canvas, dice, lamp)
    ground = mix(palette.near, palette.light, 0.62) if "snow" in scene.weather else palette.near
    line = profile(random, canvas.width, 1.6, 4)
    heights = canvas.height * (0.93 - 0.07 * line)
    fill_ridge(canvas, heights, ground, mix(ground, palette.near, 0.6), canvas.unit * 0.2, None)
    _trunks(canvas, random, palette.near)


def _trunks(canvas: Canvas, random: np.random.Generator, color: Color) -> None:
    for left in (True, False):
        if random.random() < 0.35:
            continue
        inward = 1 if left else -1
        place = random.uniform(-0.01, 0.07)
        x = canvas.width * (place if left else 1 - place)
        half = canvas.unit * random.uniform(0.026, 0.05)
        lean = canvas.unit * random.uniform(-0.03, 0.05) * inward
        foot, top = canvas.height * 0.99, -canvas.height * 0.03
        line = curve(
            [(x - lean, foot), (x - lean * 0.7, foot * 0.85), (x, foot * 0.45), (x + lean, top)],
            False,
        )
        outlines = [ribbon(line, (half * 1.9, half * 1.1, half * 0.95, half * 0.9, half * 0.8))]
        for _ in range(int(random.integers(3, 6))):
            y = canvas.height * random.uniform(0.02, 0.42)
            reach = canvas.unit * random.uniform(0.1, 0.24) * inward
            bough = curve(
                [
                    (x, y),
                    (x + reach * 0.5, y + abs(reach) * 0.12),
                    (x + reach, y + abs(reach) * 0.42),
                ],
                False,
            )
            outlines.append(ribbon(bough, (half * 0.3, half * 0.17, 0.0)))
            for share in np.linspace(0.25, 0.95, 7):
                at = bough[int(share * (len(bough) - 1))]
                hang = abs(reach) * random.uniform(0.2, 0.42) * (1.1 - share * 0.5)
                twig = np.stack([at, at + np.array([reach * 0.1, hang])])
                outlines.append(ribbon(twig, (half * 0.16, 0.0)))
        patch = canvas.patch(outlines)
        canvas.apply(patch, color)
        canvas.rim(patch, (canvas.unit * 0.007 * inward, 0), mix(color, color * 2.6, 0.8), 0.5)


def _faces(
    canvas: Canvas, dice: RandomStreams, name: str, heights: Field, lamp: LightSource, depth: float
) -> Field:
    """Light and shadow on rock: the slope of the crest, run down the face along ragged lines."""
    grain = fractal(dice.stream(name), canvas.shape, 7, 7, octaves=5, gain=0.55)
    below = np.clip(canvas.y - heights[None, :], 0, None)
    shift = (grain - 0.5) * canvas.unit * 0.16 * np.clip(below / (canvas.unit * 0.05), 0, 1)
    lit = _facing(canvas, heights, lamp, canvas.unit * 0.012, shift + below * 0.35)
    fade = np.exp(-below / (canvas.unit * 0.22))
    return np.asarray(1 + depth * ((lit - 0.55) * fade + 0.7 * (grain - 0.5)), np.float32)


def _facing(
    canvas: Canvas, heights: Field, lamp: LightSource, window: float, shift: Field
) -> Field:
    """How much a crest turns to the light, 0..1, read ``shift`` pixels farther along it."""
    side = 1.0 if lamp.x > canvas.width / 2 else -1.0
    width = max(3, int(window) | 1)
    padded = np.pad(heights, width, mode="edge")
    smooth = np.convolve(padded, np.ones(width) / width, "same")
    slope = np.gradient(smooth)[width:-width] * side
    lit = smoothstep(-0.3, 0.3, slope.astype(np.float32))
    columns = np.arange(canvas.width, dtype=np.float32)[None, :] - shift * side
    return np.asarray(lit[np.clip(columns, 0, canvas.width - 1).astype(np.int32)], np.float32)


def _snow_caps(
    canvas: Canvas, dice: RandomStreams, layer: int, heights: Field, tall: float, color: Color
) -> None:
    top = int(max(0, np.floor(heights.min()) - 1))
    below = canvas.y[top:] - heights[None, :]
    grain = fractal(dice.stream(f"caps {layer}"), canvas.shape, 16, 9, octaves=4)[top:]
    line = heights.min() + tall * (0.2 + 0.5 * grain)
    mask = smoothstep(0, tall * 0.07, line - canvas.y[top:]) * np.clip(below + 0.5, 0, 1)
    canvas.blend(color, mask * 0.8, top)


def _rays(canvas: Canvas, dice: RandomStreams, lamp: LightSource) -> None:
    angle = np.arctan2(canvas.x - lamp.x, canvas.y - lamp.y)
    beams = profile(dice.stream("rays"), 720, 34, 3)
    at = np.clip((angle / np.pi * 0.5 + 0.5) * 719, 0, 719).astype(np.int32)
    distance = np.hypot(canvas.x - lamp.x, canvas.y - lamp.y) / canvas.unit
    light = (
        smoothstep(0.45, 0.95, beams)[at]
        * np.exp(-distance * 1.7)
        * 0.42
        * smoothstep(0.1, 0.3, distance)
    )
    canvas.shine(lamp.color, light.astype(np.float32))


def _firs(
    canvas: Canvas,
    dice: RandomStreams,
    heights: Field,
    color: Color,
    size: float,
    cover: float = 0.75,
    gap: float = -1.0,
    name: str = "firs",
) -> None:
    """Stand firs of about ``size`` units along a ridge, leaving a clearing around ``gap``."""
    random = dice.stream(f"{name} {size:.3f}")
    outlines = []
    x = -size * canvas.unit * 0.3
    while x < canvas.width + size * canvas.unit * 0.3:
        tall = canvas.unit * size * random.uniform(0.55, 1.2)
        x += tall * random.uniform(0.16, 0.5) / cover
        clear = gap >= 0 and abs(x / canvas.width - gap) < 0.17
        if clear or random.random() > cover:
            continue
        foot = heights[int(np.clip(x, 0, canvas.width - 1))] + tall * 0.08
        outlines.append(conifer(random, x, foot, tall))
    if outlines:
        canvas.apply(canvas.patch(outlines), color)
