"""Draw a city: towers with lit windows, and their reflection in a wet street."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import Color, from_hex, mix, turn
from bot.txt2img.engines.sketch.land import fill_ridge
from bot.txt2img.engines.sketch.noise import fractal, profile, smoothstep
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.shapes import box, polygon
from bot.txt2img.engines.sketch.sky import LightSource


def paint_city(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Three rows of towers on the horizon, a street, water or hills before them."""
    random = dice.stream("city")
    palette = scene.palette
    lively = bool(scene.styles & {"neon", "synthwave"}) or palette.dark
    if "synthwave" in scene.styles:
        _paint_sun(canvas, lamp, horizon)
    for layer in range(3):
        near = layer / 2
        color = mix(palette.land(0.15 + 0.75 * near), palette.horizon, 0.38 * (1 - near))
        tall = canvas.unit * (0.34 + 0.16 * near)
        _paint_towers(
            canvas, scene, random, horizon + canvas.unit * 0.02, tall, color, near, lively
        )
        haze = np.exp(-(((canvas.y - horizon) / (canvas.unit * 0.16)) ** 2))
        glow = mix(palette.horizon, palette.accent, 0.35 if lively else 0.0)
        canvas.blend(glow, (haze * 0.3 * (1 - near)) * np.ones_like(canvas.x))
    if "synthwave" in scene.styles:
        _paint_floor(canvas, horizon, palette.near, palette.accent)
    else:
        _paint_mirror(canvas, scene, dice, horizon)


def _paint_towers(
    canvas: Canvas,
    scene: Scene,
    random: np.random.Generator,
    foot: float,
    tall: float,
    color: Color,
    near: float,
    lively: bool,
) -> None:
    unit = canvas.unit
    palette = scene.palette
    skyline = profile(random, 64, 3.5, 3)
    x = -unit * 0.05
    lights: list[tuple[float, float, float, float, Color]] = []
    warm = (from_hex("ffd9a0"), mix(palette.accent, palette.light, 0.5), from_hex("ffc27a"))
    while x < canvas.width:
        wide = unit * random.uniform(0.05, 0.12) * (0.75 + 0.5 * near)
        share = skyline[int(np.clip(x / canvas.width * 63, 0, 63))]
        high = tall * (0.3 + 0.95 * share) * random.uniform(0.7, 1.1)
        top, right = foot - high, x + wide
        outlines = [box(x, top, right, foot)]
        crown = int(random.integers(6))
        middle = x + wide / 2
        if crown == 0:
            outlines.append(
                box(middle - unit * 0.0022, top - high * 0.28, middle + unit * 0.0022, top)
            )
        elif crown == 1:
            outlines.append(polygon((x, top), (middle, top - wide * 0.7), (right, top)))
        elif crown == 2:
            outlines.append(box(x + wide * 0.2, top - wide * 0.35, right - wide * 0.2, top))
            outlines.append(box(x + wide * 0.38, top - wide * 0.6, right - wide * 0.38, top))
        elif crown == 3:
            outlines.append(polygon((x, top), (right, top - wide * 0.45), (right, top)))
        patch = canvas.patch(outlines)
        canvas.gradient(
            patch, mix(color, palette.light, 0.06), mix(color, palette.horizon, 0.2 * (1 - near))
        )
        canvas.rim(patch, (unit * 0.004, 0), mix(color, palette.horizon, 0.5), 0.45)
        pane = unit * (0.0052 + 0.0028 * near)
        lit = random.uniform(0.16, 0.5) if lively else random.uniform(0.03, 0.16)
        for row in np.arange(top + pane * 2, foot - pane, pane * 2.5):
            for left in np.arange(x + pane, right - pane * 1.5, pane * 2):
                if random.random() < lit:
                    lights.append(  # noqa: PERF401 (keeps the order of the random draws visible)
                        (left, row, pane, pane * 1.35, warm[int(random.integers(3))])
                    )
        if lively and near > 0 and random.random() < 0.5:
            _paint_sign(canvas, random, palette.accent, x, top, wide, high)
        x = right + unit * random.uniform(-0.012, 0.02)
    strength = 0.35 + 0.5 * near
    for left, row, wide, high, tone in lights:
        if left < 0 or row < 0:
            continue
        rows, columns = slice(int(row), int(row + high) + 1), slice(int(left), int(left + wide) + 1)
        part = canvas.pixels[rows, columns]
        part += strength * (tone - part)


