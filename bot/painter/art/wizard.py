"""Old wizards."""

from __future__ import annotations

import numpy as np

from bot.painter.art.color import Color, from_hex, mix
from bot.painter.art.pose import Pose, white


def paint_wizard(pose: Pose, robe: Color, random: np.random.Generator) -> None:
    """An old wizard: bent hat, beard, deep eyes, a staff with a light."""
    palette = pose.palette
    cloth = mix(robe, palette.near, 0.35)
    skin = pose.toned(from_hex("d9a986"), 0.2)
    beard = pose.toned(from_hex("eeeae6"), 0.18)
    staff_x = 0.5
    pose.part(
        mix(from_hex("6b4426"), palette.near, 0.3),
        pose.band(
            [(staff_x + 0.02, -0.4), (staff_x, 0.3), (staff_x + 0.01, 0.78)], (0.026, 0.02, 0.018)
        ),
    )
    for side in (-1, 1):
        pose.part(
            mix(from_hex("6b4426"), palette.near, 0.3),
            pose.band(
                [(staff_x, 0.76), (staff_x + side * 0.085, 0.85), (staff_x + side * 0.03, 0.98)],
                (0.016, 0.016, 0.004),
            ),
        )
    orb = mix(palette.accent, white(), 0.25)
    pose.shine(staff_x, 0.88, 0.3, orb, 0.5)
    pose.shine(staff_x, 0.88, 0.12, orb, 0.8)
    pose.flat(mix(orb, white(), 0.55), pose.oval(staff_x, 0.88, 0.045, 0.045))
    pose.part(
        cloth,
        pose.twin((0, 0.36), (0.2, 0.34), (0.38, 0.18), (0.5, -0.15), (0.52, -0.45), (0, -0.45)),
    )
    pose.part(
        mix(cloth, palette.near, 0.3),
        pose.curve((0.3, 0.2), (0.46, 0.16), (0.56, 0.1), (0.53, 0.0), (0.42, -0.06), (0.32, -0.2)),
    )
    pose.part(skin, pose.oval(staff_x + 0.005, 0.09, 0.06, 0.05))
    pose.part(
        beard,
        pose.curve(
            (0.24, 0.66),
            (0.26, 0.5),
            (0.3, 0.34),
            (0.22, 0.2),
            (-0.22, 0.2),
            (-0.3, 0.34),
            (-0.26, 0.5),
            (-0.24, 0.66),
        ),
    )
    pose.part(
        skin,
        pose.curve(
            (0.0, 0.78),
            (0.17, 0.74),
            (0.18, 0.58),
            (0.12, 0.45),
            (-0.12, 0.45),
            (-0.18, 0.58),
            (-0.17, 0.74),
        ),
    )
    beard_shape = pose.curve(
        (0.18, 0.57),
        (0.21, 0.38),
        (0.15, 0.14),
        (0.05, -0.12),
        (0.0, -0.26),
        (-0.06, -0.12),
        (-0.16, 0.14),
        (-0.21, 0.38),
        (-0.18, 0.57),
        (-0.08, 0.5),
        (0.0, 0.53),
        (0.08, 0.5),
    )
    pose.part(beard, beard_shape, depth=0.3)
    for strand in np.linspace(-0.14, 0.14, 9):
        line = [
            (strand, 0.44),
            (strand * 1.1 + random.normal(0, 0.012), 0.2),
            (strand * 0.3, -0.12),
        ]
        pose.flat(mix(beard, palette.near, 0.28), pose.band(line, (0.002, 0.005, 0.001)))
    pose.flat(
        mix(beard, palette.light, 0.3),
        pose.curve(
            (0, 0.545),
            (0.1, 0.535),
            (0.19, 0.46),
            (0.1, 0.485),
            (0, 0.51),
            (-0.1, 0.485),
            (-0.19, 0.46),
            (-0.1, 0.535),
        ),
    )
    pose.part(
        mix(skin, palette.light, 0.06),
        pose.curve(
            (0.0, 0.67), (0.03, 0.6), (0.045, 0.545), (0.0, 0.525), (-0.045, 0.545), (-0.03, 0.6)
        ),
        depth=0.2,
    )
    for side in (-1, 1):
        pose.flat(mix(skin, palette.near, 0.55), pose.oval(side * 0.08, 0.645, 0.042, 0.022))
        pose.shine(side * 0.08, 0.643, 0.03, orb, 0.6)
        pose.flat(mix(orb, white(), 0.6), pose.oval(side * 0.08, 0.643, 0.013, 0.011))
        pose.flat(
            beard,
            pose.band(
                [(side * 0.03, 0.672), (side * 0.09, 0.695), (side * 0.16, 0.66)],
                (0.008, 0.016, 0.004),
            ),
        )
    lean = random.choice([-1, 1]) * random.uniform(0.12, 0.26)
    hat = mix(robe, palette.near, 0.22)
    pose.part(
        hat,
        pose.curve(
            (0.21, 0.74),
            (0.16, 0.95),
            (0.1 + lean * 0.35, 1.2),
            (lean * 0.8 + 0.03, 1.36),
            (lean * 1.7, 1.38),
            (lean * 0.6 - 0.06, 1.26),
            (-0.08 + lean * 0.2, 1.1),
            (-0.16, 0.92),
            (-0.21, 0.74),
        ),
    )
    pose.flat(
        mix(palette.accent, palette.near, 0.15),
        pose.band([(-0.2, 0.79), (0, 0.765), (0.2, 0.79)], (0.022,)),
    )
    pose.part(
        mix(hat, palette.near, 0.15),
        pose.curve(
            (0, 0.69),
            (0.24, 0.71),
            (0.42, 0.77),
            (0.36, 0.79),
            (0.2, 0.755),
            (0, 0.745),
            (-0.2, 0.755),
            (-0.36, 0.79),
            (-0.42, 0.77),
            (-0.24, 0.71),
        ),
    )
