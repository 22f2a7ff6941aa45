"""Requests that start from a picture: what is refused, what is stored, what is repeated."""

from __future__ import annotations

import json

import pytest

from bot.domain.errors import InvalidRequest
from bot.domain.image_engine import SCRIPT, EngineInfo, script_steps
from bot.domain.init_image import InitImage, names_strength
from bot.domain.models import ModelSpec
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions

START = InitImage("ab" * 32, 1500, 1000, 0.6)
TABLE = {
    "sd": ModelSpec("sd", title="Stable"),
    "flux": ModelSpec("flux", title="Flux", img2img=False),
}


def parse(
    text: str = "a cat",
    start: InitImage | None = START,
    limits: RequestLimits | None = None,
    **options: float,
) -> Request:
    return Request.parse(
        text,
        RequestOptions(**options),  # type: ignore[arg-type]
        limits=limits or RequestLimits(),
        seed=5,
        author=Author(7, "Ada"),
        place=ChannelRef(),
        init_image=start,
    )


@pytest.mark.parametrize(
    ("text", "option", "strength"),
    [
        ("a cat", None, 0.6),
        ("a cat --strength 0.3", None, 0.3),
        ("a cat --strength=.25", None, 0.25),
        ("a cat --strength 0,4", None, 0.4),
        ("a cat --strength 1", None, 1.0),
        ("a cat —strength 0.5", None, 0.5),
        ("a cat --strength 0.3", 0.9, 0.9),
    ],
)
def test_the_strength_is_that_of_the_option_the_flag_or_the_server(
    text: str, option: float | None, strength: float
) -> None:
    request = parse(text) if option is None else parse(text, strength=option)
    assert request.init_image is not None
    assert (request.prompt, request.init_image.strength) == ("a cat", strength)


@pytest.mark.parametrize("typed", ["0", "0.0", "1.01", "2", "-0.5", "nan", "inf", "1e-3", "much"])
def test_a_strength_outside_of_its_range_is_refused_in_words(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="above 0 and at most 1") as caught:
        parse(f"a cat --strength {typed}")
    assert caught.value.field == "--strength"


@pytest.mark.parametrize("option", [0.0, 1.5, -1.0])
def test_a_strength_as_option_is_checked_too(option: float) -> None:
    with pytest.raises(InvalidRequest, match="strength must be a number above 0"):
        parse(strength=option)


@pytest.mark.parametrize(
    ("engine", "steps", "strength", "allowed"),
    [
        ("", 50, 0.02, True),
        ("", 50, 0.019, False),
        ("", 1, 1.0, False),  # sent as 0.99
        ("", 2, 0.5, True),
        (SCRIPT, 3, 0.4, False),  # the script is asked for 2
        ("", 3, 0.4, True),
    ],
)
def test_less_than_one_step_is_refused(
    engine: str, steps: int, strength: float, allowed: bool
) -> None:
    limits = RequestLimits(engine=EngineInfo(engine))
    if allowed:
        assert parse(limits=limits, steps=steps, strength=strength).steps == steps
        return
    with pytest.raises(InvalidRequest, match=f"of {2 if engine else steps} steps is less than one"):
        parse(limits=limits, steps=steps, strength=strength)


def test_a_strength_without_a_picture_is_refused() -> None:
    for given in ({"text": "a cat --strength 0.5"}, {"strength": 0.5}):
        with pytest.raises(InvalidRequest, match="needs a picture to start from"):
            parse(start=None, **given)


@pytest.mark.parametrize(
    ("limits", "text", "sentence"),
    [
        (RequestLimits(img2img=False), "a cat", "This server cannot start from a picture"),
        (
            RequestLimits(table=TABLE, models=("sd", "flux"), model="sd"),
            "a cat --model flux",
            "The model Flux cannot start from a picture. Choose another: sd.",
        ),
        (
            RequestLimits(table={"flux": TABLE["flux"]}, models=("flux",), model="flux"),
            "a cat",
            "The model Flux cannot start from a picture. Leave the picture out.",
        ),
    ],
)
def test_what_cannot_start_from_a_picture_refuses_it(
    limits: RequestLimits, text: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        parse(text, limits=limits)
    assert caught.value.field == "image"
    assert parse(text, start=None, limits=limits).init_image is None


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("a cat", (1500, 1000), (960, 640)),
        ("a cat", (1000, 1500), (640, 960)),
        ("a cat", (512, 512), (768, 768)),
        ("a cat", (9000, 100), (1536, 384)),
        ("a cat --ar 1:1", (1500, 1000), (768, 768)),
        ("a cat --size 512x256", (1500, 1000), (512, 256)),
    ],
)
def test_the_shape_is_the_picture_s_unless_one_is_given(
    text: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    request = parse(text, InitImage("ab" * 32, *size))
    assert (request.width, request.height) == expected


def test_a_picture_is_stored_with_the_request_and_older_requests_are_as_they_were() -> None:
    plain, request = parse(start=None), parse()
    assert "init_image" not in plain.to_dict()
    stored = json.loads(json.dumps(request.to_dict()))
    assert Request.from_dict(stored) == request
    assert Request.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain
    for broken in ({"strength": 1}, {"width": "9"}, {"more": 1}):
        with pytest.raises(ValueError, match=r"request"):
            Request.from_dict(stored | {"init_image": stored["init_image"] | broken})


def test_a_repeated_request_keeps_the_picture_and_its_strength_and_an_upscaled_one_does_not() -> (
    None
):
    request = parse(strength=0.35)
    assert "--strength 0.35" in request.to_prompt()
    again = parse(request.to_prompt(), request.init_image)
    assert again == request
    assert request.reroll(9).init_image == request.init_image
    assert request.upscale_of("j" * 16, 1, 1).init_image is None
    assert START.sha256 not in request.to_prompt()


@pytest.mark.parametrize(("strength", "sent"), [(1.0, "0.99"), (0.35, "0.35"), (0.5, "0.5")])
def test_image_engines_get_what_they_take(strength: float, sent: str) -> None:
    assert InitImage("ab" * 32, 64, 64, strength).sent_strength == sent


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a cat --strength 0.5", True),
        ("a cat --Strength=0.5", True),
        ("a cat —strength 0.5", True),
        ("a cat of strength", False),
        ("a cat --steps 5", False),
    ],
)
def test_the_flag_is_recognised_in_a_form(text: str, named: bool) -> None:
    assert names_strength(text) is named


def test_the_script_runs_as_many_steps_as_before() -> None:
    assert [script_steps(steps) for steps in (3, 30, 50, 60, 400)] == [2, 31, 50, 63, 500]