def _paint_sign(
    canvas: Canvas,
    random: np.random.Generator,
    accent: Color,
    x: float,
    top: float,
    wide: float,
    high: float,
) -> None:
    color = turn(accent, float(random.choice([0.0, 0.0, 0.18, -0.2, 0.5])))
    color = mix(color, from_hex("ffffff"), 0.12)
    left, y = x + wide * random.uniform(0.1, 0.7), top + high * random.uniform(0.1, 0.45)
    if random.random() < 0.6:
        sign = box(left, y, left + wide * 0.14, y + high * random.uniform(0.14, 0.3))
    else:
        sign = box(x + wide * 0.12, y, x + wide * 0.88, y + canvas.unit * 0.011)
    center = sign.mean(0)
    canvas.paint([sign], color)
    canvas.glow((float(center[0]), float(center[1])), canvas.unit * 0.055, color, 0.5)


def _paint_mirror(canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float) -> None:
    top = int(horizon) + 1
    height = canvas.height - top
    if height < 4:
        return
    source = np.clip(canvas.pixels[max(0, top - height) : top][::-1], 0, 1)
    if len(source) < height:
        source = np.concatenate([source, np.repeat(source[-1:], height - len(source), 0)])
    small = Image.fromarray((source * 255).astype(np.uint8)).resize(
        (max(1, canvas.width // 2), max(1, height // 10)), Image.Resampling.BOX
    )
    soft = small.filter(ImageFilter.GaussianBlur(canvas.unit * 0.003)).resize(
        (canvas.width, height), Image.Resampling.BICUBIC
    )
    image = np.asarray(soft, np.float32) / 255
    ripples = fractal(dice.stream("ripples"), (height, canvas.width), 8, 60, octaves=3)
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    shift = ((ripples - 0.5) * canvas.unit * (0.02 + 0.1 * depth)).astype(np.int32)
    columns = np.clip(np.arange(canvas.width)[None, :] + shift, 0, canvas.width - 1)
    mirrored = np.take_along_axis(image, columns[..., None], 1)
    dim = 0.86 - 0.5 * depth + 0.16 * (ripples - 0.5)
    part = canvas.pixels[top:]
    part[:] = mirrored * dim[..., None] + scene.palette.near * (1 - dim)[..., None] * 0.5
    bank = np.full(canvas.width, horizon, np.float32)
    edge = np.exp(-(((canvas.y - bank[None, :]) / (canvas.unit * 0.006)) ** 2))
    canvas.blend(scene.palette.near, edge * 0.8)


def _paint_sun(canvas: Canvas, lamp: LightSource, horizon: float) -> None:
    radius = canvas.unit * 0.27
    x, y = canvas.width / 2, horizon - radius * 0.55
    distance = np.hypot(canvas.x - x, canvas.y - y)
    disc = np.clip(radius - distance + 0.5, 0, 1)
    share = np.clip((canvas.y - y + radius) / (2 * radius), 0, 1)
    gaps = (np.sin(share * 46) < (share - 0.42) * 2.2) & (share > 0.42)
    color = from_hex("ffe45c") * (1 - share[..., None]) + from_hex("ff2e88") * share[..., None]
    canvas.glow((x, y), radius * 1.5, from_hex("ff3d9a"), 0.45)
    canvas.blend(color, (disc * ~gaps).astype(np.float32))


def _paint_floor(canvas: Canvas, horizon: float, ground: Color, line: Color) -> None:
    below = np.clip((canvas.y - horizon) / (canvas.height - horizon), 1e-3, 1)
    flat = np.full(canvas.width, horizon, np.float32)
    fill_ridge(canvas, flat, mix(ground, line, 0.25), ground, canvas.unit * 0.3, None)
    far = 1 / below
    across = np.abs(((canvas.x - canvas.width / 2) * far / canvas.unit * 5) % 1 - 0.5) * 2
    along = np.abs((far * 3) % 1 - 0.5) * 2
    thin = np.clip(0.03 * far, 0.02, 0.9)
    light = np.maximum(
        1 - smoothstep(0, 1, (1 - across) / thin), 1 - smoothstep(0, 1, (1 - along) / (thin * 1.4))
    )
    canvas.shine(
        line, (light * smoothstep(0.0, 0.1, below) * (canvas.y > horizon)).astype(np.float32)
    )
