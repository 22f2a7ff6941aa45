"""Draw animals: sitting and seen from the front, or standing in profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot.txt2img.engines.sketch.canvas import Points
from bot.txt2img.engines.sketch.color import Color, from_hex, mix
from bot.txt2img.engines.sketch.figure import Place, Pose, white


@dataclass(frozen=True, slots=True)
class _Sitter:
    pelt: str
    ears: str
    cheek: float
    muzzle: float
    tail: str
    pale: bool


_SITTERS = {
    "fox": _Sitter("e0702c", "tall", 0.235, 0.1, "bushy", True),
    "wolf": _Sitter("7d8593", "tall", 0.215, 0.12, "bushy", True),
    "cat": _Sitter("4a4250", "short", 0.19, 0.065, "thin", False),
    "dog": _Sitter("c08a54", "flop", 0.18, 0.13, "thin", True),
    "rabbit": _Sitter("cfc3b6", "long", 0.17, 0.08, "none", True),
    "bear": _Sitter("6b4a35", "round", 0.21, 0.12, "none", False),
}

_EARS: dict[str, tuple[Place, ...]] = {
    "tall": ((0.05, 0.8), (0.14, 1.02), (0.185, 0.68)),
    "short": ((0.04, 0.79), (0.135, 0.93), (0.17, 0.69)),
    "round": ((0.08, 0.78), (0.1, 0.87), (0.17, 0.88), (0.19, 0.78), (0.14, 0.7)),
    "long": ((0.03, 0.78), (0.04, 1.1), (0.1, 1.22), (0.13, 1.05), (0.1, 0.76)),
    "flop": ((0.1, 0.8), (0.2, 0.77), (0.225, 0.6), (0.19, 0.52), (0.14, 0.62)),
}


def paint_sitter(pose: Pose, name: str, pelt: Color | None) -> None:
    """Draw a fox, wolf, cat, dog, rabbit or bear, seen from the front."""
    kind = _SITTERS[name]
    coat = pose.toned(from_hex(kind.pelt) if pelt is None else pelt)
    pale = pose.toned(white())
    dark = mix(coat, pose.palette.near, 0.75)
    pose.shadow(0.34)
    if kind.tail == "bushy":
        line = [(0.1, 0.06), (0.3, 0.04), (0.43, 0.16), (0.41, 0.33), (0.33, 0.43)]
        pose.part(coat, pose.band(line, (0.04, 0.075, 0.09, 0.075, 0.0)))
        pose.part(pale, pose.band(line[-3:], (0.035, 0.083, 0.06, 0.0)), depth=0.15)
    elif kind.tail == "thin":
        line = [(0.1, 0.05), (0.27, 0.03), (0.36, 0.12), (0.33, 0.26), (0.4, 0.34)]
        pose.part(coat, pose.band(line, (0.035, 0.033, 0.03, 0.026, 0.018)))
    stout = 1.25 if name == "bear" else 1.0
    body = pose.twin(
        (0, 0.56),
        (0.11 * stout, 0.48),
        (0.17 * stout, 0.3),
        (0.21 * stout, 0.12),
        (0.18, 0.0),
        (0, 0.0),
    )
    pose.part(coat, body)
    if kind.pale:
        pose.part(pale, pose.twin((0, 0.52), (0.075, 0.44), (0.07, 0.3), (0.0, 0.17)), depth=0.2)
    for side in (-1, 1):
        leg = pose.limb((side * 0.055, 0.26), (side * 0.06, 0.035), 0.045, 0.04)
        pose.part(coat if name != "fox" else mix(coat, dark, 0.35), leg)
    _paint_head(pose, kind, coat, pale, dark)


def _paint_head(pose: Pose, kind: _Sitter, coat: Color, pale: Color, dark: Color) -> None:
    shape = _EARS[kind.ears]
    middle = np.mean(np.asarray(shape), 0)
    inner = np.asarray(shape) * 0.58 + middle * 0.42 - (0, 0.012)
    pointed = kind.ears in {"tall", "short"}

    def draw_ears() -> None:
        for side in (-1, 1):
            outer = [(side * x, y) for x, y in shape]
            lining = [(side * float(x), float(y)) for x, y in inner]
            pose.part(coat, pose.sharp(*outer) if pointed else pose.curve(*outer))
            tone = mix(coat, dark, 0.6) if pointed else mix(coat, pale, 0.4)
            pose.flat(tone, pose.sharp(*lining) if pointed else pose.curve(*lining))

    if kind.ears != "flop":
        draw_ears()
    cheek, muzzle = kind.cheek, kind.muzzle
    chin = 0.44 if pointed else 0.46
    head = pose.twin(
        (0, chin),
        (muzzle * 0.62, chin + 0.03),
        (cheek * 0.72, chin + 0.1),
        (cheek, chin + 0.17),
        (cheek * 0.84, 0.72),
        (cheek * 0.5, 0.8),
        (0, 0.815),
    )
    pose.part(coat, head)
    if kind.pale:
        for side in (-1, 1):
            mask = [
                (0.0, chin + 0.012),
                (side * muzzle * 0.6, chin + 0.04),
                (side * cheek * 0.7, chin + 0.11),
                (side * cheek * 0.88, chin + 0.165),
                (side * cheek * 0.5, chin + 0.18),
                (side * 0.02, chin + 0.13),
            ]
            pose.flat(mix(pale, coat, 0.06), pose.curve(*mask))
    else:
        pose.flat(
            mix(coat, pale, 0.3),
            pose.twin(
                (0, chin + 0.012),
                (muzzle * 0.55, chin + 0.045),
                (muzzle * 0.4, chin + 0.11),
                (0, chin + 0.125),
            ),
        )
    if kind.ears == "flop":
        draw_ears()
    nose = chin + (0.035 if pointed else 0.07)
    pose.flat(
        from_hex("15121a"),
        pose.twin(
            (0, nose - 0.024), (0.026, nose + 0.004), (0.018, nose + 0.018), (0, nose + 0.02)
        ),
    )
    eyes = (
        mix(pose.palette.accent, from_hex("ffd76a"), 0.6)
        if kind.ears == "short"
        else from_hex("17131b")
    )
    for side in (-1, 1):
        x, y = side * cheek * 0.42, chin + 0.205
        pose.flat(eyes, pose.oval(x, y, 0.021, 0.024))
        pose.flat(from_hex("0c0a10"), pose.oval(x, y, 0.009, 0.021))
        pose.flat(white(), pose.oval(x + 0.007, y + 0.009, 0.0055, 0.0055))


@dataclass(frozen=True, slots=True)
class _Build:
    pelt: str
    torso: float
    neck: Place
    head: Place
    leg: float
    horns: str


_BUILDS = {
    "horse": _Build("7a4a30", 0.15, (0.52, 0.98), (0.7, 0.86), 0.05, "mane"),
    "deer": _Build("a86f45", 0.125, (0.46, 0.95), (0.62, 0.88), 0.036, "antlers"),
    "elephant": _Build("7f7d88", 0.25, (0.44, 0.8), (0.5, 0.74), 0.085, "trunk"),
    "beast": _Build("b07a45", 0.19, (0.48, 0.78), (0.62, 0.7), 0.065, "mane"),
}


def paint_walker(pose: Pose, name: str, pelt: Color | None, random: np.random.Generator) -> None:
    """Draw a horse, deer, elephant or other beast, walking."""
    build = _BUILDS[name]
    coat = pose.toned(from_hex(build.pelt) if pelt is None else pelt, 0.3)
    far = mix(coat, pose.palette.near, 0.45)
    back = 0.62
    pose.shadow(0.5)
    for x, swing in ((-0.25, 0.09), (0.32, -0.07)):
        pose.part(far, *_leg(pose, x, swing, back, build.leg))
    tail = [(-0.42, back + 0.08), (-0.53, back - 0.02), (-0.52, back - 0.26)]
    if name == "deer":
        tail = [(-0.4, back + 0.07), (-0.47, back + 0.06), (-0.49, back - 0.04)]
    pose.part(far, pose.band(tail, (0.02, 0.03, 0.008)))
    belly = build.torso * 0.97
    pose.part(
        coat,
        *_leg(pose, -0.32, -0.06, back, build.leg),
        *_leg(pose, 0.26, 0.06, back, build.leg),
        pose.limb((-0.3, back), (0.28, back + 0.01), build.torso, belly),
        pose.oval(-0.28, back + 0.02, build.torso * 1.2, build.torso * 1.12),
        pose.oval(0.27, back + 0.01, build.torso * 1.1, build.torso * 1.2),
        pose.limb((0.26, back + 0.06), build.neck, build.torso * 0.78, build.torso * 0.46),
    )
    neck, head = build.neck, build.head
    thick = build.torso * 0.5
    if build.horns == "antlers":
        for side in (0.0, 0.05):
            _antler(
                pose,
                mix(mix(pose.palette.light, coat, 0.5), pose.palette.near, 0.25),
                (neck[0] + side, neck[1] + 0.05),
                random,
            )
    pose.part(coat, pose.limb(neck, head, thick, thick * 0.55))
    ear = pose.sharp(
        (neck[0] - 0.05, neck[1] + 0.02),
        (neck[0] - 0.05, neck[1] + 0.13),
        (neck[0] + 0.03, neck[1] + 0.05),
    )
    if build.horns == "trunk":
        line = [
            (head[0] + 0.06, head[1] - 0.02),
            (head[0] + 0.17, head[1] - 0.2),
            (head[0] + 0.14, 0.28),
            (head[0] + 0.22, 0.2),
        ]
        pose.part(coat, pose.oval(*neck, 0.17, 0.18), pose.band(line, (0.085, 0.055, 0.04, 0.028)))
        pose.part(
            mix(coat, far, 0.4),
            pose.curve((0.4, 0.92), (0.24, 0.95), (0.19, 0.72), (0.28, 0.55), (0.41, 0.66)),
        )
        pose.flat(
            pose.toned(white()),
            pose.band([(0.55, 0.62), (0.66, 0.52), (0.75, 0.55)], (0.022, 0.016, 0.003)),
        )
    elif build.horns == "mane":
        pose.part(coat, ear)
        mane = [
            (neck[0] + 0.02, neck[1] + 0.07),
            (neck[0] - 0.1, neck[1] - 0.02),
            (0.3, 0.84),
            (0.2, 0.74),
        ]
        pose.part(far, pose.band(mane, (0.012, 0.05, 0.055, 0.01)))
    else:
        pose.part(coat, ear)
    eye = (neck[0] * 0.62 + head[0] * 0.38, neck[1] * 0.62 + head[1] * 0.38 + thick * 0.25)
    pose.flat(from_hex("14101a"), pose.oval(*eye, 0.011, 0.011))


def _leg(pose: Pose, x: float, swing: float, back: float, thick: float) -> tuple[Points, Points]:
    knee, foot = (x + swing * 0.5, back * 0.46), (x + swing, 0.02)
    upper = pose.limb((x, back - 0.06), knee, thick * 1.7, thick * 0.85)
    return upper, pose.limb(knee, foot, thick * 0.8, thick * 0.62)


def _antler(pose: Pose, color: Color, root: Place, random: np.random.Generator) -> None:
    x, y = root
    beam = [(x, y), (x - 0.1, y + 0.12), (x - 0.06, y + 0.28), (x + 0.04, y + 0.38)]
    parts = [pose.band(beam, (0.014, 0.012, 0.009, 0.003))]
    for start, reach in (
        ((x - 0.07, y + 0.08), 0.14),
        ((x - 0.09, y + 0.17), 0.15),
        ((x - 0.05, y + 0.29), 0.11),
    ):
        lean = random.uniform(0.6, 0.9)
        tip = (start[0] + reach * lean, start[1] + reach)
        parts.append(
            pose.band(
                [start, ((start[0] + tip[0]) / 2 + 0.02, (start[1] + tip[1]) / 2 - 0.015), tip],
                (0.01, 0.008, 0.002),
            )
        )
    pose.part(color, *parts, depth=0.2)
