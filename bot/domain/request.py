"""Request: the validated values of one grid, its JSON form and its prompt with flags.

``Request.parse`` is the only entry for typed text. Values out of range are refused, never adjusted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from bot.domain.errors import InvalidRequest
from bot.domain.image_engine import SCRIPT, healed_steps
from bot.domain.image_size import fit_aspect
from bot.domain.init_image import InitImage, parse_strength, validate_steps
from bot.domain.prompt_tags import strip_prompt, strip_tags
from bot.domain.request_limits import RequestLimits
from bot.domain.request_parsing import (
    FLAG_FIELDS,
    RawOption,
    parse_choice,
    parse_flags,
    parse_int,
    parse_size,
    reject_lookalikes,
    validate_min_size,
    validate_negative_prompt,
    validate_prompt,
)
from bot.domain.text import normalize_text

__all__ = [
    "MAX_SEED",
    "Author",
    "ChannelRef",
    "InitImage",
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
    """Typed access to one JSON object; ``name`` is its name in errors."""

    name: str
    data: Mapping[str, object]

    def text(self, key: str) -> str:
        """Return the string at ``key``."""
        return self._value(key, str)

    def number(self, key: str) -> int:
        """Return the integer at ``key``."""
        return self._value(key, int)

    def decimal(self, key: str) -> float:
        """Return the number with a decimal point at ``key``."""
        return self._value(key, float)

    def object(self, key: str) -> JsonReader:
        """Return the object at ``key``."""
        return JsonReader(f"{self.name}.{key}", self._value(key, dict))

    def _value(self, key: str, kind: type[Value]) -> Value:
        value = self.data.get(key)
        # Not isinstance: True is an int in Python, but not a valid number here.
        if type(value) is not kind:
            raise ValueError(f"{self.name}: {key} is {value!r}, not of type {kind.__name__}")
        return value


MAX_SEED = 2**32 - 1
"""Maximum seed that txt2img.py takes; no row's seed exceeds it."""


