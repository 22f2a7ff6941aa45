"""What Details says about credits."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot.domain.job import new_job
from bot.domain.request import Author, Place, Request
from bot.engine.spending import Credits
from bot.surface.details import details

REQUEST = Request("a fox", 7, 20, 64, 64, 2, 3, "sd-2-1", Author(1, "Ada"), Place(2, 3))


@pytest.mark.parametrize(
    ("credits", "said"),
    [
        (None, None),
        (Credits(), None),
        (Credits(Decimal(100)), "at most 100 credits"),
        (Credits(Decimal(100), Decimal("42.44")), "42.44 credits"),
        (
            Credits(Decimal(100), Decimal("42.44"), Decimal("57.56")),
            "42.44 credits, 57.56 came back",
        ),
    ],
)
def test_details_tell_what_a_job_cost_where_computing_is_paid_for(
    credits: Credits | None, said: str | None
) -> None:
    card = details(
        new_job("abcdefghijklmnop", REQUEST, datetime(2026, 11, 23, tzinfo=UTC)), credits
    )
    assert next((field.value for field in card.fields if field.name == "Compute"), None) == said
