from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.playground.server import Playground
from bot.playground.state.world import World
from tests.playground.clock import Clock
from tests.playground.schema import assert_valid_request, assert_valid_response


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> World:
    return World(now=clock)


@pytest.fixture
async def playground(world: World) -> AsyncIterator[Playground]:
    """Yield a playground; every call of the test is validated by Discord's document.

    Requests are checked only where they were accepted: the negative controls send rubbish.
    """
    playing = Playground(world)
    await playing.start()
    yield playing
    await playing.aclose()
    for call in playing.requests:
        if call.template and call.status:
            if call.status < 300:
                assert_valid_request(call.method, call.path, call.body)
            # A proxy's page is text; Discord's document knows only Discord's own answers.
            if not isinstance(call.reply, str):
                assert_valid_response(call.method, call.path, call.status, call.reply)


@pytest.fixture(autouse=True)
def discord_py_is_left_as_it_was() -> Iterator[None]:
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    yield
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)
