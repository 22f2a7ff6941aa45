"""What a member asked for: cleaned, bounded, and able to say itself again.

``Request.parse`` is the only way in for what people type; whatever it lets through can be shown,
stored and rendered. Out of range is refused, never bent. This module knows nothing of who pays,
when it is this request's turn, or what a workflow does with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from bot.domain.image_engine import UNKNOWN, Painter
from bot.domain.request_parsing import (
    FLAG_FIELDS,
    RawOption,
    fit_aspect,
    large_enough,
    only_model,
    parse_choice,
    parse_flags,
    parse_int,
    parse_model,
    parse_size,
    refuse_lookalikes,
    validate_negative_prompt,
    validate_prompt,
)
from bot.domain.text import normalize_text

__all__ = [
    "MAX_SEED",
    "Author",
    "ChannelRef",
    "Request",
    "RequestLimits",
    "RequestOptions",
    "SourceImage",
    "fit_aspect",
    "random_seed",
]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class JsonReader:
    """One JSON object; ``name`` says in errors what it was meant to be."""

    name: str
    data: Mapping[str, object]

    def text(self, key: str) -> str:
        """The string at ``key``."""
        return self._value(key, str)

    def number(self, key: str) -> int:
        """The integer at ``key``."""
        return self._value(key, int)

    def object(self, key: str) -> JsonReader:
        """The object at ``key``."""
        return JsonReader(f"{self.name}.{key}", self._value(key, dict))

    def _value(self, key: str, kind: type[Value]) -> Value:
        value = self.data.get(key)
        # Not isinstance: True is an int to Python, but it is no number of rows.
        if type(value) is not kind:
            raise ValueError(f"{self.name}: {key} is {value!r}, not of type {kind.__name__}")
        return value


MAX_SEED = 2**32 - 1
"""The largest seed that txt2img.py takes; every row's seed stays at or below it."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks: a snowflake and the name they go by; ``(0, "operator")`` on the command line."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """Where they ask; ``guild_id`` is 0 in a direct message and on the command line."""

    guild_id: int = 0
    channel_id: int = 0


