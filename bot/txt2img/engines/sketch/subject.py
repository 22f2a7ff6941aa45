"""Place the subject in the picture and choose its size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bot.txt2img.engines.sketch import animals, flying_and_swimming, objects, people, plants
from bot.txt2img.engines.sketch.canvas import Canvas
from bot.txt2img.engines.sketch.color import Color, from_hex, mix
from bot.txt2img.engines.sketch.figure import Pose, white
from bot.txt2img.engines.sketch.land import fill_ridge
from bot.txt2img.engines.sketch.noise import fractal, profile
from bot.txt2img.engines.sketch.people import paint_wizard
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.scene import Scene
from bot.txt2img.engines.sketch.sky import LightSource

_SITTERS = frozenset({"fox", "cat", "wolf", "dog", "rabbit", "bear"})
_AFLOAT = frozenset(
    {"ship", "whale", "fish", "lighthouse", "birds", "balloon", "dragon", "rocket", "butterfly"}
)
_WALKERS = frozenset({"horse", "deer", "elephant", "beast"})


def paint_subject(
    canvas: Canvas, scene: Scene, dice: RandomStreams, horizon: float, lamp: LightSource
) -> None:
    """Paint ``scene.subject``, if there is one; without one, a flock now and then."""
    random = dice.stream("subject")
    name = scene.subject
    if not name:
        quiet = scene.place in {"sea", "mountains", "meadow", "desert"} and scene.hour != "night"
        if quiet and random.random() < 0.5:
            flying_and_swimming.paint_flock(
                canvas, random, scene.palette.near, int(random.integers(5, 13)), 0.05
            )
        return
    if name == "birds":
        flying_and_swimming.paint_flock(canvas, random, scene.palette.near, 9, 0.24)
        return
    if scene.place == "sea" and name not in _AFLOAT:
        _paint_rock(canvas, scene, dice)
    close = scene.place in {"portrait", "abstract"}
    floating = scene.place in {"space", "deep"}
    side = 0.5 if close else float(random.choice([0.3, 0.38, 0.5, 0.62, 0.7]))
    size = canvas.unit * (0.62 if close else random.uniform(0.3, 0.42))
    foot = canvas.height * (0.8 if close else 0.6 + 0.1 if floating else random.uniform(0.88, 0.93))
    facing = -1 if lamp.x < canvas.width * side else 1
    pose = Pose(canvas, scene.palette, lamp, canvas.width * side, foot, size, facing)
    _paint(pose, scene, dice, name, close, floating, horizon, random)


def _paint_rock(canvas: Canvas, scene: Scene, dice: RandomStreams) -> None:
    """Draw a shore at our feet for those who do not swim."""
    random = dice.stream("rock")
    line = profile(random, canvas.width, 1.7, 6, 0.45)
    heights = (canvas.height * 0.93 - canvas.unit * 0.11 * line).astype(np.float32)
    grain = fractal(dice.stream("stone"), canvas.shape, 12, 7, octaves=5, gain=0.6)
    shade = (0.7 + 0.6 * grain).astype(np.float32)
    palette = scene.palette
    crest = mix(mix(palette.near, palette.far, 0.4), palette.light, 0.12)
    fill_ridge(canvas, heights, crest, palette.near, canvas.unit * 0.16, shade)


def _paint(
    pose: Pose,
    scene: Scene,
    dice: RandomStreams,
    name: str,
    close: bool,
    floating: bool,
    horizon: float,
    random: np.random.Generator,
) -> None:
    _palette, canvas = scene.palette, pose.canvas
    unit = canvas.unit
    own = scene.fur_color
    if name in _SITTERS:
        animals.paint_sitter(replace(pose, size=pose.size * (1.12 if close else 1.0)), name, own)
    elif name in _WALKERS:
        animals.paint_walker(
            replace(pose, size=pose.size * (0.9 if close else 1.0)), name, own, random
        )
    elif name == "astronaut":
        _paint_astronaut(pose, close, floating, random)
    elif name == "wizard":
        robes = ("3b3f8f", "6b2f4f", "2f5a4a", "4a3a6b", "5a3a2a")
        robe = from_hex(str(random.choice(robes))) if own is None else own
        if close:
            paint_wizard(replace(pose, y=canvas.height * 0.8, size=unit * 0.52), robe, random)
        else:
            paint_wizard(replace(pose, y=canvas.height * 0.9, size=unit * 0.36), robe, random)
    elif name == "robot":
        place = (
            replace(pose, y=canvas.height * 0.76, size=unit * 0.56)
            if close
            else replace(pose, y=canvas.height * 0.88, size=unit * 0.4)
        )
        people.paint_robot(place, from_hex("9fb0bd") if own is None else own)
    elif name == "person":
        if close:
            people.paint_bust(replace(pose, y=canvas.height * 0.7, size=unit * 0.58), random)
        else:
            people.paint_wanderer(pose, from_hex("4a4f63") if own is None else own, random)
    else:
        _paint_thing(pose, scene, dice, name, close, floating, horizon, random)


def _paint_astronaut(pose: Pose, close: bool, floating: bool, random: np.random.Generator) -> None:
    canvas, unit = pose.canvas, pose.canvas.unit
    if close or (floating and random.random() < 0.45):
        people.paint_astronaut_bust(
            replace(pose, x=canvas.width / 2, y=canvas.height * 0.86, size=unit * 0.56), random
        )
    elif floating:
        size = unit * random.uniform(0.46, 0.62)
        turns = random.uniform(-0.09, 0.09)
        people.paint_astronaut(
            replace(pose, y=canvas.height * 0.5 + size * 0.5, size=size, turns=turns), random
        )
    else:
        pose.shadow(0.3)
        people.paint_astronaut(pose, random)


def _paint_thing(
    pose: Pose,
    scene: Scene,
    dice: RandomStreams,
    name: str,
    close: bool,
    floating: bool,
    horizon: float,
    random: np.random.Generator,
) -> None:
    palette, canvas, own = scene.palette, pose.canvas, scene.fur_color
    unit = canvas.unit
    accent: Color = palette.accent if own is None else own
    middle = canvas.height / 2
    match name:
        case "dragon":
            size = unit * (0.44 if close else random.uniform(0.34, 0.46))
            y = canvas.height * (0.72 if close else random.uniform(0.45, 0.6))
            flying_and_swimming.paint_dragon(
                replace(pose, x=canvas.width / 2, y=y, size=size),
                from_hex("5d8f5a") if own is None else own,
            )
        case "butterfly":
            size = unit * (0.62 if close else 0.3)
            flying_and_swimming.paint_butterfly(
                replace(pose, y=middle + size * 0.55, size=size, turns=random.uniform(-0.06, 0.06)),
                accent,
                random,
            )
        case "fish":
            for share in (0.35, 0.5, 1.0):
                x, y = (
                    random.uniform(0.25, 0.75) * canvas.width,
                    random.uniform(0.45, 0.75) * canvas.height,
                )
                flying_and_swimming.paint_fish(
                    replace(pose, x=x, y=y, size=unit * 0.34 * share),
                    mix(accent, palette.sky[2], 0.5 * (1 - share)),
                )
        case "whale":
            color = mix(from_hex("4c6a8a"), palette.far, 0.3) if own is None else own
            if floating:
                flying_and_swimming.paint_whale(
                    replace(
                        pose,
                        x=canvas.width / 2,
                        y=middle + unit * 0.25,
                        size=unit * 0.44,
                        turns=random.uniform(-0.04, 0.04),
                    ),
                    color,
                )
            else:
                flying_and_swimming.paint_whale(
                    replace(
                        pose,
                        x=canvas.width / 2,
                        y=horizon + unit * 0.2,
                        size=unit * 0.4,
                        turns=-0.06 * pose.facing,
                    ),
                    color,
                )
        case "tree":
            leaf = None
            if not {"snow", "fog"} & scene.weather or own is not None:
                leaf = mix(accent, palette.far, 0.35) if own is None else own
            if "petals" in scene.weather:
                leaf = from_hex("f2a9c2")
            foot = (pose.x, canvas.height * (0.86 if close else 0.9))
            plants.paint_tree(
                canvas,
                dice,
                palette,
                foot,
                unit * (0.74 if close else random.uniform(0.56, 0.72)),
                leaf,
            )
        case "flower":
            at = (
                (canvas.width / 2, canvas.height * 0.44)
                if close
                else (pose.x, canvas.height * 0.56)
            )
            plants.paint_flower(canvas, dice, palette, at, unit * (0.32 if close else 0.22), accent)
        case "mushroom":
            plants.paint_mushrooms(
                canvas,
                dice,
                palette,
                (pose.x, canvas.height * 0.93),
                pose.size,
                from_hex("c8372d") if own is None else own,
            )
        case "ship":
            y = (
                horizon + (canvas.height - horizon) * random.uniform(0.1, 0.4)
                if scene.place == "sea"
                else pose.y
            )
            objects.paint_ship(
                replace(pose, y=y, size=unit * (0.56 if close else random.uniform(0.24, 0.38))), own
            )
        case "house":
            objects.paint_house(
                replace(pose, size=unit * (0.5 if close else random.uniform(0.2, 0.28))), own
            )
        case "castle":
            y = canvas.height * (0.68 if close else random.uniform(0.6, 0.68))
            objects.paint_castle(
                replace(pose, y=y, size=unit * (0.52 if close else random.uniform(0.36, 0.46))),
                own,
                random,
            )
        case "lighthouse":
            objects.paint_lighthouse(
                replace(pose, y=max(horizon + unit * 0.05, canvas.height * 0.8), size=unit * 0.5),
                own,
            )
        case "rocket":
            objects.paint_rocket(
                replace(
                    pose,
                    y=middle + unit * 0.16,
                    size=unit * 0.46,
                    turns=random.uniform(-0.12, 0.12),
                ),
                own,
            )
        case "balloon":
            for share, x, y in ((0.4, 0.2, 0.42), (0.55, 0.8, 0.5), (1.0, 0.5, 0.6)):
                shift = random.normal(0, 0.04, 2)
                place = replace(
                    pose,
                    x=canvas.width * (x + shift[0]),
                    y=canvas.height * (y + shift[1]),
                    size=unit * 0.42 * share,
                )
                objects.paint_balloon(place, own if share == 1.0 else mix(accent, white(), 0.3))