@dataclass(frozen=True, slots=True)
class Author:
    """Author of a request: a user id and display name; ``(0, "operator")`` on the command line."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """Channel of a request; ``guild_id`` is 0 in direct messages and on the command line."""

    guild_id: int = 0
    channel_id: int = 0


@dataclass(frozen=True, slots=True)
class SourceImage:
    """Image of an earlier job that this request upscales; row and column count from 1."""

    job_id: str
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options of the command beside the prompt; None means not given. Options win over flags."""

    negative: str | None = None
    aspect: str | None = None
    rows: int | None = None
    samples: int | None = None
    steps: int | None = None
    seed: int | None = None
    model: str | None = None
    style: str | None = None
    strength: float | str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Request for a grid of ``rows`` × ``samples`` images, each ``width`` × ``height`` pixels.

    ``model`` is empty if there was none to choose. ``cost``: each image counts as so many images of
    the quota. ``init_image`` is the picture that it starts from, if any.
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
    cost: int = 1
    init_image: InitImage | None = None

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
        role_ids: Collection[int] | None = None,
        typed: bool = True,
        removed_tags: list[str] | None = None,
        init_image: InitImage | None = None,
        repeated: bool = False,
    ) -> Request:
        """Parse ``text``, the flags in it, and ``options`` into a request.

        Options win over flags; an overridden flag's value is not validated. Defaults and bounds are
        those of the chosen model. ``seed`` is used if the member gives none. ``role_ids`` are the
        member's roles, None if every model may be used. ``typed``: a person wrote the text just
        now, so words that look like mistyped flags are refused. What image servers would act on is
        removed from the texts, and appended to ``removed_tags``. ``init_image`` is the picture to
        start from, with the strength to use if none is given; without a shape the request gets that
        of the picture. ``repeated``: the caller makes as many requests as ``--repeat`` says. Raises
        InvalidRequest, and NotAllowed for a model of other roles.
        """
        phrases = limits.phrases
        prompt, given = parse_flags(normalize_text(text), phrases, typed=typed)
        given.update(_given_options(options))
        if typed and options.negative is not None:
            reject_lookalikes(given["negative"].value.split(), phrases)

        if "repeat" in given and not repeated:
            name = given["repeat"].name
            raise InvalidRequest(
                name, f"{name} makes several grids, but here you get one. Remove it."
            )
        prompt = validate_prompt(prompt, limits.max_prompt)
        model = limits.select_model(given.get("model"), role_ids, typed=typed)
        spec, limits = limits.table.get(model), limits.for_model(model)
        loras = spec.loras if spec else ()
        prompt, removed = strip_prompt(prompt, loras)
        prompt = validate_prompt(prompt, limits.max_prompt)
        named = spec.name if spec else ""

        def number(name: str, default: int, low: int, high: int, model: str = "") -> int:
            return parse_int(given[name], low, high, model) if name in given else default

        negative = given.get("negative", _NOT_GIVEN)
        words, too = strip_tags(negative.value, loras)
        negative = replace(negative, value=words)
        if removed_tags is not None:
            removed_tags += (*removed, *too)
        style = given.get("style", _NOT_GIVEN)
        size, engine = (limits.width, limits.height), limits.engine
        min_pixels = max(engine.min_pixels, limits.min_pixels)
        if init_image is not None:
            limits.require_img2img(model, role_ids)
            strength = given.get("strength")
            if strength is not None:
                init_image = replace(init_image, strength=parse_strength(strength))
        elif "strength" in given:
            raise InvalidRequest(given["strength"].name, _NO_PICTURE.format(given["strength"].name))
        if init_image is not None and "shape" not in given and min_pixels <= limits.max_pixels:
            area = size[0] * size[1]
            size = fit_aspect(*init_image.aspect, area, limits.max_pixels, min_pixels)
        if "shape" in given:
            size = parse_size(given["shape"], size, limits.max_pixels, min_pixels, named)
        else:
            # The configured default may exceed the limit, but not be too small for the engine.
            max_pixels = max(limits.max_pixels, size[0] * size[1])
            validate_min_size("", size, max_pixels, min_pixels, named)
        if spec is None:
            takes_negative, made_by = engine.negative, f"this server's model ({engine.show(model)})"
        else:
            takes_negative, made_by = spec.takes_negative, f"the model {spec.name}"
        rows = number("rows", limits.rows, 1, limits.max_rows)
        steps = number("steps", limits.steps, 1, limits.max_steps, named)
        if init_image is not None:
            name = given["strength"].name if "strength" in given else "strength"
            run = healed_steps(steps) if engine.engine == SCRIPT else steps
            validate_steps(name, init_image.strength, run)
        return cls(
            prompt=prompt,
            seed=number("seed", _wrap_seed(seed, rows), 0, MAX_SEED - (rows - 1)),
            steps=steps,
            width=size[0],
            height=size[1],
            rows=rows,
            samples=number("samples", limits.samples, 1, limits.max_samples),
            model=model,
            author=author,
            place=place,
            negative=validate_negative_prompt(
                negative,
                limits.max_prompt,
                is_supported=limits.negative,
                ineffective_with="" if takes_negative else made_by,
            ),
            style=parse_choice(style, limits.styles, kind="styles") if style.value else "",
            cost=1 if spec is None else spec.cost,
            init_image=init_image,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Request:
        """Return the request that ``to_dict`` wrote; limits are not checked, they may have changed.

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
            cost=stored.number("cost") if "cost" in data else 1,
            init_image=_read_init_image(stored) if "init_image" in data else None,
        )
        # A field that only a newer version writes must not be dropped silently.
        if request.to_dict() != data:
            raise ValueError(f"request: unknown keys in {sorted(data)}")
        return request

    @property
    def images(self) -> int:
        """Return the number of images that are made."""
        return self.rows * self.samples

    @property
    def quota_images(self) -> int:
        """Return the number of images of the quota that it takes."""
        return self.images * self.cost

    def row_seed(self, row: int) -> int:
        """Return the seed of ``row`` (from 1); rows have consecutive seeds."""
        return self.seed + row - 1

    def to_dict(self) -> dict[str, object]:
        """Return all fields as JSON types.

        As in older versions, ``cost`` is left out if it is 1, and ``init_image`` if there is none.
        """
        data = asdict(self)
        if self.cost == 1:
            del data["cost"]
        if self.init_image is None:
            del data["init_image"]
        return data

    def to_prompt(self) -> str:
        """Return the prompt with every setting as a flag; parsing it gives an equal request.

        Author, channel, ``origin`` and the picture to start from are left out: typed text must not
        be able to use another member's image.
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
        if self.init_image is not None:
            parts.append(f"--strength {self.init_image.strength:g}")
        if self.negative:
            parts.append(f"--no {self.negative}")
        return " ".join(parts)

    def styled_prompt(self, styles: Mapping[str, str]) -> str:
        """Return the prompt with the words of the style, if the style still exists.

        Without tags, but for LoRAs: these were allowed when the request was parsed, and the image
        engine loads none but its own.
        """
        words = normalize_text(styles.get(self.style, "")) if self.style else ""
        prompt = f"{self.prompt}, {words}" if words else self.prompt
        return strip_tags(prompt, None)[0] or "untitled"

    def within(self, limits: RequestLimits) -> Request:
        """Return the request without its model if there is none to choose.

        An older request may name a model that had no effect.
        """
        return self if limits.selects_model else replace(self, model="")

    def reroll(self, seed: int) -> Request:
        """Return the request with another random seed and without an origin."""
        return replace(self, seed=_wrap_seed(seed, self.rows), origin=None)

    def upscale_of(self, job_id: str, row: int, column: int) -> Request:
        """Return the request to upscale one image of this grid, made by the job ``job_id``.

        ``row`` and ``column`` count from 1. Raises InvalidRequest outside the grid.
        """
        row = parse_int(RawOption("row", str(row)), 1, self.rows)
        column = parse_int(RawOption("column", str(column)), 1, self.samples)
        origin = SourceImage(job_id, row, column)
        seed = self.row_seed(row)
        # The upscaler makes it, so the model's cost does not apply.
        return replace(self, seed=seed, rows=1, samples=1, origin=origin, cost=1, init_image=None)


def spelled(text: str, options: Mapping[str, object]) -> str:
    """Return ``text`` followed by ``options`` (option name to value) as flags."""
    flags = {"aspect": "ar", "negative": "no"}
    given = [
        f"--{flags.get(name, name)} {value}"
        for name, value in options.items()
        if f"{value}".strip()
    ]
    return " ".join([text, *given])


def random_seed(entropy: bytes) -> int:
    """Return a seed from 4 random bytes, with room for 64 consecutive row seeds."""
    if len(entropy) != 4:
        raise ValueError("four bytes of entropy make a seed")
    return _wrap_seed(int.from_bytes(entropy, "big"), 64)


def _wrap_seed(seed: int, rows: int) -> int:
    """Return a seed with room for ``rows`` consecutive ones, by modulo."""
    return seed % (MAX_SEED - rows + 2)


def _given_options(options: RequestOptions) -> dict[str, RawOption]:
    """Return the given options by the request field of the flag with the same meaning."""
    filled = {
        "negative": options.negative,
        "aspect": options.aspect,
        "rows": options.rows,
        "samples": options.samples,
        "steps": options.steps,
        "seed": options.seed,
        "model": options.model,
        "style": options.style,
        "strength": options.strength,
    }
    return {
        FLAG_FIELDS.get(name, name): RawOption(name, normalize_text(str(value)))
        for name, value in filled.items()
        if value is not None
    }


def _read_init_image(stored: JsonReader) -> InitImage:
    """Return the stored picture to start from. Raises ValueError."""
    part = stored.object("init_image")
    return InitImage(
        part.text("sha256"), part.number("width"), part.number("height"), part.decimal("strength")
    )


_NOT_GIVEN = RawOption("", "")
_NO_PICTURE = (
    "{} needs a picture to start from. Use /imagine with the option image, or Vary on a result."
)
