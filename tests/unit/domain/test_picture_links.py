"""Links of the picture server: who can make them, how long they last, and what they show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.events import Delivered
from bot.domain.image_check import ImageOutcome
from bot.domain.job import JobState, new_job
from bot.domain.picture_links import (
    Access,
    PictureLink,
    ServingFacts,
    decide_access,
    expiry,
    file_names,
    read_link,
    sign_link,
)
from tests.unit.domain.job_factories import COLLECTING, DELIVERING, NOW, REQUEST, RUNNING, after

KEY = b"k" * 32
LINK = PictureLink("a" * 16, 2, 1_800_000_000)
FINISHED = after(*DELIVERING, Delivered("channel"))


@given(
    st.from_regex(r"[a-z2-7]{16}", fullmatch=True),
    st.integers(0, 2**16),
    st.integers(0, 2**36),
)
def test_a_signed_link_is_read_again(job_id: str, generation: int, expires: int) -> None:
    link = PictureLink(job_id, generation, expires)
    token = sign_link(KEY, link)
    assert read_link(KEY, token) == link
    assert read_link(b"x" * 32, token) is None
    assert len(token) < 80


@pytest.mark.parametrize("position", range(len(sign_link(KEY, LINK))))
def test_no_character_of_a_token_can_be_changed(position: int) -> None:
    token = sign_link(KEY, LINK)
    other = "b" if token[position] != "b" else "c"
    assert read_link(KEY, token[:position] + other + token[position + 1 :]) is None


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "...", "a" * 16, f"{'a' * 16}.0.0.", f"{'a' * 16}.0.0.{'A' * 31}"),
        *(f"{'a' * 16}.0.0.{'A' * 33}", f"{'a' * 16}.0.0.{'A' * 32}", "a.0.0." + "é" * 32),
        *(sign_link(KEY, LINK) + "\n", sign_link(KEY, LINK).upper(), "../" + sign_link(KEY, LINK)),
        f"{'a' * 16}.0.00.{'A' * 32}",
    ],
)
def test_what_was_never_signed_is_no_link(token: str) -> None:
    assert read_link(KEY, token) is None


@pytest.mark.parametrize(
    ("ends", "expires"),
    [
        (None, 0),
        (datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC).timestamp()),
        (
            datetime(2026, 11, 28, 0, 0, 1, tzinfo=UTC),
            datetime(2026, 11, 29, tzinfo=UTC).timestamp(),
        ),
        (
            datetime(2026, 11, 28, 23, 59, tzinfo=UTC),
            datetime(2026, 11, 29, tzinfo=UTC).timestamp(),
        ),
    ],
)
def test_a_link_lasts_at_least_as_long_as_asked_for(ends: datetime | None, expires: float) -> None:
    assert expiry(ends) == expires
    link = PictureLink("a" * 16, 0, expiry(ends))
    if ends is not None:
        assert not link.is_expired(ends - timedelta(seconds=1))
        assert link.is_expired(ends + timedelta(days=1, seconds=1))
    else:
        assert not link.is_expired(datetime(2100, 1, 1, tzinfo=UTC))


FACTS = ServingFacts(FINISHED)


@pytest.mark.parametrize(
    ("facts", "link", "access"),
    [
        (FACTS, PictureLink("a" * 16), Access.ALLOWED),
        (ServingFacts(after(*DELIVERING)), PictureLink("a" * 16), Access.ALLOWED),
        (None, PictureLink("a" * 16), Access.UNKNOWN),
        (ServingFacts(new_job("a" * 16, REQUEST, NOW)), PictureLink("a" * 16), Access.UNKNOWN),
        (ServingFacts(after(*RUNNING)), PictureLink("a" * 16), Access.UNKNOWN),
        (ServingFacts(after(*COLLECTING)), PictureLink("a" * 16), Access.UNKNOWN),
        *(
            (ServingFacts(replace(FINISHED, state=state)), PictureLink("a" * 16), Access.UNKNOWN)
            for state in (JobState.FAILED, JobState.CANCELLED)
        ),
        (replace(FACTS, held=True), PictureLink("a" * 16), Access.UNKNOWN),
        (
            ServingFacts(replace(after(*DELIVERING), image_check=ImageOutcome.HELD)),
            PictureLink("a" * 16),
            Access.UNKNOWN,
        ),
        (replace(FACTS, removed=True), PictureLink("a" * 16), Access.GONE),
        (replace(FACTS, erased=True), PictureLink("a" * 16), Access.GONE),
        (replace(FACTS, held=True, erased=True), PictureLink("a" * 16), Access.GONE),
        (FACTS, PictureLink("a" * 16, 0, int(NOW.timestamp())), Access.GONE),
        (FACTS, PictureLink("a" * 16, 0, int(NOW.timestamp()) + 1), Access.ALLOWED),
        (FACTS, PictureLink("a" * 16, 1), Access.GONE),
        (replace(FACTS, generation=1), PictureLink("a" * 16), Access.GONE),
        (replace(FACTS, generation=1), PictureLink("a" * 16, 1), Access.ALLOWED),
    ],
)
def test_only_what_was_posted_and_still_stands_is_shown(
    facts: ServingFacts | None, link: PictureLink, access: Access
) -> None:
    assert decide_access(link, facts, NOW) is access


def test_only_the_grid_and_the_rows_that_were_made_are_files() -> None:
    assert file_names(FINISHED) == ("grid.png", "row-01.png")
