"""Quotas: what fits, when more fits, and whose rule counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.quota import (
    Quota,
    QuotaAllowed,
    QuotaCharge,
    QuotaDenied,
    QuotaGrant,
    QuotaRule,
    QuotaUsage,
    check_quota,
    effective_quota,
    format_window,
    parse_window,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
QUOTA = Quota(images=12, window=DAY, running=1, waiting=5)

moments = st.integers(-60, 60).map(lambda hours: NOW + hours * HOUR)
charges = st.builds(QuotaCharge, moments, st.integers(1, 8))
grants = st.builds(QuotaGrant, st.integers(1, 8), st.none() | moments)
usages = st.builds(
    QuotaUsage,
    st.lists(charges, max_size=8).map(tuple),
    st.lists(grants, max_size=3).map(tuple),
)
quotas = st.builds(
    Quota,
    st.integers(0, 24),
    st.integers(1, 48).map(lambda hours: hours * HOUR),
    st.integers(0, 4),
    st.integers(0, 9),
)
pure = settings(max_examples=150, deadline=None)


def ago(hours: float, images: int) -> QuotaCharge:
    return QuotaCharge(NOW - hours * HOUR, images)


def test_a_charge_counts_until_it_is_one_window_old() -> None:
    usage = QuotaUsage((ago(24, 5), ago(23.9, 3), ago(1, 2)))
    assert usage.used(QUOTA, NOW) == 5
    assert usage.left(QUOTA, NOW) == 7
    assert usage.resets_at(QUOTA, NOW) == NOW + 0.1 * HOUR


def test_nothing_used_has_nothing_to_reset() -> None:
    assert QuotaUsage((ago(24, 5),)).resets_at(QUOTA, NOW) is None


def test_a_grant_adds_until_it_expires() -> None:
    usage = QuotaUsage((), (QuotaGrant(4, NOW + HOUR), QuotaGrant(2, None), QuotaGrant(100, NOW)))
    assert usage.allowance(QUOTA, NOW) == 18
    assert usage.allowance(QUOTA, NOW + HOUR) == 14


def test_using_up_a_grant_that_then_expires_leaves_nothing_but_no_debt() -> None:
    usage = QuotaUsage((ago(1, 15),), (QuotaGrant(4, NOW + HOUR),))
    assert usage.left(QUOTA, NOW) == 1
    assert usage.left(QUOTA, NOW + HOUR) == 0


def test_a_request_that_fits_is_admitted_and_told_what_is_left() -> None:
    assert check_quota(QUOTA, QuotaUsage((ago(1, 4),)), 8, NOW) == QuotaAllowed(left=0)


def test_a_refusal_names_the_moment_when_enough_has_left_the_window() -> None:
    usage = QuotaUsage((ago(20, 4), ago(10, 4), ago(1, 4)))
    assert check_quota(QUOTA, usage, 4, NOW) == QuotaDenied(NOW + 4 * HOUR, left=0)
    assert check_quota(QUOTA, usage, 5, NOW) == QuotaDenied(NOW + 14 * HOUR, left=0)


def test_more_than_the_allowance_is_never_promised() -> None:
    assert check_quota(QUOTA, QuotaUsage(), 13, NOW) == QuotaDenied(None, left=12)


def test_room_that_depends_on_a_grant_is_not_promised_for_after_its_end() -> None:
    used = QuotaUsage((ago(20, 12),))
    assert (
        check_quota(QUOTA, QuotaUsage(used.charges, (QuotaGrant(3, NOW + 3 * HOUR),)), 15, NOW).left
        == 3
    )
    assert check_quota(
        QUOTA, QuotaUsage(used.charges, (QuotaGrant(3, NOW + 3 * HOUR),)), 15, NOW
    ) == QuotaDenied(None, left=3)
    assert check_quota(
        QUOTA, QuotaUsage(used.charges, (QuotaGrant(3, NOW + 5 * HOUR),)), 15, NOW
    ) == QuotaDenied(NOW + 4 * HOUR, left=3)


def test_a_request_of_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="at least one"):
        check_quota(QUOTA, QuotaUsage(), 0, NOW)


@pure
@given(usages, charges)
def test_a_refund_undoes_a_reservation(usage: QuotaUsage, charge: QuotaCharge) -> None:
    assert usage.reserve(charge).refund(charge) == usage


@pure
@given(usages, charges)
def test_a_refund_takes_away_one_such_charge_at_most(
    usage: QuotaUsage, charge: QuotaCharge
) -> None:
    before, after = list(usage.charges), list(usage.refund(charge).charges)
    if charge in before:
        assert before.count(charge) == after.count(charge) + 1
        assert len(before) == len(after) + 1
    else:
        assert before == after


@pure
@given(quotas, usages, st.integers(1, 30))
def test_admission_never_goes_past_the_allowance(
    quota: Quota, usage: QuotaUsage, price: int
) -> None:
    match check_quota(quota, usage, price, NOW):
        case QuotaAllowed(left):
            after = usage.reserve(QuotaCharge(NOW, price))
            assert after.used(quota, NOW) <= after.allowance(quota, NOW)
            assert after.left(quota, NOW) == left
        case QuotaDenied(_, left):
            assert usage.used(quota, NOW) + price > usage.allowance(quota, NOW)
            assert usage.left(quota, NOW) == left < price


@pure
@given(quotas, usages, st.integers(1, 30))
def test_a_promised_moment_holds_and_no_earlier_one_would(
    quota: Quota, usage: QuotaUsage, price: int
) -> None:
    answer = check_quota(quota, usage, price, NOW)
    if not isinstance(answer, QuotaDenied):
        return
    # Everything lies on whole hours here, and nothing is charged or granted beyond 60 of them.
    later = [NOW + hours * HOUR for hours in range(1, 60 + 48 + 2)]
    good = [now for now in later if isinstance(check_quota(quota, usage, price, now), QuotaAllowed)]
    assert answer.retry_at == (good[0] if good else None)


@pure
@given(quotas, usages)
def test_a_reset_gives_something_back(quota: Quota, usage: QuotaUsage) -> None:
    at = usage.resets_at(quota, NOW)
    if at is None:
        assert usage.used(quota, NOW) == 0
    else:
        assert at > NOW
        assert usage.used(quota, at) < usage.used(quota, at - timedelta(microseconds=1))


def rule(scope: str, subject: int, **fields: object) -> QuotaRule:
    return QuotaRule(scope, subject, **fields)  # type: ignore[arg-type]


def test_the_members_rule_beats_roles_and_those_beat_the_server() -> None:
    rules = (
        rule("member", 1, images=6),
        rule("role", 10, images=48, running=2),
        rule("server", 0, images=24, running=3, waiting=9),
        rule("member", 2, images=1),
        rule("role", 11, images=999),
    )
    assert effective_quota(QUOTA, rules, {10}, 1) == Quota(6, DAY, 2, 9)
    assert effective_quota(QUOTA, rules, {10}, 3) == Quota(48, DAY, 2, 9)
    assert effective_quota(QUOTA, rules, (), 3) == Quota(24, DAY, 3, 9)
    assert effective_quota(QUOTA, (), {10}, 3) == QUOTA


def test_of_several_roles_the_most_generous_counts_field_by_field() -> None:
    rules = (
        rule("role", 1, images=20, running=1),
        rule("role", 2, images=10, running=4, waiting=2),
        rule("role", 3, waiting=1),
    )
    assert effective_quota(QUOTA, rules, {1, 2, 3}, 9) == Quota(20, DAY, 4, 2)


def test_generous_means_per_hour_and_images_keep_their_window() -> None:
    week = timedelta(days=7)
    rules = (rule("role", 1, images=100, window=week), rule("role", 2, images=20, window=DAY))
    assert effective_quota(QUOTA, rules, {1, 2}, 9) == Quota(20, DAY, 1, 5)
    even = (rule("role", 1, images=140, window=week), rule("role", 2, images=20, window=DAY))
    assert effective_quota(QUOTA, even, {1, 2}, 9) == Quota(140, week, 1, 5)


def test_a_rule_for_images_alone_keeps_the_window_below_it() -> None:
    rules = (rule("server", 0, window=HOUR), rule("member", 1, images=3))
    assert effective_quota(QUOTA, rules, (), 1) == Quota(3, HOUR, 1, 5)


@pure
@given(
    st.permutations(
        (
            rule("role", 1, images=4, window=HOUR, waiting=3),
            rule("role", 2, images=30),
            rule("role", 3, running=0),
            rule("server", 0, running=7),
            rule("member", 5, waiting=0),
        )
    )
)
def test_the_order_of_rules_does_not_matter(rules: list[QuotaRule]) -> None:
    assert effective_quota(QUOTA, rules, {1, 2, 3}, 5) == Quota(4, HOUR, 0, 0)


def test_quotas_and_rules_that_make_no_sense_cannot_be_made() -> None:
    for images, window, running, waiting in (
        (-1, DAY, 1, 1),
        (1, timedelta(), 1, 1),
        (1, DAY, -1, 1),
        (1, DAY, 1, -1),
    ):
        with pytest.raises(ValueError, match="quota"):
            Quota(images, window, running, waiting)
    with pytest.raises(ValueError, match="counts"):
        QuotaRule("server", 0, running=-1)
    with pytest.raises(ValueError, match="window"):
        QuotaRule("server", 0, window=-DAY)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("24h", DAY),
        ("7d", timedelta(days=7)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        (" 1 H 30 M ", timedelta(minutes=90)),
        ("2d12h", timedelta(hours=60)),
        ("1s", timedelta(seconds=1)),
        ("366d", timedelta(days=366)),
    ],
)
def test_a_window_is_read_as_people_write_it(text: str, window: timedelta) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "0h", "24", "h", "-1h", "1.5h", "30m1h", "367d", "1w", "٣h"])
def test_a_window_that_cannot_be_read_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="Write for example 90m, 24h, 7d or 1h30m"):
        parse_window(text)


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (DAY, "24h"),
        (2 * DAY, "2d"),
        (36 * HOUR, "36h"),
        (49 * HOUR, "2d1h"),
        (1.5 * HOUR, "1h30m"),
        (timedelta(seconds=61), "1m1s"),
        (timedelta(milliseconds=1), "0s"),
    ],
)
def test_a_window_is_shown_in_the_units_people_use(window: timedelta, text: str) -> None:
    assert format_window(window) == text


@pure
@given(st.integers(1, 366 * 86_400))
def test_what_is_shown_reads_back(seconds: int) -> None:
    window = timedelta(seconds=seconds)
    assert parse_window(format_window(window)) == window
