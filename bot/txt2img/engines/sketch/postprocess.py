"""Postprocess a picture: glow, colour grading by style, vignette, grain and caption."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import from_hex
from bot.txt2img.engines.sketch.noise import Field, fractal
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene

CAPTION = "sketch – no model installed"
"""Stands in every picture, so that nobody takes it for a model's work."""

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def postprocess(canvas: Canvas, scene: Scene, dice: RandomStreams, steps: int) -> Image.Image:
    """Return the finished RGB picture without its caption; fewer ``steps`` leave it softer."""
    _bloom(canvas, 0.32 if scene.styles & {"neon", "synthwave"} else 0.2)
    _grade(canvas, scene, dice)
    x, y = canvas.x / canvas.width - 0.5, canvas.y / canvas.height - 0.5
    canvas.pixels *= (1.03 - 0.55 * (x * x + y * y))[..., None]
    softness = max(0.0, 1 - math.log2(steps + 1) / math.log2(41))
    if softness > 0:
        radius = canvas.unit * 0.012 * softness
        canvas.pixels = _as_array(_as_image(canvas.pixels).filter(ImageFilter.GaussianBlur(radius)))
    grain = dice.stream("grain").normal(0, 1.5 / 255, (*canvas.shape, 1)).astype(np.float32)
    image = _as_image(canvas.pixels + grain)
    if "pixel" in scene.styles:
        small = image.resize((canvas.width // 8, canvas.height // 8), Image.Resampling.BOX)
        small = small.quantize(28, dither=Image.Dither.NONE).convert("RGB")
        image = small.resize(image.size, Image.Resampling.NEAREST)
    return image


def caption(image: Image.Image) -> None:
    """Write the caption on a dark strip along the lower edge, in place."""
    width, height = image.size
    high = max(11, round(min(width, height) * 0.052))
    strip = (0, height - high, width, height)
    dark = image.crop(strip).filter(ImageFilter.GaussianBlur(high * 0.4)).point(lambda v: v * 0.32)
    image.paste(dark, strip)
    before, after = (part.strip() for part in CAPTION.split("–"))
    size = high * 0.7
    # Pillow's own font has no dash: it is drawn, half as wide as the letters are high.
    wide = ImageFont.load_default(size).getlength(before + after) + 1.1 * size
    size *= min(1.0, width * 0.96 / wide)
    font = ImageFont.load_default(size)
    wide = font.getlength(before + after) + 1.1 * size
    draw = ImageDraw.Draw(image)
    ink = (244, 240, 232)
    left, middle = (width - wide) / 2, height - high / 2
    draw.text((left, middle), before, ink, font, anchor="lm")
    left += font.getlength(before) + 0.3 * size
    thick = max(0, round(size * 0.06) - 1)
    draw.rectangle((left, middle, left + 0.5 * size, middle + thick), ink)
    draw.text((left + 0.8 * size, middle), after, ink, font, anchor="lm")


def _bloom(canvas: Canvas, power: float) -> None:
    """Let bright parts shine into their surroundings."""
    small = (max(1, canvas.width // 4), max(1, canvas.height // 4))
    image = _as_image(np.clip(canvas.pixels * 1.5 - 0.62, 0, 1)).resize(small, Image.Resampling.BOX)
    soft = image.filter(ImageFilter.GaussianBlur(canvas.unit * 0.011))
    light = _as_array(soft.resize((canvas.width, canvas.height), Image.Resampling.BICUBIC))
    canvas.pixels += power * light * np.maximum(1 - canvas.pixels, 0)


def _grade(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    styles = scene.styles
    if "mono" in styles or "sepia" in styles:
        grey = _contrast(canvas.pixels @ _LUMA, 1.22)[..., None]
        canvas.pixels = grey * (from_hex("fbeed6") if "sepia" in styles else from_hex("fdfdfb"))
        if "sepia" in styles:
            canvas.pixels = canvas.pixels * 0.9 + from_hex("3a2212") * 0.14
        return
    if "pastel" in styles:
        canvas.pixels = canvas.pixels * 0.62 + 0.36
        paper = fractal(dice.stream("paper"), canvas.shape, 60, 60, octaves=3) - 0.5
        canvas.pixels += paper[..., None] * 0.07
    if "vivid" in styles:
        grey = (canvas.pixels @ _LUMA)[..., None]
        canvas.pixels = grey + (canvas.pixels - grey) * 1.4
    if "gloom" in styles:
        grey = (canvas.pixels @ _LUMA)[..., None]
        canvas.pixels = (grey + (canvas.pixels - grey) * 0.55) * 0.74


def _contrast(value: Field, power: float) -> Field:
    return np.asarray(np.clip((value - 0.5) * power + 0.5, 0, 1), np.float32)


def _as_image(pixels: Field) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def _as_array(image: Image.Image) -> Field:
    return np.asarray(image, np.float32) / 255
