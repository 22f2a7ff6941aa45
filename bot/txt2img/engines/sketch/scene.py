"""Turn a prompt into a scene: place, hour, weather and subject.

What the prompt does not say is chosen at random for each picture of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bot.txt2img.engines.sketch.color import Color, from_hex
from bot.txt2img.engines.sketch.palette import Palette, composed, grown, tinted, variants, varied
from bot.txt2img.engines.sketch.random_streams import RandomStreams
from bot.txt2img.engines.sketch.vocabulary import Meaning, meanings, words


@dataclass(frozen=True, slots=True)
class Scene:
    """What to draw. ``place`` is one of the vocabulary's or ``abstract``; ``subject`` may be empty.

    ``fur_color`` is the subject's own colour, if the prompt gives one.
    """

    place: str
    hour: str
    weather: frozenset[str]
    subject: str
    fur_color: Color | None
    styles: frozenset[str]
    palette: Palette


_HOME = {
    "astronaut": ("space", "space", "desert"),
    "rocket": ("space", "space", "mountains"),
    "fish": ("deep",),
    "whale": ("deep", "sea"),
    "ship": ("sea",),
    "lighthouse": ("sea",),
    "wizard": ("portrait", "portrait", "mountains", "forest"),
    "robot": ("portrait", "city"),
    "flower": ("portrait", "meadow"),
    "butterfly": ("portrait", "meadow"),
    "cat": ("portrait", "meadow", "city"),
    "dragon": ("mountains", "portrait"),
    "castle": ("mountains", "meadow"),
    "deer": ("forest", "meadow"),
    "wolf": ("forest", "mountains"),
    "fox": ("forest", "meadow"),
    "bear": ("forest", "mountains"),
    "mushroom": ("forest",),
    "elephant": ("meadow", "desert"),
}
"""Where subjects live when the prompt does not say."""

_HOURS = {
    "sea": ("sunset", "dusk", "dawn", "day"),
    "forest": ("dawn", "leaf", "sunset", "dusk"),
    "mountains": ("dawn", "sunset", "dusk", "day"),
    "city": ("dusk", "sunset", "night", "dawn"),
    "desert": ("desert", "sunset", "dusk", "dawn"),
    "meadow": ("day", "sunset", "dawn", "dusk"),
}
_WEATHER_PALETTES = ("embers", "storm", "fog", "snow")
_SEASONS = {"leaves": "autumn", "petals": "spring"}


@dataclass(frozen=True, slots=True)
class _Reading:
    """The meanings found in a prompt, in order, and the colour before the subject."""

    senses: tuple[Meaning, ...]
    pelt: str | None
    unknown: bool

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sense.name for sense in self.senses if sense.kind == kind))


def read(prompt: str, negative: str, dice: RandomStreams) -> Scene:
    """One view of ``prompt``; what ``negative`` names is left out."""
    unwanted = frozenset(sense for word in words(negative) for sense in meanings(word))
    found = _reading(prompt, unwanted)
    random = dice.stream("scene")
    subjects = found.names("subject")
    subject = subjects[0] if subjects else ""
    places = found.names("place")
    if len(places) > 1 and "portrait" in places and subject:
        places = ("portrait",)
    if not places:
        places = _implied(found, subject)
    place = str(places[0] if random.random() < 0.6 else random.choice(places))
    weather = set(found.names("weather"))
    hours = found.names("hour") or _hours(place, weather)
    hour = str(random.choice(hours))
    palette = _palette(found, place, hour, weather, prompt, dice)
    return Scene(
        place=place,
        hour=hour,
        weather=frozenset(weather),
        subject=subject,
        fur_color=None if found.pelt is None else from_hex(found.pelt),
        styles=frozenset(found.names("style")),
        palette=palette,
    )


def _reading(prompt: str, unwanted: frozenset[Meaning]) -> _Reading:
    senses: list[Meaning] = []
    pelt = None
    colour: str | None = None
    for group in _wanted(prompt, unwanted):
        kinds = {sense.kind: sense for sense in group}
        if colour and "subject" in kinds and pelt is None:
            pelt = colour
        elif colour:
            senses.append(Meaning("colour", colour))
        colour = kinds["colour"].name if "colour" in kinds else None
        senses.extend(sense for sense in group if sense.kind != "colour")
    if colour:
        senses.append(Meaning("colour", colour))
    return _Reading(tuple(senses), pelt, unknown=not senses and pelt is None)


def _wanted(prompt: str, unwanted: frozenset[Meaning]) -> Iterator[tuple[Meaning, ...]]:
    for word in words(prompt):
        yield tuple(sense for sense in meanings(word) if sense not in unwanted)


def _implied(found: _Reading, subject: str) -> tuple[str, ...]:
    if subject:
        return _HOME.get(subject, ("meadow", "mountains", "sea"))
    if found.names("weather") or found.names("hour"):
        return ("mountains", "meadow", "sea", "forest")
    if "synthwave" in found.names("style"):
        return ("city",)
    return ("abstract",)


def _hours(place: str, weather: set[str]) -> tuple[str, ...]:
    if weather & {"aurora", "stars", "fireflies"}:
        return ("night", "dusk")
    return _HOURS.get(place, ("dusk", "night", "dawn"))


def _palette(
    found: _Reading, place: str, hour: str, weather: set[str], prompt: str, dice: RandomStreams
) -> Palette:
    random = dice.stream("palette")
    names = _palette_names(found, place, hour, weather)
    colours = found.names("colour")
    if names:
        palette = composed(str(random.choice(names)))
        palette = varied(palette, random.uniform(-0.025, 0.025), random.uniform(0.92, 1.1))
    else:
        # Unknown words still have a colour of their own, and it stays with them.
        own = RandomStreams("hue", sorted(words(prompt))).stream("hue").random()
        palette = grown(own + random.uniform(-0.06, 0.06), random)
    if colours:
        palette = tinted(palette, from_hex(str(random.choice(colours))), 0.55)
    return palette


def _palette_names(found: _Reading, place: str, hour: str, weather: set[str]) -> tuple[str, ...]:
    night = hour == "night"
    styles = found.names("style")
    if "neon" in styles or "synthwave" in styles:
        return variants("neon")
    if place in {"space", "deep"}:
        return variants(place)
    if place == "abstract":
        return ()
    if place == "portrait":
        return (*variants("studio"), *variants("dusk"), *variants("night"))
    for name in _WEATHER_PALETTES:
        if name in weather and not (night and name in {"fog", "snow"}):
            return variants(name)
    for sign, name in _SEASONS.items():
        if sign in weather and not found.names("hour"):
            return variants(name)
    if place == "city" and "rain" in weather and night:
        return (*variants("neon"), *variants("night"))
    return variants(hour)
