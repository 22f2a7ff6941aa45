"""Define colour schemes: sky from zenith to horizon, light, and land from far to near.

Some are fixed, for hours and places; the others are computed from a hue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bot.txt2img.engines.sketch.color import Color, from_hex, from_hue, mix, tint, to_oklab, turn


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a scene: ``sky`` from zenith to horizon, ``light``, ``far`` and ``near`` land."""

    sky: tuple[Color, ...]
    light: Color
    far: Color
    near: Color
    accent: Color

    @property
    def horizon(self) -> Color:
        """The last colour of the sky, into which distance fades."""
        return self.sky[-1]

    @property
    def dark(self) -> bool:
        """Whether stars would be seen in this sky."""
        return float(to_oklab(self.sky[0])[0]) < 0.36

    def land(self, nearness: float) -> Color:
        """Return the colour of land, 0 at the horizon and 1 at our feet."""
        return mix(self.far, self.near, nearness)


_COMPOSED: dict[str, tuple[str, str, str, str, str]] = {
    "dawn": ("35497d 7f86b5 d9a5b4 f6c9a8 ffe6c0", "fff0d0", "a795b8", "262544", "ff8f70"),
    "dawn rose": ("54639b a695c4 eeb3bd ffd3b8 fff0d4", "fff6e0", "c3a3bb", "33304f", "f2766b"),
    "day": ("2a76b8 5fa8d8 a5d4ea e8f0e6", "fffbe8", "93bccb", "17413f", "f2b134"),
    "day haze": ("4b8fb8 8fc1d2 cfe3dc f8efd4", "fffbe8", "a9c6bd", "22463a", "ef8e3b"),
    "sunset": ("231c4d 6a2f74 c9485f f68a4d ffcf78", "fff2be", "a9486d", "190d2c", "ff5e3a"),
    "sunset gold": ("3b3a68 8d5a7c d9836a f9b55f ffe29a", "fff6cc", "b9715f", "2a1526", "ff7a3c"),
    "dusk": ("131a3d 34326c 7b4e90 cd7d92 f4b6a2", "ffe3c8", "6c5a90", "100e24", "ff9f80"),
    "dusk teal": ("0e2438 1f4a60 4f8290 d2a389 f7cda0", "ffe6c0", "5c7d8c", "0b1620", "ffa36b"),
    "night": ("040716 0b1533 1a2f5e 385a8e", "eaf1ff", "2b4572", "040812", "ffcf78"),
    "night jade": ("03100f 082422 0f4440 2d7a6c", "f0fff4", "1f5750", "030c0b", "ffd98a"),
    "space violet": ("040312 140b33 3d1a6e a13d92 ff9f8a", "ffe9ff", "5b2a86", "06040f", "55d8ff"),
    "space teal": ("02060f 06203a 0d5266 3fa59a f5dca0", "f2fff8", "1b5f78", "030810", "ff8a5c"),
    "space ember": ("070308 2a0c1c 6d1f2c d0613a ffd892", "fff1dc", "7a2b2f", "0a0408", "7fd6ff"),
    "space blue": ("02030e 0a1440 2340a0 6f86e8 f3c6e8", "f5f2ff", "2a3f94", "03040f", "ffc46b"),
    "fog": ("8b999f abb7b8 cdd2cd ebe8dc", "fffaf0", "bac3c0", "2d3b40", "d28a4d"),
    "fog blue": ("76899b 9db0bd c6d2d6 e9ebe6", "ffffff", "afbfc7", "26333f", "d9805a"),
    "snow": ("5f84ad 98b6d4 cfdeeb f6f1ee", "fffdf6", "a7bed6", "263850", "d8572a"),
    "snow rose": ("6c7fae a8b1d3 dfd3e2 fbe6df", "fff8f0", "b5b9d6", "2c3355", "d8573a"),
    "storm": ("0f141d 27323f 475862 7f8f8e", "dcecff", "465761", "0a0d13", "ffe27a"),
    "neon": ("05031a 180a40 471275 a81f86 ff6a9c", "86f4ff", "3a1a6e", "05030e", "19e3ff"),
    "neon teal": ("020814 06233f 0b5a72 17a3a0 8ff0cf", "ffd1f4", "0c4460", "02070d", "ff4fa3"),
    "embers": ("120406 3b0b0d 8e1f10 e0541c ffb54a", "fff0c0", "6a1a12", "0c0305", "ffd24a"),
    "autumn": ("566a8a a9a3a3 e6c59c ffe2b2", "fff2d0", "bd8a62", "35180f", "d9481c"),
    "spring": ("74b3d6 b8dfe6 f3e3ea ffeae2", "fffaf0", "b3cdb8", "2b5343", "f2779f"),
    "desert": ("2c6a9c 7db0c2 f0d6a8 f8c58c", "fff6dc", "dd9f70", "6a2c22", "c2452d"),
    "desert rose": ("4d3b6e 9d6484 e39a85 fbcf9f", "fff2d6", "c47f74", "4c1c2a", "ff7a4c"),
    "leaf": ("2a5848 6a9b74 c2d69e f4f2c4", "fffbd6", "88aa84", "0b2620", "f4b942"),
    "deep": ("9df0e0 37b3c4 12709c 083a66 041a38", "eafff8", "145f88", "03142c", "ff8f6b"),
    "studio": ("141019 2c1f33 54344a 8c5550", "ffe6bf", "5c3a4c", "0e0a12", "f0a04b"),
    "studio teal": ("07151a 0f2d33 1f5457 6f8d7a", "fff0cf", "27565a", "061013", "f2a65a"),
}


