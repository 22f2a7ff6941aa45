"""Flags are tested on whole prompts: what is prose, what is a flag, and where its value ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest
from bot.domain.flags import SLOTS, Setting, is_flag, split_flags
from bot.domain.text import clean

PHRASES = {"style": ("oil", "Oil  Painting", ""), "model": ("sd-2-1",)}


@pytest.mark.parametrize(
    ("text", "prose", "slot", "setting"),
    [
        ("an oak --ar 16:9", "an oak", "shape", Setting("--ar", "16:9")),
        ("an --ar=16:9 oak", "an oak", "shape", Setting("--ar", "16:9")),
        ("an oak —ar 16:9", "an oak", "shape", Setting("--ar", "16:9")),
        ("an oak –AR=16:9", "an oak", "shape", Setting("--ar", "16:9")),
        ("an oak ――aspect 16:9", "an oak", "shape", Setting("--aspect", "16:9")),
        ("--size 64x64 an oak", "an oak", "shape", Setting("--size", "64x64")),
        ("oak --no fog, --seed 5 at dawn", "oak at dawn", "negative", Setting("--no", "fog,")),
        ("oak --no=fog and rain", "oak", "negative", Setting("--no", "fog and rain")),
        ("oak --no fog -- rain", "oak", "negative", Setting("--no", "fog -- rain")),
        ("oak --no fog --seed 5 --no rain", "oak", "negative", Setting("--no", "fog, rain")),
        ("oak --rows 2 --rows 3", "oak", "rows", Setting("--rows", "3")),
        ("oak --seed= 7", "oak", "seed", Setting("--seed", "7")),
        ("oak --steps -5", "oak", "steps", Setting("--steps", "-5")),
        ("oak --style oil tall", "oak tall", "style", Setting("--style", "oil")),
        ("oak --style OIL painting tall", "oak tall", "style", Setting("--style", "OIL painting")),
        ("oak --style=oil painting", "oak", "style", Setting("--style", "oil painting")),
        ("oak --style wax tall", "oak tall", "style", Setting("--style", "wax")),
    ],
)
def test_a_flag_takes_its_value_and_leaves_the_prose(
    text: str, prose: str, slot: str, setting: Setting
) -> None:
    rest, found = split_flags(text, PHRASES)
    assert rest == prose
    assert found[slot] == setting


@pytest.mark.parametrize(
    "text",
    ["a -- b", "cats — and dogs", "--", "C--style", "-foo", "--5", "---", "--=x", "— –", "-h -v"],
)
def test_dashes_without_a_name_are_text(text: str) -> None:
    assert split_flags(text, {}) == (text, {})


@pytest.mark.parametrize(
    ("first", "second"), [("--ar 1:2", "--size 64x64"), ("--size 1x1", "--ar 1:2")]
)
def test_of_aspect_and_size_the_last_counts(first: str, second: str) -> None:
    _, found = split_flags(f"oak {first} {second}", {})
    assert [f"{setting.name} {setting.value}" for setting in found.values()] == [second]


@pytest.mark.parametrize(
    ("text", "flag", "hint"),
    [
        ("oak --foo 1", "--foo", "The flags are --ar, "),
        ("oak --sed 1", "--sed", "Did you mean --seed?"),
        ("oak --STYEL x", "--STYEL", "Did you mean --style?"),
        ("oak —Hola", "--Hola", "put a space after the dashes"),
        ("oak --größe 3", "--größe", "There is no flag --größe."),
    ],
)
def test_an_unknown_flag_is_refused_with_what_may_have_been_meant(
    text: str, flag: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        split_flags(text, {})
    assert refusal.value.field == flag
    assert hint in str(refusal.value)
    assert all(f"--{known}" in str(refusal.value) for known in SLOTS)


def test_an_endless_unknown_flag_does_not_flood_the_answer() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        split_flags("oak --" + "z" * 5000, {})
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize("after", ["", "=", " --seed 5", " —seed 5"])
def test_a_flag_without_a_value_is_refused_with_an_example(name: str, after: str) -> None:
    with pytest.raises(InvalidRequest, match="needs a value, for example --") as refusal:
        split_flags(f"oak --{name}{after}", PHRASES)
    assert refusal.value.field == f"--{name}"


@settings(deadline=None, max_examples=200)
@given(st.text().map(clean))
def test_prose_without_flags_is_given_back_unchanged(text: str) -> None:
    prose = " ".join(word for word in text.split() if not is_flag(word))
    assert split_flags(prose, PHRASES) == (prose, {})
