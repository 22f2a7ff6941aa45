"""Draw a whole picture: scene, sky, land, subject, weather and postprocessing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from bot.txt2img.engines.sketch.abstract import paint_abstract
from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.city import paint_city
from bot.txt2img.engines.sketch.color import mix, ramp
from bot.txt2img.engines.sketch.land import paint_desert, paint_forest, paint_hills, paint_mountains
from bot.txt2img.engines.sketch.noise import fractal
from bot.txt2img.engines.sketch.postprocess import caption, postprocess
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene, read
from bot.txt2img.engines.sketch.sky import LightSource, paint_sky
from bot.txt2img.engines.sketch.space import paint_space
from bot.txt2img.engines.sketch.subject import paint_subject
from bot.txt2img.engines.sketch.water import paint_depths, paint_sea
from bot.txt2img.engines.sketch.weather import paint_weather, veil

_HORIZONS = {
    "sea": (0.5, 0.64),
    "city": (0.66, 0.78),
    "desert": (0.52, 0.62),
    "meadow": (0.5, 0.64),
    "mountains": (0.5, 0.62),
    "forest": (0.56, 0.66),
}
"""How far down the horizon lies, least and most, as a share of the height."""


def draw_picture(
    prompt: str, negative: str, seed: int, index: int, width: int, height: int, steps: int
) -> Image.Image:
    """Return a captioned RGB picture; equal arguments give equal pixels.

    ``index`` numbers the variations of one prompt and seed from 0. The composition does not
    depend on ``steps``, which only sharpen it.
    """
    dice = RandomStreams(prompt, negative, seed, index)
    image = draw(read(prompt, negative, dice), dice, width, height, steps)
    caption(image)
    return image


def draw(scene: Scene, dice: RandomStreams, width: int, height: int, steps: int) -> Image.Image:
    """Return the picture of ``scene`` without a caption."""
    canvas = Canvas(width, height)
    least, most = _HORIZONS.get(scene.place, (0.6, 0.6))
    horizon = height * dice.stream("horizon").uniform(least, most)
    lamp = _paint_place(canvas, scene, dice, horizon)
    paint_subject(canvas, scene, dice, horizon, lamp)
    paint_weather(canvas, scene, dice, horizon)
    return postprocess(canvas, scene, dice, steps)


def _paint_place(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> LightSource:
    match scene.place:
        case "abstract":
            return paint_abstract(canvas, scene, dice)
        case "space":
            return paint_space(canvas, scene, dice, crowded=bool(scene.subject))
        case "deep":
            return paint_depths(canvas, scene, dice)
        case "portrait":
            return _paint_backdrop(canvas, scene, dice)
    lamp = paint_sky(canvas, scene, dice, horizon)
    match scene.place:
        case "sea":
            paint_sea(canvas, scene, dice, horizon, lamp)
        case "forest":
            paint_forest(canvas, scene, dice, horizon, lamp)
        case "city":
            paint_city(canvas, scene, dice, horizon, lamp)
        case "desert":
            paint_desert(canvas, scene, dice, horizon, lamp)
        case "meadow":
            paint_hills(canvas, scene, dice, horizon)
        case _:
            paint_mountains(canvas, scene, dice, horizon, lamp)
    if "fog" in scene.weather:
        veil(canvas, scene, dice, horizon, 0.75, "far fog")
    return lamp


def _paint_backdrop(canvas: Canvas, scene: Scene, dice: RandomStreams) -> LightSource:
    """Draw a studio wall with a large disc of light, and return its light source."""
    random = dice.stream("backdrop")
    palette = scene.palette
    wall = fractal(dice.stream("wall"), canvas.shape, 2.4, 2.4, octaves=5)
    center = (canvas.width / 2, canvas.height * random.uniform(0.4, 0.47))
    distance = np.hypot(canvas.x - center[0], canvas.y - center[1]) / canvas.unit
    canvas.lookup(ramp(palette.sky[:4]), np.clip(0.82 - distance * 0.95 + (wall - 0.5) * 0.4, 0, 1))
    radius = random.uniform(0.33, 0.39)
    inside = np.clip((radius - distance) * canvas.unit + 0.5, 0, 1)
    gold = mix(palette.accent, palette.light, 0.35)
    tone = (
        mix(gold, palette.sky[2], 0.45)
        + (mix(gold, palette.light, 0.4) - mix(gold, palette.sky[2], 0.45))
        * np.clip(0.75 - canvas.y / canvas.height + wall * 0.4, 0, 1)[..., None]
    )
    canvas.blend(tone.astype(np.float32), inside * 0.9)
    if random.random() < 0.6:
        angle = np.arctan2(canvas.x - center[0], canvas.y - center[1])
        spokes = 0.5 + 0.5 * np.cos(angle * int(random.choice([36, 48, 72])))
        fade = np.exp(-np.clip(distance - radius, 0, 9) * 5) * (1 - inside)
        canvas.shine(gold, (np.clip((spokes - 0.55) * 4, 0, 1) * fade * 0.3).astype(np.float32))
    for ring in (radius + 0.018, radius + 0.03, radius - 0.02):
        line = np.exp(-(((distance - ring) * canvas.unit / (canvas.unit * 0.0022)) ** 2))
        canvas.shine(palette.light, (line * 0.55).astype(np.float32))
    side = float(random.choice([-0.15, 1.15]))
    return replace(
        LightSource(0, 0, canvas.unit * 0.1, palette.light),
        x=canvas.width * side,
        y=canvas.height * 0.1,
    )
