"""Flags are tested on whole prompts: what is prose, what is a flag, and where its value ends."""

from __future__ import annotations

import contextlib
import sys
import time
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest
from bot.domain.midjourney_flags import MIDJOURNEY_FLAGS
from bot.domain.request_parsing import (
    FLAG_FIELDS,
    RawOption,
    is_flag,
    parse_flags,
)
from bot.domain.text import normalize_text

PHRASES = {"style": ("oil", "Oil  Painting", ""), "model": ("sd-2-1",)}


@pytest.mark.parametrize(
    ("text", "prose", "slot", "setting"),
    [
        ("an oak --ar 16:9", "an oak", "shape", RawOption("--ar", "16:9")),
        ("an --ar=16:9 oak", "an oak", "shape", RawOption("--ar", "16:9")),
        ("an oak —ar 16:9", "an oak", "shape", RawOption("--ar", "16:9")),
        ("an oak –AR=16:9", "an oak", "shape", RawOption("--ar", "16:9")),
        ("an oak ――aspect 16:9", "an oak", "shape", RawOption("--aspect", "16:9")),
        ("--size 64x64 an oak", "an oak", "shape", RawOption("--size", "64x64")),
        ("oak --no fog, --seed 5 at dawn", "oak at dawn", "negative", RawOption("--no", "fog,")),
        ("oak --no=fog and rain", "oak", "negative", RawOption("--no", "fog and rain")),
        ("oak --no fog -- rain", "oak", "negative", RawOption("--no", "fog -- rain")),
        ("oak --no fog --seed 5 --no rain", "oak", "negative", RawOption("--no", "fog, rain")),
        ("oak --rows 2 --rows 3", "oak", "rows", RawOption("--rows", "3")),
        ("oak --seed= 7", "oak", "seed", RawOption("--seed", "7")),
        ("oak --steps -5", "oak", "steps", RawOption("--steps", "-5")),
        ("oak --style oil tall", "oak tall", "style", RawOption("--style", "oil")),
        (
            "oak --style OIL painting tall",
            "oak tall",
            "style",
            RawOption("--style", "OIL painting"),
        ),
        ("oak --style=oil painting", "oak", "style", RawOption("--style", "oil painting")),
        ("oak --style wax tall", "oak tall", "style", RawOption("--style", "wax")),
    ],
)
def test_a_flag_takes_its_value_and_leaves_the_prose(
    text: str, prose: str, slot: str, setting: RawOption
) -> None:
    rest, found = parse_flags(text, PHRASES)
    assert rest == prose
    assert found[slot] == setting


@pytest.mark.parametrize(
    "text",
    ["a -- b", "cats — and dogs", "--", "C--style", "-foo", "--5", "---", "--=x", "— –", "-h -v"],
)
def test_dashes_without_a_name_are_text(text: str) -> None:
    assert parse_flags(text, {}) == (text, {})


@pytest.mark.parametrize(
    ("first", "second"), [("--ar 1:2", "--size 64x64"), ("--size 1x1", "--ar 1:2")]
)
def test_of_aspect_and_size_the_last_counts(first: str, second: str) -> None:
    _, found = parse_flags(f"oak {first} {second}", {})
    assert [f"{setting.name} {setting.value}" for setting in found.values()] == [second]