@dataclass(frozen=True, slots=True)
class SourceImage:
    """The one picture of an earlier job that this request upscales; numbers count from 1."""

    job_id: str
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What this bot allows and what it assumes when nothing is said (``[imagine]``).

    ``width`` and ``height`` in pixels fix the default shape and, by their product, the area that
    an aspect ratio is fitted to; ``max_pixels`` bounds width × height of one picture;
    ``max_prompt`` counts characters. ``styles`` maps a name to words that are added to the prompt.
    ``painter`` is what paints, which has limits of its own.
    """

    rows: int = 4
    samples: int = 3
    width: int = 768
    height: int = 768
    steps: int = 50
    model: str = "sd-2-1"
    max_rows: int = 8
    max_samples: int = 4
    max_steps: int = 150
    max_pixels: int = 1024 * 1024
    max_prompt: int = 1000
    models: tuple[str, ...] = ("sd-2-1", "wd-1-4")
    styles: Mapping[str, str] = field(default_factory=dict)
    negative: bool = True
    painter: Painter = UNKNOWN


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What was filled in beside the prompt; None means not filled in. Options win over flags."""

    negative: str | None = None
    aspect: str | None = None
    rows: int | None = None
    samples: int | None = None
    steps: int | None = None
    seed: int | None = None
    model: str | None = None
    style: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One grid of ``rows`` × ``samples`` pictures, each ``width`` × ``height`` pixels.

    ``model`` is empty where there was none to choose.
    """

    prompt: str
    seed: int
    steps: int
    width: int
    height: int
    rows: int
    samples: int
    model: str
    author: Author
    place: ChannelRef
    negative: str = ""
    style: str = ""
    origin: SourceImage | None = None

    @classmethod
    def parse(
        cls,
        text: str,
        options: RequestOptions,
        *,
        limits: RequestLimits,
        seed: int,
        author: Author,
        place: ChannelRef,
        typed: bool = True,
    ) -> Request:
        """The request that ``text``, the flags in it, and ``options`` ask for.

        Options win over flags, and a setting that is overruled is not looked at. ``seed`` is the
        random one, used when the member names none. ``typed``: somebody wrote it just now, so what
        looks like a flag is asked about. Raises InvalidRequest.
        """
        phrases = {
            "model": tuple(dict.fromkeys((*limits.models, limits.model))),
            "style": tuple(limits.styles),
        }
        prompt, said = parse_flags(normalize_text(text), phrases, typed=typed)
        said.update(_filled_in(options))
        if typed and options.negative is not None:
            refuse_lookalikes(said["negative"].value.split(), phrases)

        def number(slot: str, default: int, low: int, high: int) -> int:
            return parse_int(said[slot], low, high) if slot in said else default

        prompt = validate_prompt(prompt, limits.max_prompt)
        negative = said.get("negative", _NOTHING)
        style = said.get("style", _NOTHING)
        size, painter = (limits.width, limits.height), limits.painter
        if "shape" in said:
            size = parse_size(said["shape"], size, limits.max_pixels, painter.min_pixels)
        else:
            # The operator's own default may be above the limit, but not too small to be painted.
            most = max(limits.max_pixels, size[0] * size[1])
            large_enough("", size, most, painter.min_pixels)
        rows = number("rows", limits.rows, 1, limits.max_rows)
        return cls(
            prompt=prompt,
            seed=number("seed", _wrap_seed(seed, rows), 0, MAX_SEED - (rows - 1)),
            steps=number("steps", limits.steps, 1, limits.max_steps),
            width=size[0],
            height=size[1],
            rows=rows,
            samples=number("samples", limits.samples, 1, limits.max_samples),
            model=_model(said.get("model"), limits),
            author=author,
            place=place,
            negative=validate_negative_prompt(
                negative,
                limits.max_prompt,
                taken=limits.negative,
                idle_with="" if painter.negative else painter.show(limits.model),
            ),
            style=parse_choice(style, limits.styles, kind="styles") if style.value else "",
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Request:
        """The request that ``to_dict`` wrote; not checked against limits, which may have changed.

        Raises ValueError, naming the key, for anything that ``to_dict`` does not write.
        """
        stored = JsonReader("request", data)
        author, place = stored.object("author"), stored.object("place")
        origin = None
        if data.get("origin") is not None:
            part = stored.object("origin")
            origin = SourceImage(part.text("job_id"), part.number("row"), part.number("column"))
        request = cls(
            prompt=stored.text("prompt"),
            seed=stored.number("seed"),
            steps=stored.number("steps"),
            width=stored.number("width"),
            height=stored.number("height"),
            rows=stored.number("rows"),
            samples=stored.number("samples"),
            model=stored.text("model"),
            author=Author(author.number("id"), author.text("name")),
            place=ChannelRef(place.number("guild_id"), place.number("channel_id")),
            negative=stored.text("negative"),
            style=stored.text("style"),
            origin=origin,
        )
        # Nothing may be lost in silence, such as a field that only a newer version knows.
        if request.to_dict() != data:
            raise ValueError(f"request: there is more in it than a request holds: {sorted(data)}")
        return request

    @property
    def images(self) -> int:
        """How many pictures this makes, which is what quota counts."""
        return self.rows * self.samples

    def row_seed(self, row: int) -> int:
        """The seed of ``row`` (from 1): consecutive from the request's own."""
        return self.seed + row - 1

    def to_dict(self) -> dict[str, object]:
        """Everything, as JSON can hold it."""
        return asdict(self)

    def to_prompt(self) -> str:
        """The prompt and every setting as flags; parsing it under the same limits gives this back.

        Who asks and where is not in it, nor is ``origin``: nobody may type their way to an
        upscale of somebody else's picture.
        """
        parts = [
            self.prompt,
            f"--size {self.width}x{self.height}",
            f"--rows {self.rows}",
            f"--samples {self.samples}",
            f"--steps {self.steps}",
            f"--seed {self.seed}",
        ]
        if self.model:
            parts.append(f"--model {self.model}")
        if self.style:
            parts.append(f"--style {self.style}")
        if self.negative:
            parts.append(f"--no {self.negative}")
        return " ".join(parts)

    def styled_prompt(self, styles: Mapping[str, str]) -> str:
        """What the painter is told: the prompt, and the words of the style if it still exists."""
        words = normalize_text(styles.get(self.style, "")) if self.style else ""
        return f"{self.prompt}, {words}" if words else self.prompt

    def painted_by(self, painter: Painter) -> Request:
        """Return the same request for ``painter``: without a model where there is none to choose.

        An older request may name one that never made a difference.
        """
        return self if painter.selects_model else replace(self, model="")

    def reroll(self, seed: int) -> Request:
        """The same grid from another random seed; a grid of its own, so without an origin."""
        return replace(self, seed=_wrap_seed(seed, self.rows), origin=None)

    def upscale_of(self, job_id: str, row: int, column: int) -> Request:
        """The request for one picture of this grid, made by the job ``job_id``; counts from 1.

        Raises InvalidRequest outside the grid.
        """
        row = parse_int(RawOption("row", str(row)), 1, self.rows)
        column = parse_int(RawOption("column", str(column)), 1, self.samples)
        origin = SourceImage(job_id, row, column)
        return replace(self, seed=self.row_seed(row), rows=1, samples=1, origin=origin)


def spelled(text: str, options: Mapping[str, object]) -> str:
    """Return ``text`` followed by ``options``, by name of the option, written as flags."""
    flags = {"aspect": "ar", "negative": "no"}
    said = [
        f"--{flags.get(name, name)} {value}"
        for name, value in options.items()
        if f"{value}".strip()
    ]
    return " ".join([text, *said])


def random_seed(entropy: bytes) -> int:
    """A seed from 4 random bytes, small enough that 64 rows can count up from it."""
    if len(entropy) != 4:
        raise ValueError("four bytes of entropy make a seed")
    return _wrap_seed(int.from_bytes(entropy, "big"), 64)


def _wrap_seed(seed: int, rows: int) -> int:
    """A random seed with room for ``rows`` consecutive ones; any number is as random as another."""
    return seed % (MAX_SEED - rows + 2)


def _filled_in(options: RequestOptions) -> dict[str, RawOption]:
    """The options as settings, by the slot of the flag that says the same."""
    filled = {
        "negative": options.negative,
        "aspect": options.aspect,
        "rows": options.rows,
        "samples": options.samples,
        "steps": options.steps,
        "seed": options.seed,
        "model": options.model,
        "style": options.style,
    }
    return {
        FLAG_FIELDS.get(name, name): RawOption(name, normalize_text(str(value)))
        for name, value in filled.items()
        if value is not None
    }


def _model(setting: RawOption | None, limits: RequestLimits) -> str:
    if not limits.painter.selects_model:
        return only_model(setting, limits.painter, limits.model) if setting else ""
    # What the operator made the default may be named even if the list forgets it.
    if setting is None or setting.value == normalize_text(limits.model):
        return limits.model
    if not limits.models:
        return parse_model(setting)
    return parse_choice(setting, (*limits.models, limits.model), kind="models")


_NOTHING = RawOption("", "")
