from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from bot.store.serialization import parse_timestamp, to_timestamp
from tests.unit.store.builders import NOW, moments


@given(moments)
def test_a_moment_comes_back_to_the_microsecond(moment: datetime) -> None:
    assert parse_timestamp(to_timestamp(moment)) == moment
    assert parse_timestamp(to_timestamp(moment)).tzinfo is UTC


@given(moments, moments)
def test_texts_sort_as_their_moments_do(one: datetime, other: datetime) -> None:
    assert (to_timestamp(one) < to_timestamp(other)) == (one < other)
    assert len(to_timestamp(one)) == 32


def test_another_time_zone_is_written_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_timestamp(elsewhere) == to_timestamp(NOW) == "2025-03-01T12:00:00.000000+00:00"


def test_no_moment_is_no_text() -> None:
    assert to_timestamp(None) is None
    assert parse_timestamp(None) is None


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        to_timestamp(NOW.replace(tzinfo=None))
