"""A playground, the journal of the scenario, and what has to hold at the end of each of them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from bot.playground.server import Playground
from bot.playground.state.world import World
from tests.playground.clock import Clock
from tests.playground.schema import assert_valid_request
from tests.scenarios.harness import Harness, open_harness
from tests.scenarios.log_capture import Journal, listening

Opener = Callable[..., AbstractAsyncContextManager[Harness]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def playground(clock: Clock) -> AsyncIterator[Playground]:
    """A playground on loopback; what it accepted must be what Discord's document describes."""
    playing = Playground(World(now=clock))
    await playing.start()
    yield playing
    await playing.aclose()
    for call in playing.requests:
        if call.template and call.status and call.status < 300:
            assert_valid_request(call.method, call.path, call.body)


@pytest.fixture(autouse=True)
def journal(playground: Playground) -> Iterator[Journal]:
    """Everything that is logged. No secret may be in it, or in what the bot said in Discord."""
    kept, handlers = listening(playground.token)
    root = logging.getLogger()
    level = root.level
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)
    secrets = [playground.token, *(one.token for one in playground.world.interactions.all())]
    assert kept.leaks(secrets) == []
    said = [json.dumps(call.body) for call in playground.requests]
    assert [body for body in said if any(secret in body for secret in secrets)] == []
    assert kept.errors() == []


@pytest.fixture
def open_bot(playground: Playground, tmp_path: Path, clock: Clock) -> Opener:
    """Opens the whole bot; sections of its settings are arguments."""

    def opened(**sections: dict[str, Any]) -> AbstractAsyncContextManager[Harness]:
        return open_harness(playground, tmp_path, clock, **sections)

    return opened


@pytest.fixture
async def harness(open_bot: Opener) -> AsyncIterator[Harness]:
    """The whole bot with two slots and machines that need no time."""
    async with open_bot() as opened:
        yield opened