@pytest.mark.parametrize(
    ("text", "flag", "hint"),
    [
        ("oak --foo 1", "--foo", "The flags are --ar, "),
        ("oak --sed 1", "--sed", "Did you mean --seed?"),
        ("oak --STYEL x", "--STYEL", "Did you mean --style?"),
        ("oak --ar16:9", "--ar16:9", "Did you mean --ar 16:9, with a space between?"),
        ("oak --SEED7", "--SEED7", "Did you mean --seed 7, with a space between?"),
        ("oak —Hola", "--Hola", "put a space after the dashes"),
        ("oak --größe 3", "--größe", "There is no flag --größe."),
    ],
)
def test_an_unknown_flag_is_refused_with_what_may_have_been_meant(
    text: str, flag: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_flags(text, {})
    assert refusal.value.field == flag
    assert hint in str(refusal.value)
    assert "with a space" in hint or all(
        f"--{known}" in str(refusal.value) for known in FLAG_FIELDS
    )


def test_an_endless_unknown_flag_does_not_flood_the_answer() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_flags("oak --" + "z" * 5000, {})
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", FLAG_FIELDS)
@pytest.mark.parametrize("after", ["", "=", " --seed 5", " —seed 5"])
def test_a_flag_without_a_value_is_refused_with_an_example(name: str, after: str) -> None:
    with pytest.raises(InvalidRequest, match="needs a value, for example --") as refusal:
        parse_flags(f"oak --{name}{after}", PHRASES)
    assert refusal.value.field == f"--{name}"


@settings(deadline=None, max_examples=150)
@given(st.text().map(normalize_text))
def test_prose_without_flags_is_given_back_unchanged(text: str) -> None:
    prose = " ".join(word for word in text.split() if not is_flag(word))
    assert parse_flags(prose, PHRASES, typed=False) == (prose, {})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        *((f"cat --{name} 5", f"--{name} is") for name in sorted(MIDJOURNEY_FLAGS)),
        *((f"cat --{name}", f"--{name} is") for name in sorted(MIDJOURNEY_FLAGS)),
        *((f"cat --{name}=5 --ar 1:1", f"--{name} is") for name in sorted(MIDJOURNEY_FLAGS)),
        ("cat --v 5 --tile --ar 16:9", "--v and --tile are"),
        ("--q 2 cat --V 5 --foo --v 6 —s 750 -- x", "--q, --v and --s are"),
        ("cat --v5 --niji6 --s750", "--v, --niji and --s are"),
        ("cat --style raw --stylize 50", "--style raw and --stylize are"),
        ("cat --style=RAW", "--style raw is"),
        ("cat --sref https://example.org/a.png --cw 100", "--sref and --cw are"),
        ("cat --v 5 -q 2 dog -tile", "--v, --q and --tile are"),
        ("cat -v 5", "--v is"),
        ("cat--v 5", "--v is"),
        ("cat—niji 6", "--niji is"),
        ("cat -style raw", "--style raw is"),
        ("cat -sref 123", "--sref is"),
        ("cat -cref https://example.org/a.png", "--cref is"),
        ("cat -v --seed 7 5", "--v is"),
    ],
)
def test_all_flags_of_midjourney_are_named_in_one_sentence(text: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_flags(text, PHRASES)
    one = named.endswith(" is")
    what = "a Midjourney flag and has" if one else "Midjourney flags and have"
    sentence = f"{named} {what} no effect here. Remove {'it' if one else 'them'}."
    assert str(refusal.value) == sentence
    assert refusal.value.field == named.split(" ", maxsplit=1)[0].rstrip(",")


def test_a_style_of_that_name_is_a_style_and_not_midjourneys() -> None:
    assert parse_flags("cat --style raw", {"style": ("raw",)})[1]["style"].value == "raw"


@pytest.mark.parametrize("dash", ["-", "---", "‐", "‑", "−", "−−", "－", "－－", "﹣"])
@pytest.mark.parametrize("before", ["", "cat ", "cat, (", "two cats "])
@pytest.mark.parametrize(
    ("flag", "spelled"),
    [
        ("ar 16:9", "--ar 16:9"),
        ("AR 16:9", "--ar 16:9"),
        ("ar=16:9", "--ar 16:9"),
        ("ar16:9", "--ar 16:9"),
        ("aspect 3/2", "--aspect 3/2"),
        ("size 64x64,", "--size 64x64"),
        ("seed 7", "--seed 7"),
        ("rows:2", "--rows 2"),
        ("samples 2", "--samples 2"),
        ("steps 30", "--steps 30"),
        ("no dogs at all", "--no dogs"),
        ("model sd-2-1", "--model sd-2-1"),
        ("style oil", "--style oil"),
        ("style unknown", "--style unknown"),
    ],
)
def test_what_looks_like_a_flag_is_asked_about(
    dash: str, before: str, flag: str, spelled: str
) -> None:
    with pytest.raises(InvalidRequest, match="looks like a flag") as refusal:
        parse_flags(f"{before}{dash}{flag}", PHRASES)
    assert f"Did you mean {spelled}?" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("cat--ar 16:9", "--ar 16:9"),
        ("cat--AR16:9", "--ar 16:9"),
        ("cat—ar 16:9", "--ar 16:9"),
        ("cat–seed 7", "--seed 7"),
        ("cat-ar 16:9", "--ar 16:9"),
        ("a well-known cat--seed=7", "--seed 7"),
        ("cat--no dogs", "--no dogs"),
        ("cat--style oil painting", "--style oil"),
        ("an oak -ar 16:9 -seed 7", "--ar 16:9 and --seed 7"),
        ("oak --no fog -ar 16:9", "--ar 16:9"),
    ],
)
def test_a_flag_that_hangs_on_a_word_is_asked_about(text: str, spelled: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_flags(text, PHRASES)
    assert f"Did you mean {spelled}?" in str(refusal.value)
    assert parse_flags(text, PHRASES, typed=False)  # what was accepted once is taken by the letter


@pytest.mark.parametrize(
    "text",
    [
        "a well-known fox -- detailed",
        "t-shirt -red",
        "semi--transparent",
        "3--4 cats",
        "pages 16-9 and 16:9",
        "-5 degrees",
        "king-size 2x2 bed",
        "the night—no moon—was still",
        "art deco--style poster",
        "a wall -tile floor",
        "a -size larger than life",
        "the -seed of doubt",
        "stop-motion, time-lapse -- end 5",
        "x-ray -",
        "model -",
        "yes-no 5",
        "a -v sign",
        "-- ar 16:9",
        "cat-- ar 16:9",
    ],
)
def test_ordinary_text_with_dashes_is_text(text: str) -> None:
    assert parse_flags(text, PHRASES) == (text, {})


@pytest.mark.parametrize(
    "text",
    ["--no a " * 900, "-" * 6000, "-s" * 3000, "a—" * 3000, "-ar=" * 1500, "--" + "a-" * 2900],
)
def test_a_long_prompt_is_read_in_no_time(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(InvalidRequest):
        parse_flags(normalize_text(text), PHRASES)
    assert time.process_time() - began < 0.1


def work(text: str) -> int:
    """How many steps of Python parsing takes: a measure that no busy machine disturbs."""
    steps = 0

    def count(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal steps
        steps += event in ("line", "call")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        parse_flags(text, PHRASES)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize(
    "piece", ["--no a ", "--no=a ", "--ar 1:1 ", "--style oil painting ", "--seed 1 ", "a ", "-- "]
)
def test_twice_the_text_is_twice_the_work(piece: str) -> None:
    few, many = work(piece * 100), work(piece * 200)
    assert many < 2.2 * few


def test_a_prompt_full_of_flags_is_split_into_all_of_them() -> None:
    prose, found = parse_flags("oak " + "--no a " * 857, PHRASES)
    assert prose == "oak"
    assert found == {"negative": RawOption("--no", ", ".join(["a"] * 857))}
