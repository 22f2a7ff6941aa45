"""What members type is shown letter for letter and does nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.text import truncate_utf16, utf16_length
from bot.frontend.formatting import (
    as_sentence,
    code_block,
    escape_user_text,
    format_duration,
    join_numbers,
    jump_link,
    pluralize,
    short_id,
    timestamp,
)
from bot.playground.validation.mentions import find_mentions

SIGNS = "\\`*_~|>#-.:/<@[]()"
texts = st.text(st.sampled_from(SIGNS + "ab 1😀") | st.characters(), max_size=60)


@given(texts, st.integers(1, 80))
@settings(deadline=None, max_examples=150)
def test_inert_text_keeps_within_its_room_and_escapes_every_sign(text: str, most: int) -> None:
    shown = escape_user_text(text, most)

    assert utf16_length(shown) <= most
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "", shown)
    assert not set(bare) & set(SIGNS)


@given(texts)
@settings(deadline=None, max_examples=100)
def test_inert_text_reads_as_it_was_typed(text: str) -> None:
    shown = escape_user_text(text, 10_000)

    assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", shown) == text


@pytest.mark.parametrize(
    "text",
    [
        "<@123>",
        "<@&123>",
        "[free nitro](https://evil.example)",
        "https://evil.example",
        "discord.gg/abc",
        "**bold** `code` ||spoiler||",
        "<t:0:R> <#123>",
    ],
)
def test_nothing_a_member_types_pings_or_links(text: str) -> None:
    shown = escape_user_text(text, 200)

    called = find_mentions(shown, {"parse": ["users", "roles", "everyone"]})
    assert not called.users
    assert not called.roles
    assert "https://" not in shown
    assert "discord.gg" not in shown
    assert "](" not in shown


def test_text_that_is_cut_says_so() -> None:
    assert escape_user_text("a.b.c.d", 6) == "a\\.b…"
    assert truncate_utf16("abcdef", 4) == "abc…"
    assert truncate_utf16("ab", 4) == "ab"
    assert truncate_utf16("😀😀😀", 5) == "😀😀…"


@given(st.text(st.sampled_from("`ab"), max_size=50), st.integers(12, 60))
@settings(deadline=None, max_examples=100)
def test_nothing_ends_a_code_block_early(text: str, most: int) -> None:
    block = code_block(text, most)

    assert "``" not in block[3:-3]
    assert utf16_length(block) <= most


def test_numbers_and_times_are_said_in_words() -> None:
    assert [pluralize(1, "image"), pluralize(2, "image")] == ["1 image", "2 images"]
    seconds = (-3, 0.4, 59, 60, 200, 601, 3600, 3900)
    said = ["0 s", "0 s", "59 s", "1 min", "3 min 20 s", "10 min", "1 h", "1 h 5 min"]
    assert [format_duration(one) for one in seconds] == said
    assert [join_numbers((1,)), join_numbers((1, 3)), join_numbers((1, 2, 4))] == [
        "1",
        "1 and 3",
        "1, 2 and 4",
    ]
    assert timestamp(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "t") == "<t:60:t>"


def test_phrases_become_sentences() -> None:
    assert as_sentence("next in the queue") == "Next in the queue."
    assert as_sentence("Really?") == "Really?"
    assert as_sentence("  ") == ""


def test_links_lead_to_servers_and_to_direct_messages() -> None:
    assert jump_link(1, 2, 3) == "https://discord.com/channels/1/2/3"
    assert jump_link(0, 2, 3) == "https://discord.com/channels/@me/2/3"


@pytest.mark.parametrize(
    ("among", "shown"),
    [
        ([], "abcdefgh"),
        (["abcdefghijklmnop"], "abcdefgh"),
        (["zbcdefghijklmnop", "abcdefgzijklmnop"], "abcdefgh"),
        (["abcdefghzjklmnop"], "abcdefghi"),
        (["abcdefghzjklmnop", "abcdefghijklmnoz"], "abcdefghijklmnop"),
    ],
)
def test_an_id_is_shown_as_long_as_it_takes_to_tell_it_from_the_others(
    among: list[str], shown: str
) -> None:
    assert short_id("abcdefghijklmnop", among) == shown
