"""Prompt text is text: tags that image servers act on do not get through."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest
from bot.domain.models import ModelSpec
from bot.domain.prompt_tags import describe_removed, strip_tags
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.text import normalize_text
from bot.txt2img import prompt_tags as second_check
from tests.tagged_prompts import ACTING, HARMLESS

# What the servers search for, from their sources.
GRAMMARS = (
    re.compile(r"<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>"),  # stable-diffusion.cpp
    re.compile(r"<(\w+):([^>]+)>"),  # A1111, Forge, SD.Next
    re.compile(r"<lora:([^:>]+):([^>]+)>"),  # stable-diffusion.cpp, koboldcpp
    re.compile(r"<\w+\[[^\]]*\]:"),  # SwarmUI
    re.compile("__"),  # the Wildcards extension splits here
    re.compile(r"\$\{\s*\w+\s*[=:]"),  # Dynamic Prompts: a variable
    re.compile(r"\{[^{}]*\|[^{}]*\}"),  # and a choice
    re.compile(r"\{%|\{\{[^{}]*\}\}"),  # and Jinja code
    re.compile(r"\[\s*/?\s*(file|set|sets|call|eval|override|choose|repeat)[\s\]]", re.IGNORECASE),
)
_PIECES = (
    "<lora: <lyco: <hypernet: < > : 1 film __ _ {a| {{ }} { | } ${ $ = % [set [/set] [ ] / , ＜ ＞"
    " ： <sd_cpp_extra_args> </sd_cpp_extra_args> sd_cpp_ extra_args é \u200d \ufe0f"
)
PIECES = st.lists(
    st.sampled_from([*_PIECES.split(" "), " "]) | st.text(max_size=3), max_size=24
).map("".join)


@pytest.mark.parametrize(("text", "kept", "removed"), ACTING)
def test_a_tag_that_acts_is_removed_and_named(text: str, kept: str, removed: str) -> None:
    assert strip_tags(text) == (kept, (removed,) if removed else strip_tags(text)[1])
    assert strip_tags(text)[1]
    assert not any(grammar.search(kept) for grammar in GRAMMARS)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_that_changes_nothing_but_the_picture_passes(text: str) -> None:
    assert strip_tags(text) == (text, ())


@given(PIECES)
@settings(max_examples=300)
def test_nothing_that_is_left_acts_however_it_was_split(text: str) -> None:
    stripped, removed = strip_tags(text)
    assert not any(grammar.search(stripped) for grammar in GRAMMARS)
    assert strip_tags(stripped) == (stripped, ())
    assert removed or stripped == text
    assert second_check.has_tags(stripped) is False


@given(PIECES)
def test_only_an_allowed_lora_is_left_and_only_in_bounds(text: str) -> None:
    stripped, _ = strip_tags(text, {"film"})
    assert strip_tags(stripped, {"film"}) == (stripped, ())
    left = re.findall(r"<[^<>]*:[^<>]*>", stripped)
    assert len(left) <= 1
    for tag in left:
        found = re.fullmatch(r"<lora:film(?::(-?[0-9.]+))?>", tag)
        assert found
        assert abs(float(found[1] or 1)) <= 2


@pytest.mark.parametrize(
    ("text", "allowed", "kept"),
    [
        ("a cat <lora:film:0.5>", {"film"}, "a cat <lora:film:0.5>"),
        ("<lora:film:0.5>, a cat", {"film"}, "a cat <lora:film:0.5>"),
        ("a <LORA: Film :.25> cat", {"film"}, "a cat <lora:film:0.25>"),
        ("a cat <lora:film>", {"film"}, "a cat <lora:film>"),
        ("a cat <lora:film:99>", {"film"}, "a cat <lora:film:2>"),
        ("a cat <lora:film:-99>", {"film"}, "a cat <lora:film:-2>"),
        ("a cat <lora:film:1e9>", {"film"}, "a cat"),
        ("a cat <lora:film:nan>", {"film"}, "a cat"),
        ("a cat <lora:film:.>", {"film"}, "a cat <lora:film>"),
        ("a cat <lora:film:0.5:0.7:ALL>", {"film"}, "a cat <lora:film:0.5>"),
        ("<lora:film:1> <lora:film:2>", {"film"}, "<lora:film:2>"),
        ("<lora:film:1> <lora:ink:1>", {"film", "ink"}, "<lora:film:1> <lora:ink:1>"),
        ("a cat <lora:../film:1>", {"film"}, "a cat"),
        ("a cat <lyco:film:1>", {"film"}, "a cat"),
        ("a cat <lora:film:1>", set(), "a cat"),
        ("a cat <lora:anything:1>", None, "a cat <lora:anything:1>"),
        ("a cat <lora:film<lora:film:1>:2>", {"film"}, "a cat <lora:film:2>"),
    ],
)
def test_a_lora_of_the_table_is_allowed_by_name(
    text: str, allowed: set[str] | None, kept: str
) -> None:
    assert strip_tags(text, allowed)[0] == kept
    assert strip_tags(kept, allowed) == (kept, ())


@pytest.mark.parametrize(
    "text",
    [
        "<a:" * 1500 + ">" * 1500,
        "{" * 3000 + "|" + "}" * 3000,
        "{{" * 1500 + "}}" * 1500,
        "<sd_cpp_extra_args>" * 300,
        "_" * 3000 + "a" * 3000,
        "<" + "a" * 6000,
        "é{" * 3000 + "|",
        "[set " * 1000 + "]" * 1000,
    ],
)
def test_a_text_made_to_take_long_does_not(text: str) -> None:
    before = time.process_time()
    stripped, _ = strip_tags(text)
    assert time.process_time() - before < 2
    assert not any(grammar.search(stripped) for grammar in GRAMMARS)


STYLES = {"ink": "ink <lyco:ink:1>, __paper__"}


def parse(text: str, removed: list[str] | None = None, **options: str) -> Request:
    return Request.parse(
        text,
        RequestOptions(**options),  # type: ignore[arg-type]
        limits=RequestLimits(styles=STYLES),
        seed=1,
        author=Author(1, "Ada"),
        place=ChannelRef(),
        removed_tags=removed,
    )


def test_every_text_of_a_request_is_stripped_and_what_was_removed_is_said() -> None:
    removed: list[str] = []
    request = parse("a cat <lora:x:1> --no __bad__ hands --style ink", removed)
    assert (request.prompt, request.negative) == ("a cat", "hands")
    assert removed == ["<lora:x:1>", "__bad__"]
    assert parse("a cat", negative="bad {a|b}").negative == "bad a, b"
    assert parse("a cat", negative="<lora:x:1>").negative == ""
    assert request.styled_prompt(STYLES) == "a cat, ink"


def test_a_removed_tag_leaves_no_flag_and_an_edit_gives_the_same_request() -> None:
    request = parse("a cat -<lora:x:1>- steps 5")
    assert request.prompt == "a cat - - steps 5"
    removed: list[str] = []
    tagged = parse("a cat {x|y} a__b --steps 5")
    assert parse(tagged.to_prompt(), removed) == tagged
    assert removed == []


@pytest.mark.parametrize("text", ["<lora:x:1>", "__wild__ <hypernet:y:1>", "${x=y}"])
def test_a_prompt_of_tags_alone_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing but tags"):
        parse(text)


def test_the_author_reads_what_was_removed_in_a_few_words() -> None:
    assert describe_removed(()) == ""
    assert describe_removed(["<lora:x:1>"]).startswith("Removed from your text: <lora:x:1>. Tags")
    many = describe_removed([f"<lora:{'x' * 90}{number}:1>" for number in range(9)])
    assert "and 4 more" in many
    assert len(many) < 500


def test_an_old_stored_request_is_stripped_when_it_is_rendered() -> None:
    stored = Request.from_dict({**parse("a cat").to_dict(), "prompt": "a cat __x__ <lora:y:1>"})
    assert stored.styled_prompt({}) == "a cat <lora:y:1>"
    only = Request.from_dict({**parse("a cat").to_dict(), "prompt": "__x__"})
    assert only.styled_prompt({}) == "untitled"


@given(st.text())
def test_the_texts_stay_normalised(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(strip_tags(once)[0]) == strip_tags(once)[0]


@given(PIECES.filter(lambda text: not any(char in text for char in "＜＞：\u200d\ufe0f")))
@example("<lora:x:1> {a {b}|c} [set x] a__b ${x=y}")
def test_the_second_check_lets_nothing_act_either(text: str) -> None:
    plain, loras = second_check.split_loras(text, ())
    assert loras == ()
    assert not any(grammar.search(plain) for grammar in GRAMMARS)
    assert not second_check.has_tags(plain)


@pytest.mark.parametrize("text", HARMLESS)
def test_the_second_check_leaves_what_the_first_leaves(text: str) -> None:
    assert second_check.split_loras(text, ()) == (text, ())


@pytest.mark.parametrize("text", [text for text, _, _ in ACTING if text.isascii()])
def test_the_second_check_knows_every_tag(text: str) -> None:
    assert second_check.has_tags(text)


@pytest.mark.parametrize("text", ["a<b:1>--zz", "a cat <b:1>—zz 5", "a -<b:1>-zz", "a <b:1>--"])
def test_no_flag_appears_where_a_tag_was(text: str) -> None:
    request = parse(text)
    assert parse(request.to_prompt()) == request


def test_a_prompt_of_dashes_and_tags_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="two dashes"):
        parse("<b:1>--")


@given(
    PIECES
    | st.lists(st.sampled_from(["<b:1>", "--", "—", "-", "zz", "a", "no"]) | st.just(" ")).map(
        "".join
    )
)
def test_what_is_accepted_can_be_run_again(text: str) -> None:
    try:
        request = parse(text)
    except InvalidRequest:
        return
    removed: list[str] = []
    again = Request.parse(
        request.to_prompt(),
        RequestOptions(),
        limits=RequestLimits(styles=STYLES),
        seed=1,
        author=Author(1, "Ada"),
        place=ChannelRef(),
        typed=False,
        removed_tags=removed,
    )
    assert again == request
    assert removed == []


def test_the_loras_of_the_chosen_model_are_allowed() -> None:
    table = {"film": ModelSpec("film", loras=("Grain", "ink")), "plain": ModelSpec("plain")}
    limits = RequestLimits(models=("film", "plain"), model="plain", table=table)

    def prompt_of(text: str) -> str:
        return Request.parse(
            text, RequestOptions(), limits=limits, seed=1, author=Author(1, "A"), place=ChannelRef()
        ).prompt

    tagged = "a cat <lora:grain:9> <lora:other:1>"
    assert prompt_of(f"{tagged} --model film") == "a cat <lora:Grain:2>"
    assert prompt_of(tagged) == "a cat"
