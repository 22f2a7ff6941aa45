"""Draw the weather: what falls, drifts or flashes in front of the scene."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import from_hex, mix
from bot.txt2img.engines.sketch.noise import fractal, smoothstep
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.shapes import ellipse, ribbon


def paint_weather(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> None:
    """Everything in ``scene.weather`` that lies before the picture."""
    if "fog" in scene.weather:
        _paint_fog(canvas, scene, dice, horizon)
    if "storm" in scene.weather:
        _paint_lightning(canvas, dice, horizon)
    if scene.weather & {"rain", "storm"} and scene.place != "deep":
        _paint_rain(canvas, scene, dice)
    if "snow" in scene.weather:
        _paint_flakes(canvas, dice)
    for sign, color in (("embers", "ff9a3d"), ("fireflies", "ffe58a")):
        if sign in scene.weather:
            _paint_sparks(canvas, dice, sign, color)
    for sign in ("petals", "leaves"):
        if sign in scene.weather:
            _paint_petals(canvas, dice, sign)


def veil(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, strength: float, name: str
) -> None:
    """One sheet of mist that lies on the land."""
    drifts = fractal(dice.stream(name), canvas.shape, 2.2, 7, octaves=5)
    band = np.exp(-(((canvas.y - horizon) / (canvas.height * 0.3)) ** 2))
    mist = smoothstep(0.25, 0.85, drifts) * (0.35 + 0.65 * band) * strength
    canvas.blend(mix(scene.palette.horizon, scene.palette.light, 0.25), mist.astype(np.float32))


def _paint_fog(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> None:
    veil(canvas, scene, dice, horizon, 0.6, "fog")
    veil(canvas, scene, dice, canvas.height * 0.9, 0.42, "ground fog")


def _paint_rain(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    random = dice.stream("rain")
    unit = canvas.unit
    slant = random.uniform(-0.22, 0.22)
    color = mix(scene.palette.light, scene.palette.horizon, 0.3)
    for near, count in ((0.4, 240), (0.7, 120), (1.0, 46)):
        drops = []
        for _ in range(int(count * canvas.width * canvas.height / unit**2)):
            x, y = (
                random.uniform(-0.1, 1.1) * canvas.width,
                random.uniform(-0.1, 1.0) * canvas.height,
            )
            reach = unit * random.uniform(0.03, 0.075) * near
            line = np.array([(x, y), (x + slant * reach, y + reach)])
            drops.append(ribbon(line, (0.0, unit * 0.0013 * near + 0.12)))
        patch = canvas.patch(drops)
        part = canvas.pixels[patch.place]
        part += patch.mask[..., None] * (0.16 + 0.2 * near) * color * np.maximum(1 - part, 0)


def _paint_flakes(canvas: Canvas, dice: RandomStreams) -> None:
    random = dice.stream("flakes")
    white = from_hex("ffffff")
    unit = canvas.unit
    for _ in range(int(260 * canvas.width * canvas.height / unit**2)):
        near = random.random() ** 3
        place = (random.random() * canvas.width, random.random() * canvas.height)
        canvas.glow(place, unit * (0.0016 + 0.0075 * near), white, 0.85 - 0.5 * near)


def _paint_sparks(canvas: Canvas, dice: RandomStreams, sign: str, color: str) -> None:
    random = dice.stream(sign)
    unit = canvas.unit
    tone, core = from_hex(color), from_hex("fffbe6")
    for _ in range(int(74 * canvas.width * canvas.height / unit**2)):
        near = random.random() ** 2
        place = (random.random() * canvas.width, (1 - random.random() ** 1.4) * canvas.height)
        canvas.glow(place, unit * (0.006 + 0.016 * near), tone, 0.3 + 0.3 * near)
        canvas.glow(place, unit * (0.0016 + 0.0026 * near), core, 0.9)


def _paint_petals(canvas: Canvas, dice: RandomStreams, sign: str) -> None:
    random = dice.stream(sign)
    names = ("f9c6d6", "f2a0bd", "fde6ec") if sign == "petals" else ("d9631e", "b53a1a", "eaa63a")
    unit = canvas.unit
    for name in names:
        pieces = []
        for _ in range(int(20 * canvas.width * canvas.height / unit**2)):
            size = unit * (0.004 + 0.011 * random.random() ** 2)
            x, y = random.random() * canvas.width, random.random() * canvas.height
            pieces.append(ellipse(x, y, size, size * random.uniform(0.3, 0.7), random.random(), 14))
        canvas.apply(canvas.patch(pieces), from_hex(name))


def _paint_lightning(canvas: Canvas, dice: RandomStreams, horizon: float) -> None:
    random = dice.stream("lightning")
    unit = canvas.unit
    color = from_hex("e8f2ff")
    x, y = canvas.width * random.uniform(0.2, 0.8), -5.0
    points = [(x, y)]
    while y < horizon:
        y += unit * random.uniform(0.018, 0.05)
        x += unit * random.normal(0, 0.026)
        points.append((x, y))
    bolt = np.asarray(points)
    for x, y in bolt[::2]:
        canvas.glow((float(x), float(y)), unit * 0.11, color, 0.11)
    branches = [ribbon(bolt, (unit * 0.0042, unit * 0.0016))]
    for start in random.choice(len(bolt), 3):
        steps = random.normal(
            (unit * random.choice([-0.02, 0.02]), unit * 0.022), unit * 0.012, (7, 2)
        )
        branches.append(ribbon(bolt[start] + np.cumsum(steps, 0), (unit * 0.0019, 0.0)))
    canvas.apply(canvas.patch(branches), color)
