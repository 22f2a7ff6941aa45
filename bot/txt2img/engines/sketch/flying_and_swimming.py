"""Draw birds, butterflies, dragons, fish and whales."""

from __future__ import annotations

import itertools

import numpy as np

from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import Color, from_hex, mix, turn
from bot.txt2img.engines.sketch.figure import Pose, white
from bot.txt2img.engines.sketch.shapes import curve, ellipse, ribbon


def paint_flock(
    canvas: Canvas, random: np.random.Generator, color: Color, count: int, size: float
) -> None:
    """Birds far off, each two bent wings; ``size`` is the span of the largest in units."""
    middle = np.array(
        [random.uniform(0.25, 0.75) * canvas.width, random.uniform(0.16, 0.36) * canvas.height]
    )
    for _ in range(count):
        x, y = middle + random.normal(0, 1, 2) * (canvas.unit * 0.17, canvas.unit * 0.07)
        span = canvas.unit * size * random.uniform(0.35, 1)
        lift = span * random.uniform(0.12, 0.36)
        tilt = span * random.normal(0, 0.05)
        line = curve(
            [
                (x - span / 2, y - lift + tilt),
                (x - span * 0.22, y - lift * 1.1),
                (x, y),
                (x + span * 0.22, y - lift * 1.1),
                (x + span / 2, y - lift - tilt),
            ],
            closed=False,
        )
        body = ellipse(x, y + span * 0.012, span * 0.035, span * 0.085, 0.08)
        canvas.apply(
            canvas.patch([ribbon(line, (0.0, span * 0.035, span * 0.05, span * 0.035, 0.0)), body]),
            color,
        )


def paint_butterfly(pose: Pose, color: Color, random: np.random.Generator) -> None:
    """Draw a great butterfly with spread wings, pattern and all."""
    spot, edge = turn(color, random.uniform(-0.12, 0.12)), mix(color, pose.palette.near, 0.8)
    fore = [(0.02, 0.56), (0.16, 0.86), (0.46, 1.0), (0.56, 0.84), (0.42, 0.58), (0.1, 0.5)]
    hind = [(0.02, 0.5), (0.26, 0.52), (0.42, 0.38), (0.36, 0.14), (0.18, 0.08), (0.06, 0.3)]
    for wing, heart in ((hind, (0.14, 0.42)), (fore, (0.2, 0.66))):
        for side in (-1, 1):
            for share, tone in (
                (1.0, edge),
                (0.86, color),
                (0.6, mix(color, spot, 0.7)),
                (0.34, mix(spot, pose.palette.light, 0.6)),
            ):
                inner = [
                    (side * (heart[0] + (x - heart[0]) * share), heart[1] + (y - heart[1]) * share)
                    for x, y in wing
                ]
                pose.part(tone, pose.curve(*inner), depth=0.25)
            for x, y in wing[1:5]:
                pose.flat(
                    mix(pose.palette.light, color, 0.2),
                    pose.oval(
                        side * (heart[0] + (x - heart[0]) * 0.92),
                        heart[1] + (y - heart[1]) * 0.92,
                        0.011,
                        0.011,
                    ),
                )
    pose.part(
        pose.palette.near,
        pose.limb((0, 0.68), (0, 0.2), 0.024, 0.012),
        pose.oval(0, 0.71, 0.026, 0.026),
        depth=0.1,
    )
    for side in (-1, 1):
        pose.flat(
            pose.palette.near,
            pose.band([(0, 0.72), (side * 0.06, 0.86), (side * 0.13, 0.93)], (0.005, 0.004, 0.007)),
        )


def paint_dragon(pose: Pose, color: Color) -> None:
    """Draw a dragon in flight, in profile, one wing up and one behind."""
    coat = pose.toned(color, 0.3)
    far = mix(coat, pose.palette.near, 0.55)
    for shift, tone in ((-0.1, far), (0.0, coat)):
        root = (0.1 + shift, 0.5)
        tips = (
            (-0.3 + shift, 1.12),
            (-0.55 + shift, 0.78),
            (-0.5 + shift, 0.5),
            (-0.28 + shift, 0.36),
        )
        elbow = (0.16 + shift, 0.98)
        edge = [root, elbow, tips[0]]
        for first, second in itertools.pairwise(tips):
            edge += [((first[0] + second[0]) / 2 + 0.07, (first[1] + second[1]) / 2 + 0.03), second]
        if shift:
            pose.part(tone, pose.sharp(*edge))
        else:
            wing, bones = pose.sharp(*edge), [pose.band([root, elbow], (0.024, 0.016))]
    body = [
        (-1.0, 0.16),
        (-0.72, 0.1),
        (-0.4, 0.3),
        (-0.1, 0.42),
        (0.2, 0.48),
        (0.42, 0.66),
        (0.6, 0.76),
        (0.74, 0.73),
    ]
    pose.part(
        coat,
        pose.band(body, (0.004, 0.024, 0.06, 0.1, 0.1, 0.06, 0.052, 0.04)),
        pose.curve((0.68, 0.79), (0.8, 0.78), (0.93, 0.7), (0.9, 0.67), (0.76, 0.66), (0.66, 0.7)),
    )
    pose.part(coat, pose.sharp((-1.0, 0.16), (-1.14, 0.26), (-1.06, 0.13), (-1.13, 0.04)))
    pose.part(mix(coat, pose.palette.accent, 0.3), wing)
    bones += [pose.band([elbow, tip], (0.014, 0.004)) for tip in tips]
    pose.part(coat, *bones)
    for x, y, reach in ((0.66, 0.78, 0.13), (0.72, 0.78, 0.1)):
        pose.part(far, pose.sharp((x, y - 0.02), (x - reach, y + reach * 0.7), (x + 0.04, y)))
    pose.part(
        far,
        pose.limb((0.14, 0.4), (0.26, 0.24), 0.04, 0.02),
        pose.limb((-0.22, 0.34), (-0.16, 0.16), 0.045, 0.02),
    )
    pose.shine(0.8, 0.735, 0.03, from_hex("ffd24a"), 0.9)
    pose.flat(from_hex("fff2b0"), pose.oval(0.8, 0.735, 0.014, 0.01))


