"""Draw ships, houses, castles, lighthouses, rockets and balloons."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.color import Color, from_hex, mix
from bot.txt2img.engines.sketch.figure import Pose, white

_GLOW = from_hex("ffd28a")


def paint_ship(pose: Pose, color: Color | None) -> None:
    """Draw a two-masted ship under sail."""
    palette = pose.palette
    wood = mix(from_hex("5a3826") if color is None else color, palette.near, 0.35)
    sail = mix(white(), palette.horizon, 0.45)
    for x, tall in ((-0.16, 0.9), (0.16, 1.0)):
        pose.flat(palette.near, pose.limb((x, 0.1), (x, tall), 0.008, 0.005))
        for foot, head, wide in ((0.2, 0.48, 0.15), (0.5, 0.72, 0.12), (0.74, 0.9, 0.085)):
            low, high = foot * tall, head * tall
            pose.part(
                sail,
                pose.curve(
                    (x - wide, low),
                    (x - wide * 0.86, (low + high) / 2),
                    (x - wide * 0.8, high),
                    (x + wide * 0.8, high),
                    (x + wide * 1.2, (low + high) / 2),
                    (x + wide, low),
                    (x, low + 0.03),
                ),
                depth=0.25,
            )
        pose.flat(palette.accent, pose.sharp((x, tall), (x - 0.1, tall + 0.02), (x, tall + 0.045)))
    pose.part(sail, pose.sharp((0.22, 0.78), (0.52, 0.16), (0.24, 0.2)), depth=0.25)
    pose.part(
        wood,
        pose.curve(
            (-0.42, 0.2),
            (-0.44, 0.16),
            (-0.36, 0.0),
            (0.0, -0.03),
            (0.32, 0.0),
            (0.44, 0.13),
            (0.6, 0.2),
            (0.4, 0.15),
            (0.0, 0.1),
            (-0.3, 0.13),
        ),
    )
    for x in np.linspace(-0.26, 0.26, 6):
        pose.flat(mix(_GLOW, wood, 0.25), pose.oval(float(x), 0.055, 0.012, 0.012))


def paint_house(pose: Pose, color: Color | None) -> None:
    """Draw a cottage with lit windows and smoke."""
    palette = pose.palette
    wall = mix(from_hex("b98d6a") if color is None else color, palette.near, 0.5)
    roof = mix(mix(palette.accent, from_hex("7a3526"), 0.5), palette.near, 0.45)
    pose.shadow(0.62)
    for puff in range(7):
        pose.shine(
            0.24 + 0.02 * puff,
            1.0 + 0.07 * puff,
            0.03 + 0.012 * puff,
            palette.horizon,
            0.3 - 0.03 * puff,
        )
    pose.part(
        mix(roof, palette.near, 0.2),
        pose.sharp((0.18, 0.6), (0.18, 0.98), (0.28, 0.98), (0.28, 0.5)),
    )
    pose.part(wall, pose.sharp((-0.45, 0), (-0.45, 0.46), (0.45, 0.46), (0.45, 0)))
    pose.part(roof, pose.sharp((-0.56, 0.42), (-0.3, 0.86), (0.3, 0.86), (0.56, 0.42)))
    pose.part(
        mix(roof, palette.near, 0.4), pose.sharp((-0.08, 0.0), (-0.08, 0.3), (0.08, 0.3), (0.08, 0))
    )
    for x in (-0.28, 0.28):
        pose.shine(x, 0.24, 0.16, _GLOW, 0.5)
        pose.flat(
            _GLOW,
            pose.sharp((x - 0.08, 0.15), (x - 0.08, 0.33), (x + 0.08, 0.33), (x + 0.08, 0.15)),
        )
        pose.flat(
            wall,
            pose.limb((x, 0.15), (x, 0.33), 0.007, 0.007),
            pose.limb((x - 0.08, 0.24), (x + 0.08, 0.24), 0.007, 0.007),
        )


def paint_castle(pose: Pose, color: Color | None, random: np.random.Generator) -> None:
    """Draw a castle of many towers on its rock."""
    palette = pose.palette
    stone = mix(
        mix(from_hex("a39c98") if color is None else color, palette.far, 0.4), palette.near, 0.25
    )
    roof = mix(palette.accent, palette.near, 0.42)
    rock = mix(palette.near, palette.far, 0.22)
    towers = [
        (-0.36, 0.62, 0.075),
        (0.36, 0.56, 0.075),
        (-0.2, 0.84, 0.07),
        (0.2, 0.78, 0.08),
        (0.03, 1.0, 0.1),
        (-0.06, 0.6, 0.16),
    ]
    for number, (x, height, half) in enumerate(towers):
        tall = height * random.uniform(0.92, 1.08)
        tone = mix(stone, palette.horizon, 0.16 if number < 3 else 0.0)
        pose.part(
            tone,
            pose.sharp(
                (x - half, 0), (x - half, tall * 0.76), (x + half, tall * 0.76), (x + half, 0)
            ),
        )
        teeth = [
            pose.sharp(
                (x + half * at - half * 0.16, tall * 0.75),
                (x + half * at - half * 0.16, tall * 0.795),
                (x + half * at + half * 0.16, tall * 0.795),
                (x + half * at + half * 0.16, tall * 0.75),
            )
            for at in (-1, -0.34, 0.34, 1)
        ]
        pose.part(tone, *teeth)
        if number < 5:
            pose.part(
                roof,
                pose.sharp(
                    (x - half * 1.2, tall * 0.79),
                    (x, tall * 0.79 + half * 3.4),
                    (x + half * 1.2, tall * 0.79),
                ),
            )
            peak = tall * 0.79 + half * 3.4
            pose.flat(
                palette.accent,
                pose.sharp(
                    (x, peak), (x, peak + 0.07), (x + 0.09, peak + 0.045), (x, peak + 0.025)
                ),
            )
        for y in (0.5, 0.64):
            if random.random() < 0.8:
                pose.shine(x, tall * y, 0.045, _GLOW, 0.5)
                pose.flat(
                    _GLOW, pose.limb((x, tall * y - 0.014), (x, tall * y + 0.016), 0.01, 0.01)
                )
    pose.part(stone, pose.sharp((-0.5, -0.05), (-0.5, 0.26), (0.5, 0.26), (0.5, -0.05)))
    pose.part(
        stone,
        *[
            pose.sharp((at - 0.022, 0.25), (at - 0.022, 0.3), (at + 0.022, 0.3), (at + 0.022, 0.25))
            for at in np.linspace(-0.48, 0.48, 12)
        ],
    )
    pose.flat(rock, pose.curve((-0.08, -0.02), (-0.08, 0.1), (0, 0.16), (0.08, 0.1), (0.08, -0.02)))
    pose.part(
        rock,
        pose.sharp(
            (-0.52, 0.0),
            (-0.3, 0.03),
            (0.1, -0.01),
            (0.54, 0.02),
            (0.66, -0.25),
            (0.86, -0.42),
            (0.98, -0.8),
            (-1.0, -0.8),
            (-0.84, -0.4),
            (-0.68, -0.28),
        ),
    )


def paint_lighthouse(pose: Pose, color: Color | None) -> None:
    """Draw a lighthouse on a rock, its beam on the way round."""
    palette = pose.palette
    band = mix(from_hex("c8372d") if color is None else color, palette.near, 0.25)
    wall = pose.toned(white(), 0.25)
    rock = mix(palette.near, palette.far, 0.15)
    for side in (-1, 1):
        beam = pose.canvas.patch([pose.sharp((0, 0.93), (side * 2.4, 1.26), (side * 2.4, 0.84))])
        _height, width = beam.mask.shape
        fade = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        rising = fade if (side * pose.facing) < 0 else 1 - fade
        part = pose.canvas.pixels[beam.place]
        part += (beam.mask * rising**1.7 * 0.6)[..., None] * palette.light * np.maximum(1 - part, 0)
    pose.part(
        rock,
        pose.curve(
            (-0.55, -0.12),
            (-0.34, 0.05),
            (-0.1, 0.09),
            (0.16, 0.08),
            (0.36, 0.0),
            (0.6, -0.12),
            (0.0, -0.2),
        ),
    )
    pose.part(
        wall, pose.sharp((-0.13, 0.05), (-0.085, 0.84), (0.085, 0.84), (0.13, 0.05)), depth=0.3
    )
    for low, high in ((0.2, 0.36), (0.52, 0.68)):
        left, right = 0.135 - 0.057 * low, 0.135 - 0.057 * high
        pose.part(band, pose.sharp((-left, low), (-right, high), (right, high), (left, low)))
    pose.part(palette.near, pose.sharp((-0.12, 0.83), (-0.12, 0.86), (0.12, 0.86), (0.12, 0.83)))
    pose.shine(0, 0.93, 0.3, palette.light, 0.55)
    pose.flat(
        from_hex("fff3c4"), pose.sharp((-0.06, 0.86), (-0.06, 0.98), (0.06, 0.98), (0.06, 0.86))
    )
    pose.part(band, pose.sharp((-0.09, 0.97), (0, 1.09), (0.09, 0.97)))


def paint_rocket(pose: Pose, color: Color | None) -> None:
    """Draw a rocket with its fire."""
    palette = pose.palette
    shell = pose.toned(white() if color is None else color, 0.15)
    fin = mix(palette.accent, palette.near, 0.12)
    pose.shine(0, -0.12, 0.34, palette.accent, 0.4)
    for half, reach, tone in (
        (0.1, -0.62, from_hex("ff7a2a")),
        (0.07, -0.42, from_hex("ffc14a")),
        (0.04, -0.24, from_hex("fffbe0")),
    ):
        pose.flat(tone, pose.twin((0, 0.06), (half, -0.02), (half * 0.7, reach * 0.5), (0, reach)))
    for side in (-1, 1):
        pose.part(
            fin,
            pose.curve(
                (side * 0.1, 0.34),
                (side * 0.27, 0.14),
                (side * 0.3, -0.06),
                (side * 0.17, 0.04),
                (side * 0.1, 0.08),
            ),
        )
    pose.part(
        mix(shell, palette.near, 0.6),
        pose.sharp((-0.09, 0.08), (0.09, 0.08), (0.07, 0.0), (-0.07, 0.0)),
    )
    pose.part(
        shell,
        pose.twin((0, 1.0), (0.1, 0.8), (0.15, 0.55), (0.15, 0.3), (0.11, 0.07), (0, 0.06)),
        depth=0.35,
    )
    pose.part(fin, pose.twin((0, 1.0), (0.06, 0.9), (0.108, 0.78), (0, 0.76)))
    pose.part(mix(shell, palette.near, 0.5), pose.oval(0, 0.58, 0.075, 0.075))
    pose.flat(mix(palette.sky[1], from_hex("8fe6ff"), 0.6), pose.oval(0, 0.58, 0.056, 0.056))
    pose.flat(white(), pose.oval(-0.02, 0.6, 0.014, 0.02, 0.1))
    pose.part(fin, pose.limb((0, 0.3), (0, 0.0), 0.018, 0.014))


def paint_balloon(pose: Pose, color: Color | None) -> None:
    """Draw a hot-air balloon in gores of two colours."""
    palette = pose.palette
    first = pose.toned(palette.accent if color is None else color, 0.12)
    second = mix(white(), palette.light, 0.5)
    pose.flat(
        palette.near,
        pose.limb((-0.075, 0.36), (-0.05, 0.13), 0.004, 0.004),
        pose.limb((0.075, 0.36), (0.05, 0.13), 0.004, 0.004),
    )
    pose.part(
        first,
        pose.twin((0, 1.0), (0.2, 0.95), (0.32, 0.76), (0.28, 0.56), (0.12, 0.36), (0.0, 0.34)),
    )
    for share in (0.72, 0.26):
        gore = second if share == 0.72 else first
        pose.part(
            gore,
            pose.twin(
                (0, 0.995),
                (0.2 * share, 0.95),
                (0.32 * share, 0.76),
                (0.28 * share, 0.56),
                (0.12 * share, 0.36),
                (0.0, 0.345),
            ),
        )
    pose.shine(0, 0.34, 0.08, _GLOW, 0.7)
    pose.part(
        mix(from_hex("8a5a36"), palette.near, 0.3),
        pose.sharp((-0.06, 0.13), (0.06, 0.13), (0.05, 0.02), (-0.05, 0.02)),
    )
