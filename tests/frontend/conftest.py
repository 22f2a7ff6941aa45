"""A playground for the surface's tests, checked against Discord's own document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.bootstrap import Application
from bot.playground.server import Playground
from bot.playground.state.world import World
from bot.settings import Settings
from tests.frontend.application import Bot, running
from tests.playground.clock import Clock
from tests.playground.schema import assert_valid_request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> World:
    return World(now=clock)


@pytest.fixture
async def playground(world: World) -> AsyncIterator[Playground]:
    """A playground on loopback; what it accepted must be what Discord's document describes."""
    playing = Playground(world)
    await playing.start()
    yield playing
    await playing.aclose()
    for call in playing.requests:
        if call.template and call.status and call.status < 300:
            assert_valid_request(call.method, call.path, call.body)


@pytest.fixture(autouse=True)
def discord_py_is_left_as_it_was() -> Iterator[None]:
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    yield
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "data": {"dir": tmp_path / "data"},
            "imagine": {"width": 64, "height": 64, "rows": 2, "samples": 2, "steps": 4},
            "queue": {"running": 2},
            "quota": {"images": 120},
            "backend": {"kind": "scripted", "scripted": {"speed": 0}},
        }
    )


@pytest.fixture
async def bot(playground: Playground, settings: Settings, clock: Clock) -> AsyncIterator[Bot]:
    """The bot as it is run, with every command."""
    async with running(playground, settings, clock) as started:
        yield started


@pytest.fixture
def engine(bot: Bot) -> Application:
    return bot.engine
