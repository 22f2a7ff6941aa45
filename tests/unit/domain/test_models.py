"""A model of the table decides defaults, bounds, cost, and who may use it, before any charge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.image_engine import SCRIPT, SKETCH, UNKNOWN, EngineInfo
from bot.domain.models import ModelSpec
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.text import utf16_length

DIFFUSERS = EngineInfo("diffusers", "sdxl-base")
SDXL = ModelSpec(
    "sdxl",
    title="SDXL Base",
    about="photographs",
    width=1024,
    height=1024,
    steps=30,
    min_pixels=512 * 512,
    max_pixels=1536 * 1024,
    max_steps=60,
    cost=4,
    engine=DIFFUSERS,
)
TURBO = ModelSpec("turbo", width=512, height=512, steps=4, max_steps=8, engine=DIFFUSERS)
FLUX = ModelSpec("flux", title="Flux", family="flux", roles=frozenset({7, 3}), engine=DIFFUSERS)
LIMITS = RequestLimits(
    model="sdxl",
    models=("sdxl", "turbo", "flux"),
    table={spec.id: spec for spec in (SDXL, TURBO, FLUX)},
)


def parse(
    text: str,
    limits: RequestLimits = LIMITS,
    roles: tuple[int, ...] | None = None,
    **options: Any,
) -> Request:
    typed = options.pop("typed", True)
    return Request.parse(
        text,
        RequestOptions(**options),
        limits=limits,
        seed=5,
        author=Author(7, "Ada"),
        place=ChannelRef(),
        role_ids=roles,
        typed=typed,
    )


@pytest.mark.parametrize(
    ("text", "model", "size", "steps", "cost"),
    [
        ("a cat", "sdxl", (1024, 1024), 30, 4),
        ("a cat --model turbo", "turbo", (512, 512), 4, 1),
        ("a cat --model SDXL base", "sdxl", (1024, 1024), 30, 4),  # by its title
        ("a cat --model FLUX", "flux", (768, 768), 50, 1),  # without own: the server's
        ("a cat --model turbo --size 640x512 --steps 8", "turbo", (640, 512), 8, 1),
        ("a cat --ar 2:1", "sdxl", (1472, 704), 30, 4),  # fitted to the model's area
    ],
)
def test_defaults_are_those_of_the_model(
    text: str, model: str, size: tuple[int, int], steps: int, cost: int
) -> None:
    request = parse(text)
    assert (request.model, request.steps, request.cost) == (model, steps, cost)
    assert abs(request.width - size[0]) <= 64
    assert abs(request.height - size[1]) <= 64
    assert request.quota_images == request.images * cost
    assert parse(request.to_prompt(), typed=False) == request
    assert Request.from_dict(request.to_dict()) == request


REFUSED = [
    ("--steps 61", "--steps", "a whole number from 1 to 60 with SDXL Base, not 61"),
    ("--model turbo --steps 9", "--steps", "a whole number from 1 to 8 with turbo, not 9"),
    ("--size 256x256", "--size", "at least 262144 with SDXL Base"),
    ("--size 2048x1024", "--size", "at most 1572864 pixels in all"),
    ("--model flux --no trees", "--no", "--no has no effect with the model Flux."),
    ("--model sd", "--model", "--model must be one of: sdxl, turbo, flux; not sd."),
    ("--model sdxxl", "--model", "Did you mean sdxl?"),
    ("--model", "--model", "needs a value"),
]


@pytest.mark.parametrize(("flags", "field", "words"), REFUSED)
def test_what_a_model_does_not_have_is_refused_with_its_name(
    flags: str, field: str, words: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(f"a cat {flags}")
    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "acts"),
    [
        (ModelSpec("m"), True),
        (ModelSpec("m", engine=EngineInfo("diffusers", "m", negative=False)), False),
        (ModelSpec("m", engine=EngineInfo("diffusers", "m", negative=False), negative=True), True),
        (ModelSpec("m", negative=False), False),
        (ModelSpec("m", family="sdxl"), True),
        (ModelSpec("m", family="flux"), False),
        (ModelSpec("m", family="schnell"), False),
        (ModelSpec("m", family="lcm"), False),
        (ModelSpec("m", family="flux", negative=True), True),
    ],
)
def test_whether_a_negative_prompt_acts(spec: ModelSpec, acts: bool) -> None:
    limits = RequestLimits(model="m", models=("m",), table={"m": spec})
    if acts:
        assert parse("a cat --no fog", limits).negative == "fog"
    else:
        with pytest.raises(InvalidRequest, match="has no effect with the model m"):
            parse("a cat --no fog", limits)
    assert parse("a cat", limits, negative=" ").negative == ""


def test_who_may_use_a_model() -> None:
    for roles in ((3,), (1, 7), None):
        assert parse("a cat --model flux", roles=roles).model == "flux"
    for typed in (True, False):
        with pytest.raises(NotAllowed) as caught:
            parse("a cat --model flux", roles=(1,), typed=typed)
        assert str(caught.value) == (
            "The model Flux is for members with the role <@&3> or <@&7>. "
            "Choose another: sdxl, turbo."
        )
    assert LIMITS.names_for((1,)) == ("sdxl", "turbo")
    assert LIMITS.names_for(None) == LIMITS.names == ("sdxl", "turbo", "flux")
    # Names that are not open are accepted as names, but not offered.
    with pytest.raises(InvalidRequest, match="one of: sdxl, turbo; not nope"):
        parse("a cat --model nope", roles=())


def test_the_default_is_the_first_model_that_is_open() -> None:
    limits = replace(LIMITS, model="flux")
    assert parse("a cat", limits, roles=(7,)).model == "flux"
    assert parse("a cat", limits, roles=()).model == "sdxl"
    alone = replace(limits, models=("flux",))
    with pytest.raises(NotAllowed, match="No model of this server is open to you"):
        parse("a cat", alone, roles=())
    with pytest.raises(NotAllowed, match=r"role <@&3> or <@&7>\. Please ask a moderator"):
        parse("a cat --model flux", alone, roles=())


@pytest.mark.parametrize("limits", [LIMITS, RequestLimits()])
def test_a_repeated_request_whose_model_is_gone_says_so(limits: RequestLimits) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse("a cat --model anything-v3", limits, typed=False)
    assert str(caught.value) == (
        "The model anything-v3 of that request is not available here any more. "
        "Choose another with Edit & run again, or with /imagine."
    )


def test_a_table_selects_a_model_whatever_the_engine() -> None:
    engine = EngineInfo(SKETCH)
    old = replace(parse("a cat"), model="")
    assert RequestLimits(engine=engine).names == ()
    assert parse("a cat", RequestLimits(engine=engine)).model == ""
    limits = replace(LIMITS, engine=engine)
    assert limits.selects_model
    # An older request of a server that drew sketches gets the default now.
    assert parse(old.within(limits).to_prompt(), limits, typed=False).model == "sdxl"
    assert parse("a cat --model sdxl").within(RequestLimits(engine=engine)).model == ""


def test_a_name_without_an_entry_has_the_limits_of_the_server() -> None:
    limits = replace(LIMITS, models=("sdxl", "wd-1-4"), engine=EngineInfo(SCRIPT))
    request = parse("a cat --model wd-1-4", limits)
    assert (request.width, request.steps, request.cost) == (768, 50, 1)
    assert parse("a cat --model sdxl", limits).cost == 4
    assert limits.engine_for("sdxl") == DIFFUSERS
    assert limits.engine_for("wd-1-4") == EngineInfo(SCRIPT)
    assert limits.for_model("wd-1-4") is limits
    assert LIMITS.highest_max_steps == 150
    small = RequestLimits(model="turbo", models=("turbo",), table={"turbo": TURBO})
    assert small.highest_max_steps == 8
    assert RequestLimits(engine=EngineInfo(SKETCH)).highest_max_steps == 150


def test_an_upscaled_image_does_not_cost_what_its_model_does() -> None:
    assert parse("a cat").upscale_of("a" * 16, 1, 1).quota_images == 1


def test_an_older_stored_request_costs_one_image_for_each_picture() -> None:
    stored = parse("a cat --model turbo").to_dict()
    assert "cost" not in stored  # an older version can read it
    assert Request.from_dict(stored).cost == 1
    dear = parse("a cat").to_dict()
    assert dear["cost"] == 4
    for bad in ("4", None, True, 1.0):
        with pytest.raises(ValueError, match="cost"):
            Request.from_dict(dear | {"cost": bad})


@given(
    st.builds(
        ModelSpec,
        id=st.just("m"),
        title=st.text(max_size=60),
        about=st.text(max_size=300),
        cost=st.integers(1, 1000),
    ),
    st.integers(30, 200),
)
def test_a_choice_fits_and_keeps_the_cost(spec: ModelSpec, length: int) -> None:
    text = spec.format_choice(length)
    assert utf16_length(text) <= length
    assert ("images each" in text) or spec.cost == 1 or "images each" in spec.title


@given(
    sides=st.tuples(st.integers(1, 32), st.integers(1, 32)),
    steps=st.integers(1, 1000),
    max_steps=st.integers(1, 1000),
    pixels=st.tuples(st.integers(1, 4_000_000), st.integers(1, 4_000_000)),
    asked=st.integers(0, 1100),
)
def test_no_request_leaves_the_bounds_of_its_model(
    sides: tuple[int, int], steps: int, max_steps: int, pixels: tuple[int, int], asked: int
) -> None:
    low, high = sorted(pixels)
    spec = ModelSpec(
        "m", steps=steps, max_steps=max_steps, min_pixels=low, max_pixels=high, engine=UNKNOWN
    )
    limits = RequestLimits(model="m", models=("m",), table={"m": spec})
    text = f"a cat --size {64 * sides[0]}x{64 * sides[1]} --steps {asked}"
    try:
        request = parse(text, limits)
    except InvalidRequest:
        return
    assert request.steps == asked <= max_steps
    assert request.width * request.height >= low
    assert (request.width, request.height) == (768, 768) or (request.width * request.height <= high)