def paint_fish(pose: Pose, color: Color) -> None:
    """Draw a fish in profile."""
    pale = mix(color, white(), 0.6)
    pose.part(
        mix(color, pose.palette.near, 0.25),
        pose.curve((-0.42, 0.5), (-0.72, 0.78), (-0.66, 0.52), (-0.74, 0.22)),
    )
    pose.part(
        mix(color, pale, 0.3),
        pose.curve((-0.1, 0.7), (0.02, 0.95), (0.26, 0.86), (0.24, 0.7)),
        pose.curve((0.0, 0.32), (-0.12, 0.12), (0.1, 0.22)),
    )
    pose.part(
        color,
        pose.curve(
            (0.62, 0.5),
            (0.4, 0.7),
            (0.05, 0.77),
            (-0.3, 0.62),
            (-0.5, 0.5),
            (-0.3, 0.38),
            (0.05, 0.25),
            (0.4, 0.32),
        ),
    )
    pose.flat(pale, pose.curve((0.52, 0.42), (0.3, 0.36), (0.0, 0.3), (-0.25, 0.4), (0.1, 0.42)))
    for x in (0.2, 0.0, -0.2):
        pose.flat(
            mix(pale, color, 0.25),
            pose.band([(x + 0.04, 0.7), (x - 0.03, 0.5), (x + 0.02, 0.33)], (0.004, 0.035, 0.004)),
        )
    pose.part(
        mix(color, pose.palette.near, 0.2),
        pose.curve((0.22, 0.46), (0.02, 0.5), (-0.06, 0.38), (0.1, 0.36)),
    )
    pose.flat(white(), pose.oval(0.44, 0.56, 0.045, 0.045))
    pose.flat(from_hex("120f18"), pose.oval(0.45, 0.56, 0.024, 0.026))


def paint_whale(pose: Pose, color: Color) -> None:
    """Draw a whale in profile, with a pale furrowed throat."""
    pale = mix(white(), color, 0.35)
    pose.part(
        color,
        pose.curve(
            (-0.7, 0.62), (-0.86, 0.86), (-1.08, 0.92), (-0.96, 0.72), (-1.1, 0.56), (-0.88, 0.6)
        ),
    )
    body = pose.curve(
        (0.78, 0.52),
        (0.7, 0.68),
        (0.4, 0.8),
        (0.0, 0.8),
        (-0.4, 0.7),
        (-0.76, 0.66),
        (-0.78, 0.6),
        (-0.4, 0.48),
        (0.0, 0.3),
        (0.4, 0.26),
        (0.68, 0.36),
    )
    pose.part(color, body)
    pose.part(
        pale,
        pose.curve(
            (0.76, 0.48),
            (0.66, 0.36),
            (0.4, 0.28),
            (0.05, 0.31),
            (-0.2, 0.41),
            (0.2, 0.43),
            (0.5, 0.46),
        ),
        depth=0.25,
    )
    for row in range(4):
        y = 0.32 + row * 0.032
        pose.flat(
            mix(pale, color, 0.6),
            pose.band(
                [(0.62 + row * 0.025, y + 0.06), (0.36, y), (0.02 + row * 0.03, y + 0.03)],
                (0.001, 0.005, 0.001),
            ),
        )
    pose.part(
        mix(color, pose.palette.near, 0.25),
        pose.curve((0.26, 0.4), (0.1, 0.16), (-0.08, 0.08), (0.02, 0.38)),
    )
    pose.flat(from_hex("0d0b12"), pose.oval(0.52, 0.52, 0.018, 0.016))
    pose.flat(white(), pose.oval(0.525, 0.526, 0.005, 0.005))
