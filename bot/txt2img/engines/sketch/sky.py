"""Draw the sky: its gradient, sun or moon, clouds, stars and northern lights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import Color, from_hex, mix, ramp
from bot.txt2img.engines.sketch.noise import fractal, profile, smoothstep
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene


@dataclass(frozen=True, slots=True)
class LightSource:
    """The sun or moon: centre and radius in pixels."""

    x: float
    y: float
    radius: float
    color: Color


def paint_sky(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> LightSource:
    """Fill the canvas with sky down to ``horizon`` (pixels from the top); returns its lamp."""
    random = dice.stream("sky")
    palette = scene.palette
    night = scene.hour == "night"
    side = random.choice([0.26, 0.34, 0.5, 0.66, 0.74])
    low = scene.hour in {"sunset", "dawn", "dusk"}
    height = random.uniform(0.62, 0.9) if low else random.uniform(0.25, 0.45)
    radius = canvas.unit * (random.uniform(0.085, 0.15) if low else random.uniform(0.05, 0.085))
    lamp = LightSource(canvas.width * side, horizon * height, radius, palette.light)
    sway = fractal(dice.stream("sway"), canvas.shape, 1.5, 3, octaves=3) - 0.5
    share = (canvas.y / horizon) ** 0.85 + sway * 0.12
    distance = np.hypot(canvas.x - lamp.x, (canvas.y - lamp.y) * 1.2) / canvas.unit
    share = share + 0.22 * np.exp(-((distance / 0.42) ** 2))
    canvas.lookup(ramp(palette.sky), np.clip(share, 0, 1))
    if palette.dark or "stars" in scene.weather:
        paint_stars(canvas, dice, 420 if night else 160, fade=horizon)
    if "aurora" in scene.weather:
        _paint_aurora(canvas, dice, horizon)
    if not scene.weather & {"storm", "rain"}:
        _paint_lamp(canvas, lamp, dice, night)
    _paint_clouds(canvas, scene, dice, horizon, lamp)
    return lamp


def paint_stars(canvas: Canvas, dice: RandomStreams, count: int, fade: float = 0.0) -> None:
    """Scatter ``count`` stars per square unit; with ``fade``, fewer towards that row."""
    random = dice.stream("stars")
    area = canvas.width * canvas.height / canvas.unit**2
    scale = canvas.unit / 768
    bottom = fade or canvas.height
    for _ in range(int(count * area)):
        x, y, magnitude, warmth, luck = random.random(5)
        row = y * bottom
        if fade and luck < (row / bottom) ** 1.5:
            continue
        bright = magnitude**9
        color = mix(from_hex("bcd2ff"), from_hex("ffe2bd"), round(warmth * 4) / 4)
        place = (x * canvas.width, row)
        canvas.glow(place, (0.75 + 1.1 * bright) * scale, color, 0.3 + 0.7 * magnitude)
        if bright > 0.45:
            canvas.glow(place, (5 + 7 * bright) * scale, color, 0.3 * bright)


def _paint_lamp(canvas: Canvas, lamp: LightSource, dice: RandomStreams, night: bool) -> None:
    random = dice.stream("lamp")
    canvas.glow((lamp.x, lamp.y), canvas.unit * 0.5, lamp.color, 0.16 if night else 0.22)
    canvas.glow((lamp.x, lamp.y), lamp.radius * 2.2, lamp.color, 0.32)
    distance = np.hypot(canvas.x - lamp.x, canvas.y - lamp.y)
    disc = np.clip(lamp.radius - distance + 0.5, 0, 1)
    if night:
        face = fractal(
            random, canvas.shape, canvas.width / lamp.radius, canvas.height / lamp.radius
        )
        seas = smoothstep(0.42, 0.62, face)[..., None]
        surface = lamp.color * (1 - seas * 0.17)
        if random.random() < 0.4:
            shift = lamp.radius * random.uniform(0.4, 0.8)
            shadow = np.hypot(canvas.x - lamp.x - shift, canvas.y - lamp.y + shift * 0.4)
            disc = disc * smoothstep(-1.5, lamp.radius * 0.12, shadow - lamp.radius)
        canvas.blend(surface, disc)
    else:
        canvas.blend(lamp.color, disc * 0.94)


def _paint_clouds(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    random = dice.stream("clouds")
    cover = random.uniform(0.3, 0.56)
    if scene.weather & {"storm", "rain", "clouds"}:
        cover = 0.72
    elif scene.weather & {"fog"} or random.random() < 0.18:
        return
    bumps = random.uniform(1.6, 3.2) * canvas.width / canvas.unit
    puffs = fractal(dice.stream("puffs"), canvas.shape, bumps, bumps * 3.4, octaves=6, gain=0.55)
    density = smoothstep(1 - cover, 1.12 - cover * 0.55, puffs)
    density *= smoothstep(0.0, 0.5, canvas.y / horizon) * 0.85
    lit = np.exp(-np.hypot(canvas.x - lamp.x, canvas.y - lamp.y) / (canvas.unit * 0.55))
    step = max(1, canvas.unit // 64)
    relief = np.clip((puffs - np.roll(puffs, -step, 0)) * 5 + 0.35 + lit * 0.6, 0, 1)
    palette = scene.palette
    shade = mix(palette.sky[len(palette.sky) // 2], palette.far, 0.45)
    bright = mix(palette.horizon, palette.light, 0.7)
    color = shade + (bright - shade) * relief[..., None]
    canvas.blend(color, density * (0.9 if cover > 0.7 else 0.7))


def _paint_aurora(canvas: Canvas, dice: RandomStreams, horizon: float) -> None:
    random = dice.stream("aurora")
    for curtain in range(3):
        line = profile(random, canvas.width, 2.2, octaves=3)
        rays = profile(random, canvas.width, 26, octaves=3)
        foot = horizon * (0.34 + 0.14 * curtain + 0.34 * (line - 0.5))
        height = canvas.unit * (0.16 + 0.26 * rays)
        above = (foot[None, :] - canvas.y) / height[None, :]
        light = np.exp(-np.clip(above, 0, 50) * 1.6 + np.clip(above, -5, 0) * 14)
        light = light * (0.35 + 0.65 * rays[None, :]) * 0.62
        low, high = from_hex("43f5a0"), from_hex("8a5cf0")
        share = np.clip(above * 0.7, 0, 1)[..., None]
        canvas.shine(low + (high - low) * share, light.astype(np.float32))
