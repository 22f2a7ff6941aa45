"""Draw water: the open sea, great waves, and the scene below the surface."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import mix, ramp
from bot.txt2img.engines.sketch.land import fill_ridge
from bot.txt2img.engines.sketch.noise import fractal, profile, smoothstep, warped
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.sky import LightSource


def paint_sea(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Draw the sea from ``horizon`` to our feet; calm with a path of light, or in great waves."""
    random = dice.stream("sea")
    palette = scene.palette
    if random.random() < 0.55:
        line = profile(random, canvas.width, 2.2, 6, 0.46, ridged=True)
        rise = np.clip(line - 0.42, 0, 1) * 1.7
        heights = (horizon + 2 - canvas.unit * random.uniform(0.09, 0.18) * rise).astype(np.float32)
        crest = mix(palette.far, palette.horizon, 0.3)
        fill_ridge(canvas, heights, crest, palette.horizon, canvas.unit * 0.16, None)
    top = int(horizon)
    below = canvas.y[top:] - horizon
    depth = np.clip(below, 0, None) / max(1.0, canvas.height - horizon)
    water = ramp(
        [
            mix(palette.horizon, palette.far, 0.35),
            palette.far,
            mix(palette.far, palette.near, 0.75),
            palette.near,
        ]
    )
    rows = water[np.clip(depth[:, 0] * 1023, 0, 1023).astype(int)]
    edge = np.clip(below + 0.5, 0, 1) * np.ones_like(canvas.x)
    canvas.blend(rows[:, None, :], edge, top)
    # Waves are the same noise everywhere, seen flatter the farther they are.
    nearness = np.sqrt(depth) * 0.97 + 0.03
    ripples = fractal(dice.stream("ripples"), canvas.shape, 16, 30, octaves=4, gain=0.6)
    column = (canvas.x - lamp.x) / (0.25 + nearness) + canvas.width
    row = canvas.height * 1.3 * np.log(0.06 + nearness) + canvas.height * 4
    size = (canvas.height - top, canvas.width)
    waves = warped(
        ripples[top:] if top else ripples,
        np.broadcast_to(column, size) - canvas.x,
        np.broadcast_to(row, size) - np.arange(size[0], dtype=np.float32)[:, None],
    )
    dark = smoothstep(0.5, 0.75, waves) * (0.18 + 0.3 * depth)
    canvas.blend(palette.near, dark * edge, top)
    bright = smoothstep(0.5, 0.7, 1 - waves) * 0.2 * (1 - depth * 0.5)
    canvas.blend(mix(palette.horizon, palette.light, 0.3), bright * edge, top)
    if not scene.weather & {"storm", "rain"}:
        spread = canvas.unit * (0.05 + 0.3 * depth)
        path = np.exp(-(((canvas.x - lamp.x) / spread) ** 2))
        glitter = smoothstep(0.5, 0.62, 1 - waves + path * 0.13) * path
        canvas.shine(
            palette.light, (glitter * (0.95 - 0.45 * depth) * edge).astype(np.float32), top
        )
    rough = random.random() < 0.35 and "calm" not in scene.styles
    if rough or "storm" in scene.weather:
        _paint_waves(canvas, scene, dice, horizon)


def _paint_waves(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> None:
    random = dice.stream("waves")
    palette = scene.palette
    for layer in range(5):
        near = (layer + 1) / 5
        base = horizon + (canvas.height - horizon) * (0.2 + 0.72 * near)
        tall = canvas.unit * (0.03 + 0.13 * near)
        swell = profile(random, canvas.width, 4.6 - 2.4 * near, 2, 0.3, ridged=True)
        chop = profile(random, canvas.width, 26 - 14 * near, 3)
        heights = (base - tall * swell**1.5 - tall * 0.07 * chop).astype(np.float32)
        color = mix(palette.far, palette.near, 0.42 + 0.5 * near)
        crest = mix(color, mix(palette.sky[1], palette.horizon, 0.5), 0.62 - 0.2 * near)
        streaks = fractal(dice.stream(f"streaks {layer}"), canvas.shape, 5, 40, octaves=3)
        shade = (0.9 + 0.24 * (streaks - 0.4)).astype(np.float32)
        fill_ridge(canvas, heights, crest, mix(color, palette.near, 0.45), tall * 0.95, shade)
        # Foam lies where the swell is highest, and runs out to both sides.
        top = int(max(0, heights.min() - 2))
        below = canvas.y[top:] - heights[None, :]
        grain = fractal(dice.stream(f"foam {layer}"), canvas.shape, 40, 60, octaves=3)[top:]
        reach = tall * 0.3 * smoothstep(0.45, 1.0, swell)[None, :] * (0.3 + 1.1 * grain) + 0.6
        foam = np.clip(below + 0.5, 0, 1) * np.clip(1 - below / reach, 0, 1) ** 1.5
        canvas.blend(
            mix(palette.light, palette.horizon, 0.25), (foam * 0.85).astype(np.float32), top
        )


def paint_depths(canvas: Canvas, scene: Scene, dice: RandomStreams) -> LightSource:
    """Under water: light from above in shafts, rising bubbles, weeds and rocks below."""
    random = dice.stream("depths")
    palette = scene.palette
    sway = fractal(dice.stream("sway"), canvas.shape, 2, 2, octaves=3) - 0.5
    lamp = LightSource(
        canvas.width * random.uniform(0.25, 0.75),
        -canvas.height * 0.08,
        canvas.unit * 0.1,
        palette.light,
    )
    distance = np.hypot(canvas.x - lamp.x, (canvas.y - lamp.y) * 0.9) / canvas.height
    canvas.lookup(ramp(palette.sky), np.clip(distance * 0.92 + sway * 0.14, 0, 1))
    angle = np.arctan2(canvas.x - lamp.x, canvas.y - lamp.y + canvas.height * 0.25)
    beams = profile(dice.stream("beams"), 720, 46, 3)
    at = np.clip((angle / np.pi + 0.5) * 719, 0, 719).astype(np.int32)
    light = smoothstep(0.4, 0.95, beams)[at] * np.exp(-distance * 2.2) * 0.65
    canvas.shine(palette.light, light.astype(np.float32))
    for layer in range(3):
        near = layer / 2
        line = profile(random, canvas.width, 2.5 + layer, 5, ridged=layer == 1)
        heights = (
            canvas.height * (0.78 + 0.1 * near)
            - canvas.unit * 0.2 * (1 - near * 0.5) * line
            + canvas.unit * 0.08
        )
        color = mix(palette.sky[-2], palette.near, 0.25 + 0.7 * near)
        fill_ridge(
            canvas, heights, color, mix(color, palette.sky[-1], 0.5), canvas.unit * 0.3, None
        )
    return lamp
