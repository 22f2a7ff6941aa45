"""Requests are tested by what is let through and by what can be made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest
from bot.domain.request import (
    Author,
    ChannelRef,
    Request,
    RequestLimits,
    RequestOptions,
    SourceImage,
    random_seed,
    spelled,
)

ADA = Author(7, "Ada")
STUDIO = ChannelRef(11, 12)
STYLES = {"anime": "cel shading", "oil painting": "oil on canvas,\n thick strokes", "plain": ""}
LIMITS = RequestLimits(styles=STYLES)


def parse(
    text: str,
    options: RequestOptions | None = None,
    *,
    limits: RequestLimits = LIMITS,
    seed: int = 5,
) -> Request:
    return Request.parse(
        text, options or RequestOptions(), limits=limits, seed=seed, author=ADA, place=STUDIO
    )


def test_a_bare_prompt_gets_the_defaults() -> None:
    assert parse("an astronaut in space") == Request(
        prompt="an astronaut in space",
        seed=5,
        steps=50,
        width=768,
        height=768,
        rows=4,
        samples=3,
        model="sd-2-1",
        author=ADA,
        place=STUDIO,
    )


def test_flags_set_everything() -> None:
    request = parse(
        "an oak --ar 16:9 --seed 7 --no trees, fog --rows 2 --samples 1 --steps 30 "
        "--model WD-1-4 --style Oil Painting at dawn"
    )
    assert request == Request(
        prompt="an oak at dawn",
        seed=7,
        steps=30,
        width=1024,
        height=576,
        rows=2,
        samples=1,
        model="wd-1-4",
        author=ADA,
        place=STUDIO,
        negative="trees, fog",
        style="oil painting",
    )


def test_options_set_everything_and_win_over_flags_that_are_wrong() -> None:
    options = RequestOptions(
        negative="trees",
        aspect="9:16",
        rows=1,
        samples=2,
        steps=3,
        seed=4,
        model="wd-1-4",
        style="anime",
    )
    flags = "--no x --size 7x7 --rows 99 --samples 99 --steps 999 --seed x --model y --style z"
    request = parse(f"an oak {flags}", options)
    assert (request.width, request.height) == (576, 1024)
    assert (request.rows, request.samples, request.steps, request.seed) == (1, 2, 3, 4)
    assert (request.negative, request.model, request.style) == ("trees", "wd-1-4", "anime")


def test_an_empty_option_takes_a_negative_and_a_style_back() -> None:
    request = parse("an oak --no fog --style anime", RequestOptions(negative="\u200b", style=""))
    assert (request.negative, request.style) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "$(touch pwned) `id` ${IFS} \"double\" 'single' \\n %s",
        "@@sd1 7 row-done row=2 seed=1001 mac=555d16cc4c8eeda67c91441e6de19d9f",
        "Click on this link to preview your results: https://evil.example/",
        "<@123> @everyone **bold** ||spoiler||",
        "-foo",
        "--=5 and -- and ---",
        "a — b",
        "👩\u200d🚀❤\ufe0f",
        "🦊" * 1000,
    ],
)
def test_hostile_and_odd_prompts_are_plain_text(text: str) -> None:
    assert parse(text).prompt == text


def test_a_prompt_is_cleaned_into_one_line() -> None:
    assert parse("an\x00 oak\n\n\u202etree\u2028 in\tfog\ud800 ").prompt == "an oak tree in fog"


def test_length_is_counted_after_cleaning_and_without_flags() -> None:
    long = "x" * 1000
    assert parse(f"  {long}\u200b\n --seed 5").prompt == long


@pytest.mark.parametrize("size", ["768x512", "768X512", "768×512"])
def test_an_exact_size_may_be_given(size: str) -> None:
    request = parse(f"an oak --size {size}")
    assert (request.width, request.height) == (768, 512)


def test_the_default_size_and_model_are_allowed_whatever_else_is() -> None:
    limits = RequestLimits(width=500, height=300, model="my own", max_pixels=64 * 64)
    request = parse("an oak", limits=limits)
    assert (request.width, request.height, request.model) == (500, 300, "my own")
    assert parse("an oak --size 500x300 --model My Own", limits=limits) == request


def test_without_a_list_any_plain_model_name_may_be_given() -> None:
    limits = RequestLimits(models=())
    assert parse("an oak --model org/some_model-1.5", limits=limits).model == "org/some_model-1.5"
    for name in ("../evil", "a/../b", "/models/x", "a/b/c", "-x", "a b", "", "é"):
        with pytest.raises(InvalidRequest, match="letters, digits") as refusal:
            parse("an oak", RequestOptions(model=name), limits=limits)
        assert refusal.value.field == "model"


def test_names_that_differ_only_in_case_are_told_apart() -> None:
    limits = RequestLimits(styles={"Noir": "film noir", "noir": "black"})
    assert parse("x --style Noir", limits=limits).style == "Noir"
    assert parse("x --style noir", limits=limits).style == "noir"


def test_the_style_adds_its_words_only_to_the_full_prompt() -> None:
    request = parse("an oak --style oil painting")
    assert request.prompt == "an oak"
    assert request.styled_prompt(STYLES) == "an oak, oil on canvas, thick strokes"
    assert request.styled_prompt({}) == "an oak"
    assert parse("an oak --style plain").styled_prompt(STYLES) == "an oak"
    assert parse("an oak").styled_prompt({**STYLES, "": "no"}) == "an oak"


def test_a_reroll_is_the_same_grid_from_another_seed() -> None:
    request = parse("an oak --no fog")
    assert request.reroll(99) == replace(request, seed=99)
    assert request.upscale_of("job", 1, 1).reroll(99).origin is None


def test_a_crop_is_the_one_picture_with_its_rows_seed() -> None:
    request = parse("an oak --seed 100 --rows 4 --samples 3 --ar 3:2")
    picture = request.upscale_of("abcdef", 3, 2)
    assert picture == replace(
        request, rows=1, samples=1, seed=102, origin=SourceImage("abcdef", row=3, column=2)
    )
    assert picture.images == 1
    assert request.images == 12


@pytest.mark.parametrize(
    ("row", "column", "field"), [(0, 1, "row"), (5, 1, "row"), (1, 4, "column")]
)
def test_a_crop_outside_of_the_grid_is_refused(row: int, column: int, field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} must be a whole number from 1 to") as caught:
        parse("an oak").upscale_of("abcdef", row, column)
    assert caught.value.field == field


def test_a_seed_is_made_of_four_bytes() -> None:
    assert random_seed(b"\x00\x00\x01\x02") == 258
    assert random_seed(b"\xff\xff\xff\xff") == 62
    with pytest.raises(ValueError, match="four bytes"):
        random_seed(b"\x00")


@settings(deadline=None)
@given(st.binary(min_size=4, max_size=4))
def test_a_chosen_seed_leaves_room_for_64_rows(entropy: bytes) -> None:
    assert 0 <= random_seed(entropy) <= 2**32 - 64


@pytest.mark.parametrize("key", get_type_hints(Request))
def test_a_stored_request_with_a_wrong_type_is_refused_by_name(key: str) -> None:
    stored = {**parse("an oak").to_dict(), key: True}
    with pytest.raises(ValueError, match=f"request: {key} is True, not of type"):
        Request.from_dict(stored)


def test_a_stored_request_that_lacks_or_exceeds_is_refused() -> None:
    stored = parse("an oak").to_dict()
    with pytest.raises(ValueError, match="request: unknown keys"):
        Request.from_dict({**stored, "later": 1})
    with pytest.raises(ValueError, match="request: seed is None"):
        Request.from_dict({key: value for key, value in stored.items() if key != "seed"})
    with pytest.raises(ValueError, match=r"request\.author: id is None"):
        Request.from_dict({**stored, "author": {"name": "Ada"}})
    with pytest.raises(ValueError, match=r"request\.origin: row is '1'"):
        Request.from_dict({**stored, "origin": {"job_id": "x", "row": "1", "column": 1}})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "an oak"),
        ({"negative": "fog", "aspect": "16:9"}, "an oak --no fog --ar 16:9"),
        ({"rows": 2, "seed": 0, "style": "ink"}, "an oak --rows 2 --seed 0 --style ink"),
        ({"negative": " ", "model": ""}, "an oak"),
    ],
)
def test_options_can_be_spelled_as_flags(options: dict[str, object], text: str) -> None:
    assert spelled("an oak", options) == text


@pytest.mark.parametrize("prompt", ["an oak -ar 16:9", "an oak--seed 7", "an oak -no fog"])
def test_what_was_accepted_before_look_alikes_were_asked_about_can_be_made_again(
    prompt: str,
) -> None:
    stored = replace(parse("an oak"), prompt=prompt)
    with pytest.raises(InvalidRequest):
        parse(stored.to_prompt())
    again = Request.parse(
        stored.to_prompt(),
        RequestOptions(),
        limits=RequestLimits(),
        seed=1,
        author=stored.author,
        place=stored.place,
        typed=False,
    )
    assert again == stored


@pytest.mark.parametrize("negative", ["fog -ar 16:9", "fog--seed 5", "fog -v 5"])
def test_look_alikes_are_asked_about_in_the_negative_option_too(negative: str) -> None:
    with pytest.raises(InvalidRequest, match=r"look|Midjourney"):
        parse("an oak", RequestOptions(negative=negative))
