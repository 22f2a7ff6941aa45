"""Draw abstract pictures, for prompts without a known word: silk, ink, circles and strata."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import mix, ramp
from bot.txt2img.engines.sketch.land import fill_ridge
from bot.txt2img.engines.sketch.noise import Field, fractal, profile, smoothstep, warped
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.shapes import ellipse, ribbon
from bot.txt2img.engines.sketch.sky import LightSource


def paint_abstract(canvas: Canvas, scene: Scene, dice: RandomStreams) -> LightSource:
    """One of four compositions in the scene's colours."""
    random = dice.stream("abstract")
    painters = (_paint_silk, _paint_ink, _paint_circles, _paint_strata)
    painters[int(random.integers(4))](canvas, scene, dice)
    return LightSource(
        canvas.width * 0.3, canvas.height * 0.2, canvas.unit * 0.1, scene.palette.light
    )


def _paint_ink(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    """Marbled ink: noise looked up through noise, with fine veins where it folds."""
    first = fractal(dice.stream("first"), canvas.shape, 1.6, 1.6, octaves=3, gain=0.4)
    second = fractal(dice.stream("second"), canvas.shape, 1.6, 1.6, octaves=3, gain=0.4)
    base = fractal(dice.stream("base"), canvas.shape, 1.5, 1.5, octaves=4, gain=0.42)
    reach = canvas.unit * 0.55
    once = _softened(warped(base, (first - 0.5) * reach, (second - 0.5) * reach), canvas)
    twice = warped(first, (once - 0.5) * reach * 1.5, (second - 0.5) * reach * 1.5)
    twice = _softened(twice, canvas)
    palette = scene.palette
    canvas.lookup(ramp(palette.sky), np.clip(0.04 + once * 1.02, 0, 1))
    canvas.blend(palette.near, smoothstep(0.5, 0.85, twice) * 0.7)
    canvas.shine(palette.accent, smoothstep(0.6, 0.95, 1 - twice) * 0.7)
    # Folds: where the noise passes a contour, thin as the noise is steep there.
    down, across = np.gradient(twice * 11)
    steep = np.maximum(np.hypot(down, across), 1e-4)
    contour = np.abs(twice * 11 - np.round(twice * 11)) / steep / (canvas.unit / 768)
    veins = np.exp(-((contour / 1.3) ** 2)) * smoothstep(0.35, 0.85, once)
    canvas.shine(palette.light, (veins * 0.5).astype(np.float32))


def _softened(field: Field, canvas: Canvas) -> Field:
    """``field`` without the steps that looking up whole pixels leaves."""
    radius = max(1.0, canvas.unit / 420)
    image = Image.fromarray((field * 65535).astype(np.int32)).convert("F")
    small = image.resize(
        (max(1, int(canvas.width / radius)), max(1, int(canvas.height / radius))),
        Image.Resampling.BOX,
    )
    smooth = small.resize((canvas.width, canvas.height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32) / 65535


def _paint_silk(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    """Broad translucent ribbons over a soft ground."""
    random = dice.stream("silk")
    palette = scene.palette
    sway = fractal(dice.stream("sway"), canvas.shape, 1.6, 1.6, octaves=3)
    canvas.lookup(
        ramp(palette.sky[:4]), np.clip(canvas.y / canvas.height * 0.75 + (sway - 0.5) * 0.7, 0, 1)
    )
    count = 5
    for layer in range(count):
        share = layer / (count - 1)
        bend = profile(random, canvas.width, 1.4, 2) - 0.5
        fold = profile(random, canvas.width, 1.1, 2)
        middle = canvas.height * (0.16 + 0.68 * share) + bend * canvas.unit * 0.66
        half = canvas.unit * (0.045 + 0.2 * fold)
        at = (canvas.y - middle[None, :]) / half[None, :]
        body = np.clip((1 - np.abs(at)) * half[None, :] + 0.5, 0, 1)
        threads = profile(random, 512, 34, 3)[
            np.clip((at * 0.5 + 0.5) * 511, 0, 511).astype(np.int32)
        ]
        tone = ramp(
            [
                palette.near,
                palette.land(0.4),
                palette.sky[3 if layer % 2 else 2],
                palette.accent,
                palette.light,
            ]
        )
        color = tone[
            np.clip(
                (0.34 + 0.4 * np.sin(at * 1.6 + share * 4) + 0.22 * threads) * 1023, 0, 1023
            ).astype(np.int32)
        ]
        shadow = np.exp(-((np.clip(np.abs(at - 0.12) - 1, 0, 9) / 0.3) ** 2)) * (1 - body)
        canvas.blend(palette.near, (shadow * 0.4).astype(np.float32))
        canvas.blend(color, (body * 0.88).astype(np.float32))


def _paint_circles(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    """Suns and arcs on paper, as posters of the twenties have them."""
    random = dice.stream("circles")
    palette = scene.palette
    sway = fractal(dice.stream("sway"), canvas.shape, 2, 2, octaves=4)
    canvas.lookup(
        ramp(palette.sky[::-1][:3]), np.clip(canvas.y / canvas.height * 0.5 + sway * 0.45, 0, 1)
    )
    unit = canvas.unit
    colors = (
        palette.accent,
        palette.near,
        palette.far,
        palette.sky[1],
        palette.light,
        palette.sky[2],
    )
    big = unit * random.uniform(0.24, 0.32)
    center = (canvas.width * random.uniform(0.38, 0.62), canvas.height * random.uniform(0.36, 0.5))
    canvas.glow(center, big * 1.5, palette.light, 0.35)
    canvas.paint(
        [ellipse(*center, big, big)], palette.accent, mix(palette.accent, palette.near, 0.35)
    )
    for number in range(24):
        color = colors[int(random.integers(len(colors)))]
        x, y = random.normal(center[0], unit * 0.27), random.normal(center[1], unit * 0.27)
        size = unit * random.uniform(0.012, 0.12)
        kind = int(random.integers(4))
        if kind == 0:
            canvas.paint([ellipse(x, y, size, size)], color, mix(color, palette.near, 0.25))
        elif kind == 1:
            turns, sweep = random.random(), random.uniform(0.2, 0.6)
            sweep_angle = np.linspace(turns, turns + sweep, 60) * 2 * np.pi
            wheel = np.stack([np.cos(sweep_angle), np.sin(sweep_angle)], 1)
            line = np.array([x, y]) + wheel * size * 2.2
            canvas.paint([ribbon(line, (unit * 0.004 * (1 + number % 4),))], color)
        elif kind == 2:
            for ring in range(4):
                patch = canvas.patch(
                    [ellipse(x, y, size * (1 - ring * 0.24), size * (1 - ring * 0.24))]
                )
                canvas.apply(patch, color if ring % 2 else mix(color, palette.horizon, 0.7))
        else:
            angle = random.uniform(0, np.pi)
            reach = unit * random.uniform(0.15, 0.5)
            step = np.array([np.cos(angle), np.sin(angle)]) * reach
            here = np.array([x, y])
            canvas.paint(
                [ribbon(np.stack([here - step, here + step]), (unit * 0.0016,))], palette.near
            )


def _paint_strata(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    """Layers of cut paper, light behind dark, round a bright hollow."""
    random = dice.stream("strata")
    palette = scene.palette
    canvas.lookup(
        ramp(palette.sky),
        np.clip(canvas.y / canvas.height * 0.9 + 0.05 * np.ones_like(canvas.x), 0, 1),
    )
    center = (canvas.width * random.uniform(0.35, 0.65), canvas.height * random.uniform(0.28, 0.4))
    size = canvas.unit * random.uniform(0.1, 0.16)
    canvas.glow(center, size * 3, palette.light, 0.55)
    canvas.paint(
        [ellipse(*center, size, size)], palette.light, mix(palette.light, palette.accent, 0.4)
    )
    for layer in range(8):
        near = layer / 7
        line = profile(random, canvas.width, 1.3 + 0.9 * random.random(), 3, 0.4)
        heights = canvas.height * (0.4 + 0.52 * near) - canvas.unit * 0.24 * (line - 0.35)
        color = palette.land(near) if layer % 3 else mix(palette.land(near), palette.accent, 0.32)
        shadow = heights - canvas.unit * 0.012
        top = int(max(0, shadow.min()))
        fade = smoothstep(
            -canvas.unit * 0.035, canvas.unit * 0.015, canvas.y[top:] - shadow[None, :]
        )
        canvas.blend(palette.near, fade * 0.28, top)
        fill_ridge(
            canvas,
            heights,
            mix(color, palette.light, 0.1),
            mix(color, palette.near, 0.25),
            canvas.unit * 0.2,
            None,
        )
