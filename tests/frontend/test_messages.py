"""Every failure is exactly one of three: not now, expired, refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.frontend.discord_errors import (
    DeliveryUnconfirmed,
    InteractionExpired,
    MessageNotFound,
    NotPermitted,
    ThreadArchived,
    map_discord_errors,
)

HTML = "<!DOCTYPE html><title>Access denied</title>"
HOOK = "/api/v10/webhooks/1/token/messages/@original"
CHANNEL = "/api/v10/channels/1/messages"


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """A server that answers with what the query asks for: the library's errors hold its answers."""

    async def answer(request: web.Request) -> web.Response:
        asked = request.query
        headers = {"Retry-After": asked["after"]} if "after" in asked else {}
        if "code" in asked:
            body = json.dumps({"code": int(asked["code"]), "message": "no"}).encode()
            return web.Response(
                body=body,
                content_type="application/json",
                status=int(asked["status"]),
                headers=headers,
            )
        return web.Response(
            text=HTML, content_type="text/html", status=int(asked["status"]), headers=headers
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    started = TestServer(app)
    await started.start_server()
    yield started
    await started.close()


ANSWERS: list[tuple[int, int | None, str, type[DeliveryError]]] = [
    # Not now: Discord's own trouble, in whatever form, and machines in between.
    *((status, 0, CHANNEL, DeliveryUnconfirmed) for status in (500, 502, 503, 504, 520, 524, 529)),
    *((status, None, HOOK, DeliveryUnconfirmed) for status in (500, 502, 503, 504, 521, 301, 302)),
    (503, 130000, CHANNEL, DeliveryUnconfirmed),
    (429, 0, CHANNEL, DeliveryUnconfirmed),
    (429, 30046, CHANNEL, DeliveryUnconfirmed),
    (429, None, CHANNEL, DeliveryUnconfirmed),
    (429, None, HOOK, DeliveryUnconfirmed),
    (401, None, CHANNEL, DeliveryUnconfirmed),
    (401, None, HOOK, DeliveryUnconfirmed),
    (401, 0, CHANNEL, DeliveryUnconfirmed),
    (403, None, CHANNEL, DeliveryUnconfirmed),
    (404, None, HOOK, DeliveryUnconfirmed),
    (400, None, CHANNEL, DeliveryUnconfirmed),
    (408, 0, CHANNEL, DeliveryUnconfirmed),
    (400, 20016, CHANNEL, DeliveryUnconfirmed),
    (403, 20028, CHANNEL, DeliveryUnconfirmed),
    (400, 40003, CHANNEL, DeliveryUnconfirmed),
    (403, 40333, CHANNEL, DeliveryUnconfirmed),
    # Expired: the token, not the bot.
    (401, 50027, HOOK, InteractionExpired),
    (404, 10015, HOOK, InteractionExpired),
    (404, 10062, HOOK, InteractionExpired),
    (401, 0, HOOK, InteractionExpired),
    # Refused, by Discord itself.
    (403, 50001, CHANNEL, NotPermitted),
    (403, 50013, CHANNEL, NotPermitted),
    (403, 50007, CHANNEL, NotPermitted),
    (400, 50083, CHANNEL, ThreadArchived),
    (404, 10003, CHANNEL, MessageNotFound),
    (404, 10008, HOOK, MessageNotFound),
    (404, 0, CHANNEL, MessageNotFound),
    (400, 50035, CHANNEL, DeliveryError),
    (400, 240000, HOOK, DeliveryError),
    (413, 40005, CHANNEL, DeliveryError),
    (413, None, CHANNEL, DeliveryError),
    (400, 0, CHANNEL, DeliveryError),
]


@pytest.mark.parametrize(("status", "code", "path", "kind"), ANSWERS)
async def test_an_answer_is_sorted_by_what_discord_says_in_it(
    server: TestServer, status: int, code: int | None, path: str, kind: type[DeliveryError]
) -> None:
    query = {"status": status} if code is None else {"status": status, "code": code}
    url = server.make_url(path).with_query(query)
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        body = await discord.http.json_or_text(answer)
        error: type[discord.HTTPException] = {
            403: discord.Forbidden,
            404: discord.NotFound,
        }.get(status, discord.DiscordServerError if status >= 500 else discord.HTTPException)
        with pytest.raises(DeliveryError) as raised, map_discord_errors():
            raise error(answer, body)
    assert isinstance(raised.value, kind)
    assert kind is not DeliveryError or not isinstance(
        raised.value, MessageNotFound | InteractionExpired
    )
    assert isinstance(raised.value, DeliveryUnavailable) == (kind is DeliveryUnconfirmed)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(("after", "seconds"), [("15", 15.0), ("0.5", 0.5), ("soon", 0.0)])
async def test_how_long_to_wait_is_taken_from_the_answer(
    server: TestServer, after: str, seconds: float
) -> None:
    url = server.make_url(CHANNEL).with_query({"status": 429, "after": after})
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        with pytest.raises(DeliveryUnconfirmed) as raised, map_discord_errors():
            raise discord.HTTPException(answer, HTML)
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset by peer"),
        BrokenPipeError(),
        TimeoutError(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ClientConnectionError("Connector is closed."),
        RuntimeError("Session is closed"),  # aiohttp's, while the bot is being stopped
        TypeError("string indices must be integers"),  # the library's, for a 429 that is HTML
        KeyError("retry_after"),
        ValueError("Expecting value: line 1 column 1"),
        AttributeError("'_MissingSentinel' object has no attribute 'request'"),
        discord.RateLimited(44.0),
        discord.InvalidData("strange"),
        discord.ClientException("closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_no_answer_is_not_now(error: Exception) -> None:
    with pytest.raises(DeliveryUnconfirmed) as raised, map_discord_errors():
        raise error
    assert raised.value.retry_after == (44.0 if isinstance(error, discord.RateLimited) else 0.0)


def test_what_is_sorted_already_stays_as_it_is() -> None:
    with pytest.raises(MessageNotFound), map_discord_errors():
        raise MessageNotFound("there is no card")
