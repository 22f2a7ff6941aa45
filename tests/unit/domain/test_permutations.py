"""One typed text that asks for several requests: braces, escapes, ``--repeat`` and its bounds."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.init_image import InitImage
from bot.domain.permutations import escape, expand, parse_requests, to_typed_prompt
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions

LIMITS = RequestLimits(styles={"ink": "ink drawing", "film noir": "a still"}, max_permutations=8)


def parse(
    text: str, options: RequestOptions | None = None, limits: RequestLimits = LIMITS
) -> tuple[Request, ...]:
    """Parse as /imagine does; the random seeds are 1000, 2000, …."""
    chosen = options or RequestOptions()

    def parse_one(one: str, seed: int) -> Request:
        return Request.parse(
            one,
            chosen,
            limits=limits,
            seed=seed,
            author=Author(7, "Ada"),
            place=ChannelRef(1, 2),
            repeated=True,
        )

    return parse_requests(
        text, limits, parse_one, count(1000, 1000), has_seed=chosen.seed is not None
    )


EXPANDED = {
    "a fox": ["a fox"],
    "a {red, blue} fox": ["a red fox", "a blue fox"],
    "{a,b}{c,d}": ["ac", "ad", "bc", "bd"],
    "{a, b} {c, d, e}": ["a c", "a d", "a e", "b c", "b d", "b e"],
    "{red, } fox": ["red fox", " fox"],
    "{,}": ["", ""],
    "pre{fix, dict}ion": ["prefixion", "prediction"],
    "x --ar {1:1, 16:9}": ["x --ar 1:1", "x --ar 16:9"],
    "{1girl, solo": ["{1girl, solo"],
    "a } b, c": ["a } b, c"],
    "} a {": ["} a {"],
    "{a} {{b}}": ["{a} {{b}}"],
    "{a, {b}": ["{a, {b}"],
    "x { {a, b}": ["x { a", "x { b"],
    "{a, b} }": ["a }", "b }"],
    r"\{a, b\}": ["{a, b}"],
    r"{a\, b, c}": ["a, b", "c"],
    r"{\{, \}}": ["{", "}"],
    r"{a, b\}": ["{a, b}"],
    r"one\, two": ["one, two"],
    r"a\b \( \\ \n": [r"a\b \( \\ \n"],
    r"\\{a, b\}": ["\\{a, b}"],
    "{赤, 青}い狐": ["赤い狐", "青い狐"],
    "{a\nb, c}": ["a\nb", "c"],
}


@pytest.mark.parametrize(("text", "texts"), EXPANDED.items())
def test_a_text_stands_for_its_alternatives_in_order(text: str, texts: list[str]) -> None:
    assert list(expand(text, 8)) == texts


@pytest.mark.parametrize(
    "text",
    ["{a, {b, c}}", "{a {b, c}}", "{{a, b}}", "{x, y {z}}", "{{a}, {b}}", "{a, b} {c {d, }}"],
)
def test_braces_inside_braces_are_refused_with_the_way_to_write_them(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"inside braces.*write \\\{ or \\\}") as caught:
        expand(text, 100)
    assert caught.value.field == "prompt"
    assert list(expand(escape(text), 1)) == [text]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{1,2,3,4,5,6,7,8,9}", "9 grids"),
        ("{a,b}{a,b}{a,b}{a,b}", "16 grids"),
        ("{0,1,2,3,4,5,6,7,8,9}" * 9, "more than 1,000,000 grids"),
        ("{a,b}" * 1200, "more than 1,000,000 grids"),
        (",".join(["{"] + ["x"] * 5000) + "}", "5,001 grids"),
    ],
)
def test_too_many_are_counted_and_never_built(text: str, shown: str) -> None:
    with pytest.raises(InvalidRequest, match=f"asks for {shown}; at most 8 "):
        expand(text, 8)


WORDS = st.text(st.sampled_from("ab {},\\é"), max_size=12)


@given(WORDS)
def test_an_escaped_text_is_exactly_that_text(text: str) -> None:
    escaped = escape(text)
    assert expand(escaped, 1) == (text,)
    if not set(text) & set("{}\\"):
        assert escaped == text


@pytest.mark.parametrize("prompt", [r"a \{red, blue\} fox", r"\\{a\}", "{a} } {"])
def test_a_prompt_that_is_shown_to_be_copied_asks_for_the_same_request(prompt: str) -> None:
    (request,) = parse(prompt, RequestOptions(negative="{x, y}", seed=7))
    assert parse(to_typed_prompt(request)) == (request,)
    start = replace(request, init_image=InitImage("0" * 64, 64, 64, 0.5))
    assert to_typed_prompt(start) == start.to_prompt()  # with a picture, braces are text


@given(st.text(max_size=200))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        texts = expand(text, 50)
    except InvalidRequest:
        return
    assert 1 <= len(texts) <= 50


PART = st.text(st.sampled_from("xyz é"), max_size=3).map(str.strip)


@given(st.lists(st.lists(PART, min_size=2, max_size=4), max_size=4), st.lists(PART, min_size=5))
def test_the_number_is_the_product_and_the_last_braces_vary_fastest(
    braces: list[list[str]], between: list[str]
) -> None:
    text, expected = between[0], [between[0]]
    for alternatives, after in zip(braces, between[1:], strict=False):
        text += f"{{{', '.join(alternatives)}}}{after}"
        expected = [f"{head}{one}{after}" for head in expected for one in alternatives]
    assert list(expand(text, 256)) == expected


def test_every_request_is_parsed_alone_with_a_seed_of_its_own() -> None:
    requests = parse("a {red, blue} fox --ar {1:1, 2:1} {--no snow, }")
    assert [request.prompt for request in requests] == ["a red fox"] * 4 + ["a blue fox"] * 4
    assert [request.negative for request in requests] == ["snow", ""] * 4
    shapes = [request.width > request.height for request in requests]
    assert shapes == [False, False, True, True] * 2
    assert [request.seed for request in requests] == [1000 * n for n in range(1, 9)]


def test_a_seed_is_the_same_for_all_so_that_prompts_can_be_compared() -> None:
    by_flag = parse("a {red, blue} fox --seed 7")
    by_option = parse("a {red, blue} fox", RequestOptions(seed=7))
    assert by_flag == by_option
    assert [request.seed for request in by_flag] == [7, 7]
    assert [request.seed for request in parse("a fox --seed {1, 2}")] == [1, 2]


@pytest.mark.parametrize("flag", ["--repeat 3", "--r 3", "--repeat=3", "—repeat 3"])
def test_repeat_makes_several_with_seeds_of_their_own(flag: str) -> None:
    requests = parse(f"a fox {flag} --rows 2")
    assert len(requests) == 3
    assert {request.prompt for request in requests} == {"a fox"}
    assert len({request.seed for request in requests}) == 3


def test_repeat_multiplies_alternatives_and_may_be_one_itself() -> None:
    assert [one.prompt for one in parse("{a, b} --repeat 2")] == ["a", "a", "b", "b"]
    assert len(parse("a fox --repeat {2, 3}")) == 5


REFUSED: dict[str, str] = {
    "a fox --repeat 0": "--repeat must be a whole number from 2 to 8, not 0.",
    "a fox --repeat 1": "--repeat must be a whole number from 2 to 8, not 1.",
    "a fox --repeat 9": "--repeat must be a whole number from 2 to 8, not 9.",
    "a fox --repeat 1000": "not 1000.",
    "a fox --r x": "--r must be a whole number from 2 to 8, not x.",
    "a fox --repeat 2.5": "not 2.5.",
    "a fox --repeat -2": "not -2.",
    "a fox --repeat": "--repeat needs a value, for example --repeat 4.",
    "a fox --repeat4": "There is no flag --repeat4. Did you mean --repeat 4",
    "a fox -repeat 4": "Did you mean --repeat 4?",
    "a fox --repeat 4 --seed 7": "--repeat with a seed would make the same grid 4 times.",
    "{a, b} --repeat 2 --seed {1, 2}": "Grid 1 of 4 (a --repeat 2 --seed 1): --repeat with a seed",
    "{a, b, c} --repeat 3": "This asks for 9 grids; at most 8 are made at once.",
    "a {red, blue} fox --rows {2, 99}": "Grid 2 of 4 (a red fox --rows 99): --rows must be",
    "{a fox, }": "Grid 2 of 2 (): The prompt is empty.",
    "a fox --style {ink, pixle}": "Grid 2 of 2 (a fox --style pixle): --style must be one of",
    "a {b, {c, d}} e": "Braces inside braces cannot be combined: {b, {c, d}}.",
    "a --colour {red, blue}": "Grid 1 of 2 (a --colour red): There is no flag --colour.",
}


@pytest.mark.parametrize(("text", "why"), REFUSED.items())
def test_what_is_refused_says_which_grid_and_why(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(why)):
        parse(text)


def test_a_repeat_with_the_option_seed_is_refused_too() -> None:
    with pytest.raises(InvalidRequest, match="the same grid 2 times"):
        parse("a fox --repeat 2", RequestOptions(seed=0))


def test_what_is_not_allowed_needs_no_number() -> None:
    def forbid(_text: str, _seed: int) -> Request:
        raise NotAllowed("That model is not for you.")

    with pytest.raises(NotAllowed, match=r"^That model"):
        parse_requests("{a, b}", LIMITS, forbid, iter(range(9)))


def test_switched_off_braces_are_text_and_repeat_is_refused() -> None:
    off = RequestLimits(max_permutations=1)
    (request,) = parse(r"a {red, blue} \{fox\}", limits=off)
    assert request.prompt == r"a {red, blue} \{fox\}"
    with pytest.raises(InvalidRequest, match=r"one grid for each request. Remove --repeat\."):
        parse("a fox --repeat 2", limits=off)


def test_stored_prompts_are_never_expanded_and_cannot_repeat() -> None:
    (request,) = parse(r"a \{red, blue\} fox")
    assert request.prompt == "a {red, blue} fox"
    again = Request.parse(
        request.to_prompt(),
        RequestOptions(),
        limits=LIMITS,
        seed=1,
        author=request.author,
        place=request.place,
        typed=False,
    )
    assert again == request
    assert parse(escape(request.to_prompt())) == (request,)
    with pytest.raises(InvalidRequest, match="makes several grids, but here you get one"):
        Request.parse(
            "a fox --repeat 2",
            RequestOptions(),
            limits=LIMITS,
            seed=1,
            author=request.author,
            place=request.place,
        )
