from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from bot.store.moments import from_text, to_text
from tests.store.builders import NOW, moments


@given(moments)
def test_a_moment_comes_back_to_the_microsecond(moment: datetime) -> None:
    assert from_text(to_text(moment)) == moment
    assert from_text(to_text(moment)).tzinfo is UTC


@given(moments, moments)
def test_texts_sort_as_their_moments_do(one: datetime, other: datetime) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)
    assert len(to_text(one)) == 32


def test_another_time_zone_is_written_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_text(elsewhere) == to_text(NOW) == "2025-03-01T12:00:00.000000+00:00"


def test_no_moment_is_no_text() -> None:
    assert to_text(None) is None
    assert from_text(None) is None


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        to_text(NOW.replace(tzinfo=None))
