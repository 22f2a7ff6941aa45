"""Astronauts, from head to foot or close by, and what their visors mirror."""

from __future__ import annotations

import numpy as np

from bot.painter.art.color import from_hex, mix
from bot.painter.art.pose import Pose, white


def paint_astronaut(pose: Pose, random: np.random.Generator) -> None:
    """An astronaut from head to foot, limbs drifting."""
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
    """An astronaut close by: helmet and shoulders."""
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