def composed(name: str) -> Palette:
    """Return the palette called ``name``; raises KeyError."""
    sky, light, far, near, accent = _COMPOSED[name]
    return Palette(
        tuple(from_hex(color) for color in sky.split()),
        from_hex(light),
        from_hex(far),
        from_hex(near),
        from_hex(accent),
    )


def variants(name: str) -> tuple[str, ...]:
    """Every palette whose name begins with ``name``, the plain one first."""
    return tuple(key for key in _COMPOSED if key == name or key.startswith(f"{name} "))


def grown(hue: float, random: np.random.Generator) -> Palette:
    """Return a palette around ``hue`` (in turns): neighbours in the sky, the opposite as accent."""
    spread = random.choice([-0.22, -0.14, 0.14, 0.22])
    dark = random.random() < 0.6
    lightness = (0.2, 0.36, 0.56, 0.74, 0.9) if dark else (0.5, 0.64, 0.77, 0.87, 0.95)
    chroma = (0.07, 0.11, 0.14, 0.12, 0.07) if dark else (0.1, 0.1, 0.09, 0.07, 0.04)
    sky = tuple(
        from_hue(light, vivid, hue + spread * at / 4)
        for at, (light, vivid) in enumerate(zip(lightness, chroma, strict=True))
    )
    return Palette(
        sky,
        from_hue(0.97, 0.03, hue + spread),
        from_hue(0.55, 0.09, hue + spread * 0.5),
        from_hue(0.17, 0.05, hue - spread * 0.3),
        from_hue(0.72, 0.17, hue + 0.5),
    )


def tinted(palette: Palette, pigment: Color, share: float) -> Palette:
    """``palette`` drawn towards ``pigment``, which becomes its accent."""
    return Palette(
        tuple(tint(color, pigment, share) for color in palette.sky),
        tint(palette.light, pigment, share * 0.4),
        tint(palette.far, pigment, share),
        tint(palette.near, pigment, share),
        pigment,
    )


def varied(palette: Palette, turns: float, vividness: float) -> Palette:
    """``palette`` with all hues turned a little and more or less colour."""
    return replace(
        palette,
        sky=tuple(turn(color, turns, vividness) for color in palette.sky),
        far=turn(palette.far, turns, vividness),
        near=turn(palette.near, turns, vividness),
    )
