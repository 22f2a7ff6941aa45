"""What an error says about an attempt: refused for good, too late, or nobody knows."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest

from bot.frontend.discord_errors import RETRY_DELAYS_S, Attempt, Outcome, attempt, retry_unknown


def answer(status: int, code: int = 0) -> discord.HTTPException:
    """What the library raises for an answer of Discord, or (code 0) of something before it."""
    response: Any = SimpleNamespace(status=status, reason="", headers={})
    message: Any = {"code": code, "message": "no"} if code else "<html>no</html>"
    kinds = {403: discord.Forbidden, 404: discord.NotFound}
    return kinds.get(status, discord.HTTPException)(response, message)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (answer(400, 50035), Outcome.REFUSED),
        (answer(400, 240000), Outcome.REFUSED),
        (answer(403, 50013), Outcome.REFUSED),
        (answer(404, 10003), Outcome.REFUSED),
        (answer(413), Outcome.REFUSED),
        (answer(400, 40060), Outcome.ALREADY_ANSWERED),
        (answer(404, 10062), Outcome.EXPIRED),
        (answer(404, 10015), Outcome.EXPIRED),
        (answer(404, 10008), Outcome.EXPIRED),
        (answer(401, 50027), Outcome.EXPIRED),
        (answer(401, 1), Outcome.EXPIRED),
        (answer(401), Outcome.UNKNOWN),
        (answer(403), Outcome.UNKNOWN),
        (answer(404), Outcome.UNKNOWN),
        (answer(408), Outcome.UNKNOWN),
        (answer(429), Outcome.UNKNOWN),
        (answer(429, 20016), Outcome.UNKNOWN),
        (answer(400, 40062), Outcome.UNKNOWN),
        (answer(500), Outcome.UNKNOWN),
        (answer(503, 130000), Outcome.UNKNOWN),
        (discord.RateLimited(3.0), Outcome.UNKNOWN),
        (discord.ClientException("a defect of the call"), Outcome.REFUSED),
        (aiohttp.ServerDisconnectedError(), Outcome.UNKNOWN),
        (ConnectionResetError(), Outcome.UNKNOWN),
        (TimeoutError(), Outcome.UNKNOWN),
        (RuntimeError("Session is closed"), Outcome.UNKNOWN),
    ],
    ids=repr,
)
async def test_every_error_is_sorted(error: Exception, outcome: Outcome) -> None:
    async def fail() -> None:
        raise error

    made: Attempt[None] = await attempt(fail)

    assert (made.outcome, made.error) == (outcome, error)


async def test_a_defect_is_not_taken_for_an_answer() -> None:
    async def fail() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await attempt(fail)


async def test_only_what_nobody_knows_is_tried_again_and_not_for_ever() -> None:
    pauses: list[float] = []
    errors = [answer(500), answer(429), answer(400, 50035)]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def fail() -> None:
        raise errors.pop(0)

    assert (await retry_unknown(fail, pause)).outcome is Outcome.REFUSED
    assert pauses == [*RETRY_DELAYS_S[:2]]

    errors += [answer(500)] * 9
    assert (await retry_unknown(fail, pause)).outcome is Outcome.UNKNOWN
    assert len(errors) == 9 - 1 - len(RETRY_DELAYS_S)


async def test_an_attempt_that_takes_too_long_is_let_go() -> None:
    made: Attempt[bool] = await attempt(asyncio.Event().wait, seconds=0.01)

    assert made.outcome is Outcome.UNKNOWN
