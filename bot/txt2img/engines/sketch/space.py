"""Draw space: nebulae, dense stars, planets with clouds and rings."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas, Patch
from bot.txt2img.engines.sketch.color import Color, from_hex, mix, ramp
from bot.txt2img.engines.sketch.noise import Field, fractal, profile, smoothstep, warped
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.sky import LightSource, paint_stars


def paint_space(canvas: Canvas, scene: Scene, dice: RandomStreams, crowded: bool) -> LightSource:
    """Draw a nebula, stars and planets; return the light. ``crowded`` leaves room for a figure."""
    random = dice.stream("space")
    palette = scene.palette
    colors = ramp(palette.sky)
    drift = fractal(dice.stream("drift"), canvas.shape, 2.2, 2.2, octaves=4)
    other = fractal(dice.stream("other"), canvas.shape, 2.2, 2.2, octaves=4)
    cloud = fractal(dice.stream("cloud"), canvas.shape, 2.6, 2.6, octaves=6, gain=0.56)
    reach = canvas.unit * 0.42
    gas = warped(cloud, (drift - 0.5) * reach, (other - 0.5) * reach)
    # A broad band across the picture holds most of the gas.
    angle = random.uniform(-0.9, 0.9)
    across = (canvas.x - canvas.width * random.uniform(0.3, 0.7)) * np.sin(angle)
    across = across + (canvas.y - canvas.height * random.uniform(0.3, 0.7)) * np.cos(angle)
    band = np.exp(-((across / (canvas.unit * 0.4)) ** 2))
    dust = smoothstep(0.45, 0.75, warped(drift, (cloud - 0.5) * reach, (gas - 0.5) * reach))
    glow = gas * (0.28 + 0.85 * band) * (1 - 0.55 * dust * band)
    canvas.lookup(colors, np.clip(glow**1.15 * 1.2 - 0.04, 0, 1))
    canvas.shine(
        palette.accent, (smoothstep(0.55, 0.95, other) * gas * band * 0.42).astype(np.float32)
    )
    paint_stars(canvas, dice, 620)
    _paint_sparkles(canvas, dice, palette.light)
    lamp = LightSource(
        canvas.width * random.choice([-0.1, 1.1]),
        canvas.height * random.uniform(-0.1, 0.4),
        canvas.unit * 0.1,
        palette.light,
    )
    _paint_planets(canvas, scene, dice, lamp, crowded)
    return lamp


def _paint_sparkles(canvas: Canvas, dice: RandomStreams, color: Color) -> None:
    random = dice.stream("sparkles")
    for _ in range(7):
        x, y = random.random() * canvas.width, random.random() * canvas.height
        size = canvas.unit * random.uniform(0.012, 0.04)
        for wide, high in ((size, size * 0.03), (size * 0.03, size)):
            reach_x, reach_y = int(wide * 3 + 2), int(high * 3 + 2)
            columns = slice(max(0, int(x) - reach_x), max(0, int(x) + reach_x))
            rows = slice(max(0, int(y) - reach_y), max(0, int(y) + reach_y))
            light = np.exp(
                -np.abs(canvas.x[:, columns] - x) / wide - np.abs(canvas.y[rows] - y) / high
            )
            part = canvas.pixels[rows, columns]
            part += (0.9 * light)[..., None] * color * np.maximum(1 - part, 0)
        canvas.glow((x, y), size * 0.25, color, 0.8)


def _paint_planets(
    canvas: Canvas, scene: Scene, dice: RandomStreams, lamp: LightSource, crowded: bool
) -> None:
    random = dice.stream("planets")
    palette = scene.palette
    unit = canvas.unit
    base = mix(palette.accent, palette.sky[2], random.uniform(0.2, 0.6))
    kind = int(random.integers(3))
    if kind == 0:
        # The limb of a world that fills the lower edge.
        radius = unit * random.uniform(0.9, 1.3)
        x = canvas.width * random.uniform(0.3, 0.7)
        center = (x, canvas.height + radius - unit * random.uniform(0.16, 0.3))
    else:
        radius = unit * (random.uniform(0.13, 0.2) if crowded else random.uniform(0.18, 0.32))
        side = random.choice([0.2, 0.8]) if crowded else random.choice([0.3, 0.5, 0.7])
        center = (canvas.width * side, canvas.height * random.uniform(0.24, 0.42))
    rings = kind == 1
    tilt = random.uniform(-0.5, 0.5)
    if rings:
        _paint_rings(canvas, dice, center, radius, tilt, palette.light, behind=True)
    _paint_planet(canvas, dice, center, radius, base, palette.light, lamp)
    if rings:
        _paint_rings(canvas, dice, center, radius, tilt, palette.light, behind=False)
    if random.random() < 0.7:
        moon = (canvas.width * random.uniform(0.1, 0.9), canvas.height * random.uniform(0.08, 0.5))
        if np.hypot(moon[0] - center[0], moon[1] - center[1]) > radius * 1.4:
            size = unit * random.uniform(0.018, 0.05)
            grey = mix(from_hex("b9b4c4"), palette.sky[2], 0.35)
            _paint_planet(canvas, dice, moon, size, grey, palette.light, lamp)


def _paint_planet(
    canvas: Canvas,
    dice: RandomStreams,
    center: tuple[float, float],
    radius: float,
    base: Color,
    light: Color,
    lamp: LightSource,
) -> None:
    halo = radius * 1.22
    left, right = int(max(0, center[0] - halo)), int(min(canvas.width, center[0] + halo + 1))
    top, bottom = int(max(0, center[1] - halo)), int(min(canvas.height, center[1] + halo + 1))
    if left >= right or top >= bottom:
        return
    x = (canvas.x[:, left:right] - center[0]) / radius
    y = (canvas.y[top:bottom] - center[1]) / radius
    squares = x * x + y * y
    z = np.sqrt(np.clip(1 - squares, 0, 1))
    away = np.array([lamp.x - center[0], lamp.y - center[1], canvas.unit * 0.35])
    away /= np.linalg.norm(away)
    facing = x * away[0] + y * away[1] + z * away[2]
    day = smoothstep(-0.18, 0.75, facing.astype(np.float32))
    random = dice.stream(f"planet {radius:.1f}")
    shape = (bottom - top, right - left)
    bands = fractal(random, shape, 1.5, 9, octaves=4)
    swirl = fractal(random, shape, 4, 4, octaves=4)
    texture = warped(bands, (swirl - 0.5) * radius * 0.3, (swirl - 0.5) * radius * 0.22)[..., None]
    surface = mix(base, light, 0.4) * texture + mix(base, from_hex("0a0a18"), 0.45) * (1 - texture)
    rim = ((1 - z) ** 3)[..., None] * mix(base, light, 0.65)
    color = (surface + rim * 0.6) * (0.035 + 0.965 * day)[..., None]
    disc = np.clip((1 - np.sqrt(squares)) * radius + 0.5, 0, 1).astype(np.float32)
    air = np.exp(-np.clip(np.sqrt(squares) - 1, 0, 9) * 26) * smoothstep(
        -0.4, 0.7, facing.astype(np.float32)
    )
    part = canvas.pixels[top:bottom, left:right]
    part += (0.75 * air * (1 - disc))[..., None] * mix(base, light, 0.6) * np.maximum(1 - part, 0)
    canvas.apply(Patch(left, top, disc), np.asarray(color, np.float32))


def _paint_rings(
    canvas: Canvas,
    dice: RandomStreams,
    center: tuple[float, float],
    radius: float,
    tilt: float,
    color: Color,
    behind: bool,
) -> None:
    x, y = canvas.x - center[0], canvas.y - center[1]
    along = x * np.cos(tilt) + y * np.sin(tilt)
    across = (y * np.cos(tilt) - x * np.sin(tilt)) / 0.26
    reach = np.hypot(along, across) / radius
    grooves: Field = profile(dice.stream("rings"), 512, 18, 4)
    strength = grooves[np.clip((reach - 1.3) / 0.95 * 511, 0, 511).astype(np.int32)]
    mask = (
        smoothstep(1.3, 1.34, reach)
        * (1 - smoothstep(2.15, 2.25, reach))
        * (0.15 + 0.75 * strength)
    )
    half = across < 0 if behind else across >= 0
    canvas.blend(color, (mask * half * 0.8).astype(np.float32))
