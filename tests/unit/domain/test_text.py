"""Cleaning is tested by what must go, what must stay, and by doing it twice."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.text import (
    MAX_MARKS,
    bound_marks,
    format_credits,
    has_visible_characters,
    is_ignorable,
    normalize_text,
    truncate,
    truncate_utf16,
    utf16_length,
)


@pytest.mark.parametrize(
    "char",
    [
        *("\x00", "\x07", "\x1b", "\x7f", "\x80", "\x9b", "\ud800", "\udfff", "\ufeff", "\u00ad"),
        *("\u200b", "\u200c", "\u200e", "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069"),
        *("\u2060", "\u3164", "\ufdd0", "\uffff", "\U0010fffe", "\U000e0041", "\U000e0101"),
    ],
)
def test_what_breaks_or_disguises_a_text_goes(char: str) -> None:
    assert normalize_text(f"a{char}b") == "ab"


@pytest.mark.parametrize("gap", ["\n", "\r\n", "\t", "\v\f", "\x85", "\u2028", "\u2029", "\u3000"])
def test_line_breaks_and_wide_spaces_become_one_space(gap: str) -> None:
    assert normalize_text(f"{gap} a {gap}{gap} b{gap}") == "a b"


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d🚀 in space",
        "❤\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
        "🫨 newer than this Python",
        "naïve café, 東京, عربى, हिन्दी",
        "$(touch pwned) `id` \"q\" 'x' \\ %s ; rm -rf /",
        "@@sd1 1 done ok=4 failed=0 mac=00",
    ],
)
def test_what_members_mean_stays_as_it_is(text: str) -> None:
    assert normalize_text(text) == text


def test_tags_outside_of_a_flag_are_unseen_text_and_go() -> None:
    smuggled = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    assert normalize_text(f"cat{smuggled} 🏴{smuggled}") == "cat 🏴"


def test_letters_are_composed_even_when_something_unseen_parted_them() -> None:
    assert normalize_text("e\u200b\u0301") == "é"


@settings(deadline=None, max_examples=150)
@given(st.text())
def test_clean_text_is_one_tidy_line_and_stays_so(text: str) -> None:
    cleaned = normalize_text(text)
    assert normalize_text(cleaned) == cleaned
    assert cleaned == unicodedata.normalize("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in cleaned)


@settings(deadline=None, max_examples=150)
@given(st.text(st.sampled_from("🏴a \u200b\u200d\ufe0f\u0301e\U000e0067\U000e007f\u2028\xa0")))
def test_cleaning_twice_is_cleaning_once_for_the_most_awkward_characters(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@pytest.mark.parametrize("text", ["", " ", "\u200d", "\ufe0f\u0301", "\u2800", "\u3164"])
def test_nothing_can_be_seen_of_joiners_marks_and_blanks(text: str) -> None:
    assert not has_visible_characters(text)


@pytest.mark.parametrize("text", ["a", "7", "…", "🫨", " 猫", "--"])
def test_letters_digits_signs_and_new_emoji_can_be_seen(text: str) -> None:
    assert has_visible_characters(text)


def test_comparing_looks_through_what_has_no_width() -> None:
    assert all(is_ignorable(char) for char in "\u200b\u200d\ufe0f\u202e\U000e0041\u0600\x00")
    assert not any(is_ignorable(char) for char in "a \n-1猫\u0301")


def test_a_long_quotation_is_cut() -> None:
    assert truncate("a" * 40) == "a" * 40
    assert truncate("a" * 41) == "a" * 39 + "…"


ZALGO = "\u0301\u0488\u0e47\u064b\u05b0\u0f71\ufe0f\u200d"


@pytest.mark.parametrize("mark", ZALGO)
@pytest.mark.parametrize("base", ["a", "é", "ש", "ท", "🙂", " ", ""])
def test_a_pile_of_marks_on_one_character_is_bounded(mark: str, base: str) -> None:
    assert len(normalize_text(f"x{base}{mark * 900}y")) <= len(f"x{base}y") + MAX_MARKS
    assert len(bound_marks(f"x{base}{mark * 900}y")) <= len(f"x{base}y") + MAX_MARKS


@pytest.mark.parametrize(
    "text",
    [
        "Tiếng Việt: phở, nghệ thuật",
        "हिन्दी क्षत्रिय क्\u200dष",
        "ภาษาไทย น้ำ ที่ ปั้น",
        "مُحَمَّدٌ رَسُولُ ٱللَّٰهِ",
        "בְּרֵאשִׁ֖ית בָּרָ֣א אֱלֹהִ֑ים",
        "ཧཱུྃ and ཧྐྵྨླྺྼྻྂ",
        "မြန်မာဘာသာ ကြွက်",
        "ශ්\u200dරී ලංකා",
        "👩\u200d👩\u200d👧\u200d👦 👁\ufe0f\u200d🗨\ufe0f 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈 👍🏽",
        "🇩🇪 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ],
)
def test_scripts_that_pile_marks_are_left_alone(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert normalize_text(text) == composed
    assert bound_marks(composed) == composed


@settings(deadline=None, max_examples=150)
@given(
    st.text(st.sampled_from(f"ae ü\u0344\u0327\u1100\u1161\u0f73\U0001d15f{ZALGO}"), max_size=80)
)
def test_no_character_carries_more_than_it_can(text: str) -> None:
    cleaned = normalize_text(text)
    assert normalize_text(cleaned) == cleaned
    piles = re.split(r"[^\u0300-\u036f\u0488\u0e47\u064b\u05b0\u0f71-\u0f73\ufe0f\u200d]", cleaned)
    for pile in piles:
        assert pile.count("\u200d") <= 1
        assert pile.count("\ufe0f") <= 1
        assert len(pile.replace("\u200d", "").replace("\ufe0f", "")) <= MAX_MARKS
    assert bound_marks(bound_marks(text)) == bound_marks(text)


@pytest.mark.parametrize(
    ("text", "max_units", "shown"),
    [
        ("ab", 4, "ab"),
        ("abcd", 4, "abcd"),
        ("abcdef", 4, "abc…"),
        ("ab cdef", 4, "ab…"),
        ("😀😀😀", 6, "😀😀😀"),
        ("😀😀😀", 5, "😀😀…"),
        ("😀😀😀", 4, "😀…"),
        ("\ud800\ud800\ud800", 2, "\ud800…"),
        ("a" + "\u0301" * 20, 99, "a" + "\u0301" * MAX_MARKS),
    ],
)
def test_text_is_truncated_by_utf16_units(text: str, max_units: int, shown: str) -> None:
    assert truncate_utf16(text, max_units) == shown
    assert utf16_length(shown) <= max_units


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0"),
        ("0.00001", "0"),
        ("0.50", "0.5"),
        ("100", "100"),
        ("848.80005", "848.8"),
        ("1234567.1234", "1,234,567.1234"),
        ("1E+6", "1,000,000"),
    ],
)
def test_credits_have_at_most_four_decimals(amount: str, shown: str) -> None:
    assert format_credits(Decimal(amount)) == shown
