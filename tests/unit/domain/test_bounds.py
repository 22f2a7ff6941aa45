"""Bounds are tested through whole requests: what is refused, in which words, and by which name."""

from __future__ import annotations

import pytest

from bot.domain.errors import InvalidRequest
from bot.domain.request import MAX_SEED, Author, ChannelRef, Request, RequestLimits, RequestOptions

STYLES = {"anime": "cel shading", "oil painting": "oil on canvas,\n thick strokes", "plain": ""}
LIMITS = RequestLimits(styles=STYLES)


def parse(
    text: str, options: RequestOptions | None = None, limits: RequestLimits = LIMITS
) -> Request:
    return Request.parse(
        text,
        options or RequestOptions(),
        limits=limits,
        seed=5,
        author=Author(7, "Ada"),
        place=ChannelRef(),
    )


def refusal(
    text: str, options: RequestOptions | None = None, limits: RequestLimits = LIMITS
) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(text, options, limits)
    return caught.value


@pytest.mark.parametrize("text", ["", "  \n", "\u200d\ufe0f", "\u2800", "--seed 5", "\x00"])
def test_a_prompt_needs_something_to_see(text: str) -> None:
    error = refusal(text)
    assert error.field == "prompt"
    assert "Say what the picture should show" in str(error)


@pytest.mark.parametrize("text", ["--", " -- ", "-- --seed 5", "\u200b--"])
def test_two_dashes_alone_are_no_prompt(text: str) -> None:
    assert refusal(text).field == "prompt"
    assert "two dashes alone" in str(refusal(text))


@pytest.mark.parametrize("text", ["🦊" * 1001, "x " * 501])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(text: str) -> None:
    error = refusal(text)
    assert error.field == "prompt"
    assert f"{len(text.strip())} characters, and at most 1000" in str(error)


@pytest.mark.parametrize(
    ("flag", "low", "high"),
    [("rows", 1, 8), ("samples", 1, 4), ("steps", 1, 150), ("seed", 0, 2**32 - 4)],
)
def test_numbers_are_refused_outside_of_their_range(flag: str, low: int, high: int) -> None:
    for value in (low, high):
        assert f"--{flag} {value}" in parse(f"an oak --{flag} {value}").to_prompt()
    for bad in (low - 1, high + 1, "two", "1.5", "9" * 5000, "\uff11", "0x1"):
        error = refusal(f"an oak --{flag} {bad}")
        assert error.field == f"--{flag}"
        assert f"--{flag} must be a whole number from {low} to {high}, not " in str(error)
        assert len(str(error)) < 200


def test_an_option_is_named_as_an_option() -> None:
    error = refusal("an oak", RequestOptions(rows=9))
    assert error.field == "rows"
    assert str(error) == "rows must be a whole number from 1 to 8, not 9."


def test_where_only_one_number_is_allowed_the_answer_says_so() -> None:
    error = refusal("an oak --rows 2", limits=RequestLimits(rows=1, max_rows=1))
    assert str(error) == "--rows must be 1, not 2."


def test_a_seed_leaves_room_for_the_seeds_of_all_rows() -> None:
    assert parse(f"an oak --rows 1 --seed {MAX_SEED}").seed == MAX_SEED
    assert refusal(f"an oak --rows 2 --seed {MAX_SEED}").field == "--seed"


@pytest.mark.parametrize("aspect", ["5:1", "1:5", "0:1", "1:0", "-1:1", "16x9", "a:b", "1:1:1", ""])
def test_an_aspect_beyond_four_to_one_or_malformed_is_refused(aspect: str) -> None:
    error = refusal("an oak", RequestOptions(aspect=aspect))
    assert error.field == "aspect"
    assert "width:height in whole numbers, from 1:4 to 4:1, for example 16:9" in str(error)


@pytest.mark.parametrize(
    "size", ["100x100", "0x0", "64x320", "2048x1024", "64", "64x", "axb", "-64x64", "999999x64"]
)
def test_a_size_off_the_tiles_or_out_of_bounds_is_refused(size: str) -> None:
    error = refusal(f"an oak --size {size}")
    assert error.field == "--size"
    assert "multiples of 64" in str(error)
    assert "at most 1048576 pixels" in str(error)


def test_an_unknown_name_is_refused_with_the_known_ones_and_the_nearest() -> None:
    error = refusal("an oak --style anmie")
    assert str(error) == (
        "--style must be one of: anime, oil painting, plain; not anmie. Did you mean anime?"
    )
    assert "sd-2-1, wd-1-4; not gpt." in str(refusal("an oak", RequestOptions(model="gpt")))
    assert "cannot be empty" in str(refusal("an oak", RequestOptions(model="")))
    assert "must be sd-2-1; not gpt." in str(
        refusal("an oak --model gpt", limits=RequestLimits(models=("sd-2-1",)))
    )


def test_where_there_are_no_styles_the_answer_says_so() -> None:
    error = refusal("an oak --style anime", limits=RequestLimits())
    assert str(error) == "This server has no styles to choose from. Leave --style out."


def test_a_negative_is_refused_where_the_workflow_has_no_use_for_it() -> None:
    limits = RequestLimits(negative=False)
    assert refusal("an oak --no fog", limits=limits).field == "--no"
    error = refusal("an oak", RequestOptions(negative="fog"), limits=limits)
    assert error.field == "negative"
    assert "workflow does not support negative prompts" in str(error)
    assert parse("an oak", RequestOptions(negative=" "), limits=limits).negative == ""


@pytest.mark.parametrize("negative", ["--ar 3:4", "fog —seed 5", "a --b"])
def test_a_negative_with_flags_in_it_is_refused(negative: str) -> None:
    error = refusal("an oak", RequestOptions(negative=negative))
    assert error.field == "negative"
    assert "not flags such as" in str(error)
    assert refusal("an oak --no=--ar").field == "--no"


def test_a_negative_keeps_the_rules_of_a_prompt() -> None:
    assert "1001 characters" in str(refusal("an oak --no " + "x" * 1001))
    assert refusal("an oak --no --").field == "--no"
    assert parse("an oak --no a\n\x00b").negative == "a b"
