"""Draw people: astronauts, wanderers, busts, robots and wizards."""

from __future__ import annotations

import numpy as np

from bot.txt2img.engines.sketch.color import Color, from_hex, mix
from bot.txt2img.engines.sketch.figure import Pose, white


def paint_astronaut(pose: Pose, random: np.random.Generator) -> None:
    """Draw an astronaut from head to foot, limbs drifting."""
    suit = pose.toned(from_hex("f1eef4"), 0.12)
    grey = mix(suit, pose.palette.near, 0.35)
    accent = mix(pose.palette.accent, suit, 0.1)
    sway = [random.uniform(-0.05, 0.05) for _ in range(6)]
    pose.part(
        grey,
        pose.limb((-0.15, 0.68), (-0.15, 0.46), 0.09, 0.09),
        pose.limb((0.15, 0.68), (0.15, 0.46), 0.09, 0.09),
    )
    for side, knee, foot in (
        (-1, (-0.15 + sway[0], 0.24), (-0.13 + sway[1], 0.04)),
        (1, (0.17 + sway[2], 0.25), (0.25 + sway[3], 0.07)),
    ):
        pose.part(
            suit,
            pose.limb((side * 0.09, 0.43), knee, 0.09, 0.075),
            pose.limb(knee, foot, 0.075, 0.065),
        )
        pose.part(
            grey,
            pose.limb(
                (foot[0], foot[1] - 0.015), (foot[0] + 0.05 * side, foot[1] - 0.03), 0.06, 0.045
            ),
        )
        pose.flat(
            accent, pose.limb((knee[0] - 0.05, knee[1]), (knee[0] + 0.05, knee[1]), 0.014, 0.014)
        )
    for side, elbow, hand in (
        (-1, (-0.34, 0.55 + sway[4]), (-0.42, 0.72 + sway[5])),
        (1, (0.33, 0.52 + sway[5]), (0.45, 0.42 + sway[4])),
    ):
        pose.part(
            suit,
            pose.limb((side * 0.16, 0.66), elbow, 0.078, 0.062),
            pose.limb(elbow, hand, 0.062, 0.055),
        )
        pose.part(grey, pose.oval(hand[0] + side * 0.012, hand[1], 0.055, 0.055))
    pose.part(
        suit, pose.twin((0, 0.76), (0.16, 0.74), (0.19, 0.6), (0.16, 0.42), (0.1, 0.36), (0, 0.35))
    )
    pose.part(grey, pose.sharp((-0.1, 0.62), (0.1, 0.62), (0.09, 0.5), (-0.09, 0.5)), depth=0.25)
    for x, tone in ((-0.055, accent), (0.0, from_hex("ffd76a")), (0.05, from_hex("7fe0ff"))):
        pose.flat(tone, pose.oval(x, 0.575, 0.014, 0.014))
    pose.flat(accent, pose.limb((-0.15, 0.44), (0.15, 0.44), 0.014, 0.014))
    _paint_helmet(pose, 0.0, 0.87, 0.17, random)


def paint_astronaut_bust(pose: Pose, random: np.random.Generator) -> None:
    """Draw an astronaut close by: helmet and shoulders."""
    suit = pose.toned(from_hex("f1eef4"), 0.12)
    grey = mix(suit, pose.palette.near, 0.4)
    pose.part(grey, pose.twin((0, 0.5), (0.36, 0.44), (0.42, 0.2), (0.42, -0.2), (0, -0.2)))
    pose.part(
        suit, pose.twin((0, 0.36), (0.22, 0.36), (0.44, 0.26), (0.56, 0.02), (0.6, -0.3), (0, -0.3))
    )
    pose.flat(
        mix(pose.palette.accent, suit, 0.15),
        pose.band([(0.34, 0.32), (0.42, 0.1), (0.44, -0.3)], (0.016,)),
    )
    pose.flat(
        mix(pose.palette.accent, suit, 0.15),
        pose.band([(-0.34, 0.32), (-0.42, 0.1), (-0.44, -0.3)], (0.016,)),
    )
    pose.part(
        grey, pose.sharp((-0.15, 0.16), (0.15, 0.16), (0.14, -0.05), (-0.14, -0.05)), depth=0.2
    )
    for x, tone in (
        (-0.09, pose.palette.accent),
        (-0.03, from_hex("ffd76a")),
        (0.03, from_hex("7fe0ff")),
    ):
        pose.shine(x, 0.1, 0.03, tone, 0.5)
        pose.flat(tone, pose.oval(x, 0.1, 0.017, 0.017))
    pose.part(grey, pose.oval(0, 0.36, 0.27, 0.085))
    _paint_helmet(pose, 0.0, 0.64, 0.33, random)


def _paint_helmet(
    pose: Pose, x: float, y: float, radius: float, random: np.random.Generator
) -> None:
    palette = pose.palette
    shell = pose.toned(from_hex("f6f4f8"), 0.1)
    pose.part(
        mix(shell, palette.near, 0.4),
        pose.oval(x - radius, y - radius * 0.1, radius * 0.16, radius * 0.32),
        pose.oval(x + radius, y - radius * 0.1, radius * 0.16, radius * 0.32),
    )
    pose.part(shell, pose.oval(x, y, radius, radius * 1.02))
    pose.flat(
        mix(shell, palette.near, 0.62), pose.oval(x, y - radius * 0.06, radius * 0.83, radius * 0.7)
    )
    visor = pose.canvas.patch([pose.oval(x, y - radius * 0.06, radius * 0.78, radius * 0.65)])
    height, width = visor.mask.shape
    # What stands before the astronaut, bent by the glass: sky, horizon, a sun.
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    along = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    bend = down - 0.24 * (1 - along**2) + 0.2
    above = np.clip((bend + 1) / 1.2, 0, 1)[..., None]
    sky = (
        mix(palette.near, palette.sky[1], 0.5) * (1 - above)
        + mix(palette.accent, palette.light, 0.25) * above**2.2
    )
    ground = mix(palette.near, palette.accent, 0.25) * np.clip(1.2 - bend, 0.3, 1)[..., None]
    land = np.clip((bend - 0.2) * height * 0.25, 0, 1)[..., None]
    pose.canvas.apply(visor, (sky * (1 - land) + ground * land).astype(np.float32))
    for _ in range(12):
        angle, away = random.uniform(0, 2 * np.pi), np.sqrt(random.random()) * 0.6
        star = (
            x + np.cos(angle) * away * radius,
            y + 0.14 * radius + abs(np.sin(angle)) * away * radius * 0.7,
        )
        pose.shine(float(star[0]), float(star[1]), radius * 0.012, white(), 0.8)
    pose.shine(x + radius * 0.26, y + radius * 0.2, radius * 0.16, palette.light, 0.9)
    arc = [
        (x - radius * 0.62, y - radius * 0.02),
        (x - radius * 0.52, y + radius * 0.28),
        (x - radius * 0.24, y + radius * 0.47),
    ]
    pose.flat(
        mix(palette.light, palette.accent, 0.15),
        pose.band(arc, (radius * 0.005, radius * 0.035, radius * 0.005)),
    )


def paint_wanderer(pose: Pose, coat: Color, random: np.random.Generator) -> None:
    """Draw a person seen from behind, in a coat, a scarf in the wind."""
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
    """Draw a head and shoulders without a face, half in the light."""
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
    """Draw a robot with a screen for a face."""
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


def paint_wizard(pose: Pose, robe: Color, random: np.random.Generator) -> None:
    """Draw an old wizard: bent hat, beard, deep eyes, a staff with a light."""
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
