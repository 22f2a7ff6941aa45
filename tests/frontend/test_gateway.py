"""Staying connected: what is tried again, how soon, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.domain.errors import ConfigError
from bot.frontend.gateway import RECONNECT_DELAYS_S, STABLE_AFTER_S, discord_endpoints, run_client
from bot.playground.server import Playground
from tests.frontend.application import Bot
from tests.playground.bots import pointed_at


class Pauses:
    """Sleeps no time at all, and remembers for how long it was to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.enough = asyncio.Event()
        self.stop_after = 0

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.stop_after:
            self.enough.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class Fragile(discord.Client):
    """Breaks in the middle of parsing an event, as the library does on a malformed one."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
        self.breaks = 0
        self.signed_in = asyncio.Event()
        parse = self._connection.parsers["READY"]

        def parse_ready(data: object) -> None:
            if self.breaks:
                self.breaks -= 1
                raise KeyError("a key that Discord forgot")
            parse(data)

        self._connection.parsers["READY"] = parse_ready

    async def setup_hook(self) -> None:
        self.signed_in.set()


@asynccontextmanager
async def supervised(
    playground: Playground,
    client: discord.Client,
    pauses: Pauses,
    *,
    token: str = "",
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    with pointed_at(playground):
        task = asyncio.create_task(
            run_client(client, token or playground.token, sleep=pauses, clock=clock)
        )
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert client.is_closed()


async def test_an_event_that_cannot_be_parsed_ends_nothing_but_its_connection(
    playground: Playground, caplog: pytest.LogCaptureFixture
) -> None:
    client, pauses = Fragile(), Pauses()
    client.breaks = 3
    async with supervised(playground, client, pauses):
        await client.signed_in.wait()
        await client.wait_until_ready()
        assert pauses.slept == list(RECONNECT_DELAYS_S[:3])
        assert playground.gateway.online
    assert "the connection to Discord broke" in caplog.text


async def test_pauses_grow_to_the_longest_and_stay_there(playground: Playground) -> None:
    client, pauses = Fragile(), Pauses()
    client.breaks = 99
    pauses.stop_after = 7
    async with supervised(playground, client, pauses):
        await asyncio.wait_for(pauses.enough.wait(), 10)
    assert pauses.slept == [*RECONNECT_DELAYS_S, RECONNECT_DELAYS_S[-1], RECONNECT_DELAYS_S[-1]]
    assert 86_400 / RECONNECT_DELAYS_S[-1] < 1000


async def test_a_connection_that_held_for_long_starts_over_with_the_shortest_pause(
    playground: Playground,
) -> None:
    client, pauses = Fragile(), Pauses()
    client.breaks = 99
    pauses.stop_after = 4
    moments = iter(range(0, 10**9, int(STABLE_AFTER_S)))
    async with supervised(playground, client, pauses, clock=lambda: float(next(moments))):
        await asyncio.wait_for(pauses.enough.wait(), 10)
    assert pauses.slept == [RECONNECT_DELAYS_S[0]] * 4


async def test_a_wrong_token_is_a_configuration_error(playground: Playground) -> None:
    async with supervised(playground, Fragile(), Pauses(), token="a.b.c") as task:
        with pytest.raises(ConfigError) as caught:
            await task
    assert caught.value.location == "[discord] token"
    assert "Reset Token" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4004, "does not accept it"),
        (4011, "too many servers"),
        (4013, "does not know the intents"),
        (4014, "privileged intents"),
    ],
)
async def test_a_gateway_that_closes_for_good_is_not_tried_again(
    playground: Playground, code: int, words: str
) -> None:
    client, pauses = Fragile(), Pauses()
    async with supervised(playground, client, pauses) as task:
        await playground.online()
        await client.wait_until_ready()
        playground.gateway.disconnect(code)
        with pytest.raises(ConfigError, match=words):
            await task
    assert pauses.slept == []


async def test_an_outage_while_signing_in_is_waited_out(
    playground: Playground, caplog: pytest.LogCaptureFixture
) -> None:
    client, pauses = Fragile(), Pauses()
    playground.world.faults.answer("GET", "/users/@me$", 503, times=2)
    async with supervised(playground, client, pauses):
        await playground.online()
        await client.wait_until_ready()
    assert pauses.slept == list(RECONNECT_DELAYS_S[:2])
    assert "cannot sign in to Discord" in caplog.text


async def test_a_refusal_while_setting_up_is_a_configuration_error(playground: Playground) -> None:
    playground.world.faults.refuse("GET", "/oauth2/applications/@me$", 50001)
    async with supervised(playground, Fragile(), Pauses()) as task:
        with pytest.raises(ConfigError, match="refuses to set the bot up"):
            await task


async def test_a_dropped_connection_resumes_and_commands_go_on(bot: Bot) -> None:
    bot.playground.gateway.send_reconnect()
    await bot.playground.online()
    assert (await bot.ask("help")).embeds


def test_the_library_is_pointed_elsewhere_and_back() -> None:
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    with discord_endpoints("http://127.0.0.1:1/api/v10", "ws://127.0.0.1:1/gateway"):
        assert Route.BASE == "http://127.0.0.1:1/api/v10"
        assert yarl.URL("ws://127.0.0.1:1/gateway") == DiscordWebSocket.DEFAULT_GATEWAY
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)
    with discord_endpoints("https://discord.com/api/v10", "wss://gateway.discord.gg/"):
        assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


class Homeless(Fragile):
    """Cannot read a file of its own while it is set up, once."""

    async def setup_hook(self) -> None:
        if not self.breaks:
            self.breaks += 1
            raise PermissionError(13, "Permission denied", "/data/something")
        self.breaks = 0
        await super().setup_hook()


async def test_an_error_of_this_machine_is_not_said_to_be_discords(
    playground: Playground, caplog: pytest.LogCaptureFixture
) -> None:
    client = Homeless()
    async with supervised(playground, client, Pauses()):
        await playground.online()
    assert "cannot set the bot up ([Errno 13] Permission denied: '/data/something')" in caplog.text
    assert "sign in" not in caplog.text
