"""Two presses that are one wish, and presses that are two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.frontend.context import DOUBLE_CLICK, DoubleClickGuard

AT = datetime(2026, 11, 23, tzinfo=UTC)
MOMENT = timedelta(milliseconds=200)


def test_the_second_half_of_a_double_click_is_told_from_a_second_request() -> None:
    clicks = DoubleClickGuard()
    assert not clicks.is_repeat(1, 2, "again", AT)
    assert clicks.is_repeat(1, 2, "again", AT + MOMENT)
    assert not clicks.is_repeat(1, 2, "again", AT + MOMENT + DOUBLE_CLICK)


def test_whoever_hammers_a_button_has_one_request() -> None:
    clicks = DoubleClickGuard()
    found = [clicks.is_repeat(1, 2, "again", AT + number * MOMENT) for number in range(20)]
    assert found == [False] + [True] * 19


def test_another_person_message_or_button_is_another_request() -> None:
    clicks = DoubleClickGuard()
    button_clicks = [(1, 2, "again"), (9, 2, "again"), (1, 9, "again"), (1, 2, "other")]
    assert not any(clicks.is_repeat(*click, AT) for click in button_clicks)


def test_an_earlier_click_may_arrive_later() -> None:
    clicks = DoubleClickGuard()
    clicks.is_repeat(1, 2, "again", AT + MOMENT)
    assert clicks.is_repeat(1, 2, "again", AT)


def test_only_so_many_clicks_are_remembered() -> None:
    clicks = DoubleClickGuard()
    clicks.is_repeat(1, 0, "again", AT)
    for message in range(1, 2000):
        assert not clicks.is_repeat(1, message, "again", AT)
    assert not clicks.is_repeat(1, 0, "again", AT)
