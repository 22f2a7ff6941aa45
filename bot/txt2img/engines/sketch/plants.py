"""Draw firs, branching trees, grass, flowers and mushrooms."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas, Points
from bot.txt2img.engines.sketch.color import Color, from_hex, mix, turn
from bot.txt2img.engines.sketch.palette import Palette
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.shapes import capsule, curve, ellipse, polygon, ribbon, rotated


def conifer(random: np.random.Generator, x: float, foot: float, tall: float) -> Points:
    """Return a fir standing at ``x``, ``foot``: a zigzag of boughs on either side."""
    tiers = 7 if tall > 40 else 4
    width = tall * random.uniform(0.15, 0.23)
    right: list[tuple[float, float]] = []
    left: list[tuple[float, float]] = []
    for tier in range(tiers):
        share = (tier + 1) / tiers
        y = foot - tall * (1 - share * 0.94)
        for side, half in ((right, 1.0), (left, -1.0)):
            reach = width * share ** random.uniform(0.8, 1.05) * random.uniform(0.82, 1.12)
            side.append((x + half * reach, y + tall * 0.015))
            side.append((x + half * reach * 0.42, y - tall * 0.012))
    trunk = width * 0.1
    right[-1] = (x + trunk, foot - tall * 0.06)
    left[-1] = (x - trunk, foot - tall * 0.06)
    base = [(x + trunk, foot), (x - trunk, foot)]
    return polygon((x, foot - tall), *right, *base, *reversed(left))


def grasses(canvas: Canvas, dice: RandomStreams, palette: Palette, flowers: bool) -> None:
    """Blades along the lower edge, with small flowers among them."""
    random = dice.stream("grass")
    unit = canvas.unit
    blades = []
    for _ in range(int(170 * canvas.width / unit)):
        x = random.uniform(-0.02, 1.02) * canvas.width
        tall = unit * random.uniform(0.03, 0.12)
        lean = random.normal(0, 0.3) * tall
        foot = canvas.height + 3.0
        line = curve(
            [(x, foot), (x + lean * 0.3, foot - tall * 0.6), (x + lean, foot - tall)], False, 4
        )
        blades.append(ribbon(line, (unit * 0.0028, unit * 0.002, 0.0)))
    canvas.apply(canvas.patch(blades), palette.near)
    if not flowers:
        return
    colors = (palette.accent, turn(palette.accent, 0.08), palette.light)
    for _ in range(int(46 * canvas.width / unit)):
        x = random.uniform(0, 1) * canvas.width
        y = canvas.height - unit * random.uniform(0.01, 0.13)
        color = colors[int(random.integers(3))]
        size = unit * random.uniform(0.004, 0.011)
        canvas.paint([ellipse(x, y, size, size * 0.75)], color)
        canvas.glow((x, y), size * 2, color, 0.12)


def paint_tree(
    canvas: Canvas,
    dice: RandomStreams,
    palette: Palette,
    foot: tuple[float, float],
    tall: float,
    leaf: Color | None,
) -> None:
    """Draw a broad tree that branches by chance; with ``leaf``, crowned in that colour."""
    random = dice.stream("tree")
    limbs: list[Points] = []
    tips: list[tuple[float, float]] = []
    _branch(random, limbs, tips, foot, -0.25 + random.normal(0, 0.01), tall * 0.3, tall * 0.045, 8)
    wood = canvas.patch(limbs)
    canvas.apply(wood, palette.near)
    if leaf is None:
        return
    for share in (0.0, 0.45, 0.8):
        blobs = []
        for x, y in tips:
            if random.random() < 0.72:
                size = tall * random.uniform(0.014, 0.038) * (1 - share * 0.35)
                away = random.normal(0, tall * 0.022, 2)
                lift = tall * 0.016 * share
                blobs.append(
                    ellipse(x + away[0] - lift, y + away[1] - lift, size, size * 0.85, corners=14)
                )
        if blobs:
            color = mix(mix(leaf, palette.near, 0.5), mix(leaf, palette.light, 0.35), share)
            patch = canvas.patch(blobs)
            canvas.apply(patch, color)


def _branch(
    random: np.random.Generator,
    limbs: list[Points],
    tips: list[tuple[float, float]],
    start: tuple[float, float],
    turns: float,
    length: float,
    thick: float,
    depth: int,
) -> None:
    angle = turns * 2 * np.pi
    bend = angle + random.normal(0, 0.16)
    middle = (start[0] + np.cos(angle) * length / 2, start[1] + np.sin(angle) * length / 2)
    end = (middle[0] + np.cos(bend) * length / 2, middle[1] + np.sin(bend) * length / 2)
    limbs.append(capsule(start, middle, thick, thick * 0.86))
    limbs.append(capsule(middle, end, thick * 0.86, thick * 0.7))
    if depth < 3:
        tips.append((float(end[0]), float(end[1])))
    if depth == 0:
        return
    spread = random.uniform(0.05, 0.09)
    for side in (-1, 1) if random.random() < 0.86 else (-1, 0.1, 1):
        turned = turns + side * spread * random.uniform(0.6, 1.3)
        turned += (-0.25 - turned) * 0.06
        _branch(
            random,
            limbs,
            tips,
            (float(end[0]), float(end[1])),
            turned,
            length * random.uniform(0.7, 0.88),
            thick * random.uniform(0.6, 0.72),
            depth - 1,
        )


def paint_flower(
    canvas: Canvas,
    dice: RandomStreams,
    palette: Palette,
    center: tuple[float, float],
    radius: float,
    color: Color,
) -> None:
    """Draw a great blossom seen from the front: rings of petals around a seeded heart."""
    random = dice.stream("flower")
    petals = int(random.choice([5, 8, 8, 13]))
    rings = 4 if petals > 5 else 3
    stem = curve(
        [
            center,
            (center[0] + radius * 0.1, center[1] + radius * 1.4),
            (center[0], canvas.height + 9.0),
        ],
        False,
    )
    canvas.paint(
        [ribbon(stem, (radius * 0.035, radius * 0.05))], mix(palette.near, from_hex("3fa34d"), 0.3)
    )
    turn_by = random.random()
    for ring in range(rings):
        share = ring / rings
        reach = radius * (1 - share * 0.72)
        for petal in range(petals):
            turns = turn_by + (petal + 0.5 * (ring % 2)) / petals
            half = reach * min(0.62, 2.3 / petals) * random.uniform(0.92, 1.05)
            shape = curve(
                [
                    (0, 0),
                    (reach * 0.45, -half * 0.8),
                    (reach * 0.82, -half * 0.72),
                    (reach, -half * 0.12),
                    (reach, half * 0.12),
                    (reach * 0.82, half * 0.72),
                    (reach * 0.45, half * 0.8),
                ]
            )
            place = rotated(shape, turns) + center
            lit = 0.5 - 0.5 * np.sin(turns * 2 * np.pi)
            tone = mix(
                mix(color, palette.near, 0.38 - 0.3 * share),
                palette.light,
                0.12 + 0.26 * lit * (share + 0.3),
            )
            patch = canvas.patch([place])
            canvas.apply(patch, tone)
            canvas.rim(
                patch, (-radius * 0.012, -radius * 0.016), mix(tone, palette.light, 0.5), 0.7
            )
    heart = radius * 0.2
    canvas.paint([ellipse(*center, heart, heart)], mix(palette.accent, palette.near, 0.55))
    for seed in range(150):
        away = heart * np.sqrt(seed / 150) * 0.95
        angle = seed * np.pi * (3 - np.sqrt(5))
        spot = (center[0] + away * np.cos(angle), center[1] + away * np.sin(angle))
        canvas.paint(
            [ellipse(*spot, heart * 0.045, heart * 0.045)],
            mix(from_hex("f5c842"), palette.light, 0.3),
        )


def paint_mushrooms(
    canvas: Canvas,
    dice: RandomStreams,
    palette: Palette,
    foot: tuple[float, float],
    tall: float,
    color: Color,
) -> None:
    """Draw a few mushrooms, caps lit from within."""
    random = dice.stream("mushrooms")
    for share, shift in ((0.55, -0.42), (0.45, 0.4), (0.75, 0.22), (1.0, 0.0)):
        size = tall * share * random.uniform(0.9, 1.1)
        x, y = foot[0] + shift * tall, foot[1]
        stem = curve([(x, y), (x - size * 0.03, y - size * 0.4), (x, y - size * 0.75)], False)
        canvas.glow((x, y - size * 0.6), size * 0.5, color, 0.3)
        canvas.paint(
            [ribbon(stem, (size * 0.09, size * 0.06, size * 0.05))],
            mix(palette.light, color, 0.15),
            mix(palette.near, color, 0.3),
        )
        half, high = size * 0.4, size * 0.36
        top = y - size * 0.68
        cap = curve(
            [
                (x - half, top + high * 0.1),
                (x - half * 0.7, top - high * 0.6),
                (x, top - high),
                (x + half * 0.7, top - high * 0.6),
                (x + half, top + high * 0.1),
                (x, top + high * 0.2),
            ]
        )
        patch = canvas.paint([cap], mix(color, palette.light, 0.25), mix(color, palette.near, 0.35))
        canvas.rim(patch, (-size * 0.02, -size * 0.03), palette.light, 0.5)
        for _ in range(7):
            angle, away = random.uniform(np.pi, 2 * np.pi), random.uniform(0.2, 0.75)
            spot = (x + half * away * np.cos(angle), top + high * away * np.sin(angle))
            canvas.paint(
                [ellipse(*spot, size * 0.03, size * 0.022)], mix(palette.light, color, 0.1)
            )
