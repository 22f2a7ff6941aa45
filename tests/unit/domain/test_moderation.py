"""Test what moderators allow: pauses, channels and their limits, word rules."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.adult_words import ADULT_WORDS
from bot.domain.errors import InvalidRequest, NotAllowed, RequestError
from bot.domain.moderation import (
    MAX_REASON_CHARS,
    ChannelLimits,
    ChannelRule,
    Pause,
    Place,
    check_model,
    check_place,
    check_words,
    format_seconds,
    is_allowed,
    limits_in,
    parse_model_roles,
    parse_reason,
    parse_words_off,
    shipped_rules,
    texts_of,
)
from bot.domain.request import Author, ChannelRef, Request
from bot.domain.scheduling import HELD, PAUSED, QueuedJob, Restrictions, RunningJob
from bot.domain.word_filter import WordRule, validate_breadth

AT = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
CHANNEL, PARENT, CATEGORY, OTHER = 1, 2, 3, 4
THREAD = Place(CHANNEL, PARENT, CATEGORY)
MINUTE = timedelta(minutes=1)


def a_request(**changes: object) -> Request:
    values: dict[str, object] = {
        "prompt": "a red fox",
        "seed": 1,
        "steps": 4,
        "width": 64,
        "height": 64,
        "rows": 4,
        "samples": 3,
        "model": "",
        "author": Author(7, "Ada"),
        "place": ChannelRef(9, CHANNEL),
    }
    return Request(**(values | changes))  # type: ignore[arg-type]  # the fields of Request


pauses = st.builds(
    Pause,
    st.text(max_size=20),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.booleans(),
    st.sampled_from(["pause", "drain"]),
)


@given(pauses)
def test_a_pause_is_stored_and_read_alike(pause: Pause) -> None:
    assert Pause.from_setting(pause.to_setting()) == pause


@pytest.mark.parametrize(
    ("stored", "pause"),
    [
        (None, None),
        (False, None),
        ("", None),
        (True, Pause(refuses=True)),
        ("maintenance", Pause("maintenance", refuses=True)),
    ],
)
def test_pauses_of_earlier_versions_are_read(stored: object, pause: Pause | None) -> None:
    assert Pause.from_setting(stored) == pause


def test_a_pause_ends_by_itself() -> None:
    pause = Pause("maintenance", AT)
    assert pause.is_active(AT - MINUTE)
    assert not pause.is_active(AT)
    assert Pause().is_active(AT)


@pytest.mark.parametrize(
    ("pause", "notice"),
    [
        (Pause(), "The moderators of this server have paused requests."),
        (Pause("cake"), "The moderators of this server have paused requests: cake"),
        (
            Pause("", AT, mode="drain"),
            "The moderators of this server let no more requests start until <t:1795867200:f>.",
        ),
    ],
)
def test_a_pause_has_a_notice(pause: Pause, notice: str) -> None:
    assert pause.notice == notice


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ([], True),
        ([ChannelRule(OTHER, False)], True),
        ([ChannelRule(OTHER, True)], False),
        ([ChannelRule(OTHER, None, running=1)], True),
        ([ChannelRule(CHANNEL, True)], True),
        ([ChannelRule(PARENT, True)], True),
        ([ChannelRule(CATEGORY, True)], True),
        ([ChannelRule(CATEGORY, True), ChannelRule(PARENT, False)], False),
        ([ChannelRule(CATEGORY, False), ChannelRule(PARENT, True)], True),
        ([ChannelRule(PARENT, False), ChannelRule(CHANNEL, True)], True),
        ([ChannelRule(CHANNEL, None), ChannelRule(PARENT, False)], False),
    ],
)
def test_the_most_specific_rule_decides(rules: list[ChannelRule], allowed: bool) -> None:
    assert is_allowed(rules, THREAD) is allowed


def test_each_limit_comes_from_the_most_specific_rule_that_sets_it() -> None:
    rules = [
        ChannelRule(CATEGORY, None, 5, MINUTE, 2, 2),
        ChannelRule(PARENT, True, max_rows=3),
        ChannelRule(CHANNEL, None, max_samples=1),
        ChannelRule(OTHER, None, 1, max_rows=1),
    ]
    assert limits_in(rules, THREAD) == ChannelLimits(5, MINUTE, CATEGORY, 3, 1)
    assert limits_in(rules, Place()) == ChannelLimits()


@pytest.mark.parametrize(
    ("rules", "since", "said"),
    [
        ([ChannelRule(CHANNEL, False)], None, "Requests are not allowed in this channel."),
        (
            [ChannelRule(OTHER, True)],
            None,
            "Requests are not allowed in this channel. Use <#4>.",
        ),
        ([ChannelRule(CHANNEL, max_rows=3)], None, "In this channel rows can be 1 to 3, not 4."),
        (
            [ChannelRule(CHANNEL, max_samples=2)],
            None,
            "In this channel samples can be 1 to 2, not 3.",
        ),
        (
            [ChannelRule(CHANNEL, between=MINUTE)],
            timedelta(seconds=59.4),
            "In this channel, wait 1 minute between two requests. Try again in 1 second.",
        ),
        (
            [ChannelRule(CHANNEL, between=MINUTE)],
            timedelta(seconds=20),
            "In this channel, wait 1 minute between two requests. Try again in 40 seconds.",
        ),
        ([ChannelRule(CHANNEL, between=MINUTE)], MINUTE, ""),
        ([ChannelRule(CHANNEL, between=MINUTE)], None, ""),
        ([ChannelRule(CHANNEL, max_rows=4, max_samples=3)], None, ""),
    ],
)
def test_a_request_that_a_channel_does_not_allow_is_refused(
    rules: list[ChannelRule], since: timedelta | None, said: str
) -> None:
    with pytest.raises(RequestError) if said else nullcontext() as caught:
        check_place(rules, THREAD, a_request(), since)
    assert caught is None or str(caught.value) == said


def test_a_pace_leaves_no_room_for_several_at_once() -> None:
    with pytest.raises(NotAllowed, match="Several grids at once are not possible here"):
        check_place([ChannelRule(CHANNEL, between=MINUTE)], THREAD, a_request(), None, together=2)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(days=1), "1 day"),
    ],
)
def test_lengths_are_in_words(length: timedelta, said: str) -> None:
    assert format_seconds(length) == said


REFUSE = WordRule(1, "fox")
HOLD = WordRule(2, "red", effect="hold")
ADULT = WordRule(3, "nude", adult=True)


@pytest.mark.parametrize(
    ("changes", "age_restricted", "broken"),
    [
        ({}, False, (1, "prompt")),
        ({"prompt": "a red cat"}, False, (2, "prompt")),
        ({"prompt": "a cat", "negative": "FÖX"}, False, (1, "negative prompt")),
        ({"prompt": "a red cat", "negative": "fox"}, False, (1, "negative prompt")),
        ({"prompt": "a cat", "style": "wild"}, False, (1, "style")),
        ({"prompt": "a cat", "style": "gone"}, False, None),
        ({"prompt": "a nude"}, False, (3, "prompt")),
        ({"prompt": "a nude"}, True, None),
        ({"prompt": "a nude fox"}, True, (1, "prompt")),
        ({"prompt": "a cat"}, False, None),
    ],
)
def test_words_are_found_in_all_that_a_member_can_bring(
    changes: dict[str, object], age_restricted: bool, broken: tuple[int, str] | None
) -> None:
    texts = texts_of(a_request(**changes), {"wild": "foxes and a fox"})
    decision = check_words([HOLD, REFUSE, ADULT], texts, age_restricted=age_restricted)
    assert (decision and (decision.match.rule.id, decision.field)) == broken
    assert decision is None or decision.holds is (broken is not None and broken[0] == 2)


@pytest.mark.parametrize(
    ("rule", "text", "show_word", "said"),
    [
        (REFUSE, "a fox", False, "A word rule of this server does not allow this prompt."),
        (REFUSE, "a Föx", True, "A word rule of this server does not allow this prompt (`Föx`)."),
        (
            WordRule(1, "f x", whole_word=False),
            "a f`x",
            True,
            "A word rule of this server does not allow this prompt (`f'x`).",
        ),
        (
            ADULT,
            "a nude",
            False,
            "A word rule of this server does not allow this prompt. "
            "It is allowed only in age-restricted channels.",
        ),
    ],
)
def test_a_refusal_says_which_word_if_the_server_wants_it(
    rule: WordRule, text: str, show_word: bool, said: str
) -> None:
    decision = check_words([rule], {"prompt": text}, age_restricted=False)
    assert decision is not None
    assert decision.message(show_word=show_word) == said


def test_a_reason_is_one_line_and_bounded() -> None:
    assert parse_reason("  two\nlines ") == "two lines"
    with pytest.raises(InvalidRequest) as caught:
        parse_reason("x" * (MAX_REASON_CHARS + 1), "because")
    assert caught.value.field == "because"


@pytest.mark.parametrize(
    ("roles", "model", "held", "allowed"),
    [
        ({}, "sd", set(), True),
        ({"sd": (5, 6)}, "wd", set(), True),
        ({"sd": (5, 6)}, "sd", {6}, True),
        ({"sd": (5, 6)}, "sd", {7}, False),
    ],
)
def test_a_model_is_for_the_roles_that_have_it(
    roles: dict[str, tuple[int, ...]], model: str, held: set[int], allowed: bool
) -> None:
    with nullcontext() if allowed else pytest.raises(RequestError, match="only for <@&5>, <@&6>"):
        check_model(roles, model, held)


@pytest.mark.parametrize("stored", [None, True, "sd", 7, [], {}, {"sd": []}])
def test_stored_settings_of_another_form_limit_nothing(stored: object) -> None:
    assert parse_model_roles(stored) == {}
    if not isinstance(stored, list):
        assert parse_words_off(stored) == ()


def test_shipped_words_are_rules_for_adults_and_each_can_be_off() -> None:
    rules = shipped_rules({})
    assert [rule.pattern for rule in rules] == list(ADULT_WORDS)
    assert len({rule.id for rule in rules}) == len(rules)
    assert all(rule.adult and rule.whole_word and rule.id < 0 for rule in rules)
    for word in ADULT_WORDS:
        decision = check_words(rules, {"prompt": f"a {word}."}, age_restricted=False)
        assert decision is not None
        left = shipped_rules({"adult_words_off": [word]})
        assert word not in [rule.pattern for rule in left]
    assert check_words(rules, {"prompt": "a lighthouse in Essex"}, age_restricted=False) is None


def test_a_rule_that_refuses_wins_over_one_that_holds_in_an_earlier_text() -> None:
    rules = [WordRule(1, "fox", effect="hold"), WordRule(2, "owl")]
    decision = check_words(
        rules, {"prompt": "a fox", "style": "", "negative": "owl"}, age_restricted=False
    )
    assert decision is not None
    assert (decision.match.rule.id, decision.field) == (2, "negative")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"held": True, "guild_id": 9}, HELD),
        ({"guild_id": 9}, PAUSED),
        ({"channel_ids": (3,)}, "this channel runs 1 request at a time"),
        ({"channel_ids": (1, 4)}, "this channel runs 2 requests at a time"),
        ({"channel_ids": (5,)}, None),
    ],
)
def test_what_moderators_restrict_does_not_start(
    changes: dict[str, object], reason: str | None
) -> None:
    restrictions = Restrictions(frozenset({9}), {3: 1, 4: 2, 5: 2})
    running = [RunningJob("a", 1, (3, 4)), RunningJob("b", 2, (4, 5))]
    job = replace(QueuedJob("job", 7, AT, 4), **changes)  # type: ignore[arg-type]  # its fields
    free, reasons = restrictions.startable([job], running)
    assert (free, reasons) == (([job], {}) if reason is None else ([], {"job": reason}))


@pytest.mark.parametrize(
    ("pattern", "whole_word", "fits"),
    [("a", True, True), ("a", False, False), ("a!", False, False), ("ab", False, True)],
)
def test_a_letter_anywhere_would_match_nearly_everything(
    pattern: str, whole_word: bool, fits: bool
) -> None:
    with nullcontext() if fits else pytest.raises(InvalidRequest, match="nearly everything"):
        validate_breadth(pattern, whole_word=whole_word)
