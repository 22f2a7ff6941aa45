"""People without a face: wanderers, busts; and robots, who have one."""

from __future__ import annotations

import numpy as np

from bot.painter.art.color import Color, from_hex, mix
from bot.painter.art.pose import Pose, white


def paint_wanderer(pose: Pose, coat: Color, random: np.random.Generator) -> None:
    """A person seen from behind, in a coat, a scarf in the wind."""
    palette = pose.palette
    dark = mix(coat, palette.near, 0.7)
    pose.shadow(0.2)
    for side in (-1, 1):
        pose.part(
            mix(palette.near, dark, 0.4),
            pose.limb((side * 0.055, 0.32), (side * 0.075, 0.025), 0.05, 0.035),
        )
    pose.part(
        dark,
        pose.limb((0.12, 0.74), (0.2, 0.46), 0.042, 0.03),
        pose.limb((-0.12, 0.74), (-0.19, 0.46), 0.042, 0.03),
    )
    pose.part(
        dark,
        pose.curve(
            (0.0, 0.86),
            (0.09, 0.83),
            (0.145, 0.74),
            (0.12, 0.5),
            (0.2, 0.2),
            (0.06, 0.17),
            (-0.16, 0.2),
            (-0.12, 0.5),
            (-0.145, 0.74),
            (-0.09, 0.83),
        ),
    )
    pose.part(mix(from_hex("3b2a22"), palette.near, 0.4), pose.oval(0, 0.925, 0.064, 0.075))
    blow = random.uniform(-0.05, 0.08)
    scarf = mix(palette.accent, palette.near, 0.12)
    pose.part(
        scarf,
        pose.band(
            [(0.02, 0.84), (0.2, 0.87 + blow), (0.34, 0.8 + blow), (0.52, 0.9 + blow * 2)],
            (0.03, 0.035, 0.04, 0.05),
        ),
        pose.oval(0, 0.845, 0.085, 0.034),
        depth=0.3,
    )


def paint_bust(pose: Pose, random: np.random.Generator) -> None:
    """A head and shoulders without a face, half in the light."""
    palette = pose.palette
    skin = pose.toned(from_hex(str(random.choice(["e8b795", "c98d63", "8a5a3c", "f0cdb0"]))), 0.18)
    hair = mix(
        from_hex(str(random.choice(["2b1c1a", "5a2f1c", "b5793a", "1b1a22"]))), palette.near, 0.25
    )
    cloth = mix(palette.accent, palette.near, 0.45)
    pose.part(
        hair,
        pose.curve(
            (0, 1.0),
            (0.24, 0.92),
            (0.29, 0.66),
            (0.33, 0.36),
            (0.2, 0.24),
            (-0.2, 0.22),
            (-0.34, 0.38),
            (-0.28, 0.68),
            (-0.22, 0.92),
        ),
    )
    pose.part(mix(skin, palette.near, 0.3), pose.limb((0, 0.48), (0, 0.24), 0.095, 0.12))
    pose.part(
        cloth, pose.twin((0, 0.24), (0.14, 0.29), (0.4, 0.17), (0.5, -0.12), (0.5, -0.4), (0, -0.4))
    )
    pose.part(
        skin,
        pose.curve(
            (0, 0.9),
            (0.15, 0.85),
            (0.185, 0.66),
            (0.15, 0.48),
            (0.05, 0.375),
            (-0.05, 0.375),
            (-0.15, 0.48),
            (-0.185, 0.66),
            (-0.15, 0.85),
        ),
    )
    half = pose.canvas.patch(
        [
            pose.curve(
                (0.0, 0.9),
                (0.15, 0.85),
                (0.185, 0.66),
                (0.15, 0.48),
                (0.05, 0.375),
                (0.0, 0.375),
                (0.03, 0.5),
                (-0.03, 0.6),
                (0.03, 0.7),
            )
        ]
    )
    pose.canvas.apply(half, mix(skin, palette.near, 0.38))
    part = random.choice([-1, 1])
    pose.part(
        hair,
        pose.curve(
            (part * 0.06, 0.86),
            (part * 0.2, 0.74),
            (part * 0.225, 0.52),
            (part * 0.27, 0.74),
            (part * 0.2, 0.95),
            (0, 1.02),
            (-part * 0.2, 0.95),
            (-part * 0.26, 0.7),
            (-part * 0.22, 0.5),
            (-part * 0.19, 0.72),
            (-part * 0.1, 0.85),
        ),
    )


def paint_robot(pose: Pose, shell: Color) -> None:
    """A robot with a screen for a face."""
    palette = pose.palette
    metal = pose.toned(shell, 0.2)
    dark = mix(metal, palette.near, 0.6)
    pose.part(dark, pose.limb((0, 0.44), (0, 0.34), 0.07, 0.09))
    pose.part(
        metal,
        pose.twin((0, 0.36), (0.24, 0.35), (0.34, 0.24), (0.33, -0.1), (0.3, -0.4), (0, -0.4)),
    )
    for side in (-1, 1):
        pose.part(dark, pose.limb((side * 0.38, 0.2), (side * 0.44, -0.4), 0.075, 0.07))
        pose.part(metal, pose.oval(side * 0.37, 0.24, 0.11, 0.11))
        pose.part(dark, pose.oval(side * 0.31, 0.68, 0.05, 0.1))
    pose.part(dark, pose.limb((0, 0.92), (0, 1.06), 0.012, 0.01))
    pose.shine(0, 1.08, 0.09, palette.accent, 0.8)
    pose.flat(mix(palette.accent, white(), 0.4), pose.oval(0, 1.08, 0.03, 0.03))
    pose.part(
        metal,
        pose.twin(
            (0, 0.94), (0.2, 0.93), (0.29, 0.86), (0.3, 0.66), (0.27, 0.48), (0.18, 0.43), (0, 0.42)
        ),
    )
    pose.flat(
        mix(palette.near, from_hex("05060c"), 0.5),
        pose.twin((0, 0.85), (0.16, 0.84), (0.22, 0.78), (0.22, 0.6), (0.17, 0.53), (0, 0.52)),
    )
    for side in (-1, 1):
        pose.shine(side * 0.095, 0.7, 0.09, palette.accent, 0.8)
        pose.flat(mix(palette.accent, white(), 0.55), pose.oval(side * 0.095, 0.7, 0.037, 0.05))
    pose.flat(
        mix(palette.accent, white(), 0.3),
        pose.band([(-0.07, 0.595), (0, 0.575), (0.07, 0.595)], (0.007,)),
    )
    pose.part(dark, pose.oval(0, 0.12, 0.11, 0.11))
    pose.shine(0, 0.12, 0.1, palette.accent, 0.7)
    pose.flat(mix(palette.accent, white(), 0.4), pose.oval(0, 0.12, 0.05, 0.05))
