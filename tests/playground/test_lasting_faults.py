"""Test faults that last: outages, proxies' pages, file sizes, permissions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import discord
import httpx
import pytest

from bot.playground.rest.faults import FOREVER, Fault, Faults
from bot.playground.server import Playground
from bot.playground.state.world import World
from tests.playground.bots import running
from tests.playground.clock import Clock
from tests.playground.raw import Api, calling, error

SEND = r"/channels/\d+/messages$"
Start = Callable[[Faults, float | None], Fault]
Change = Callable[[World], None]

LASTING: dict[str, tuple[Start, int | None]] = {
    "dropped": (lambda faults, s: faults.drop("*", "", seconds=s), None),
    "500": (lambda faults, s: faults.answer("*", "", 500, page="", seconds=s), 500),
    "502": (lambda faults, s: faults.answer("*", "", 502, page="<p>bad", seconds=s), 502),
    "503": (lambda faults, s: faults.answer("*", "", 503, page="<p>away", seconds=s), 503),
    "504": (lambda faults, s: faults.answer("*", "", 504, page="<p>late", seconds=s), 504),
    "429 of Discord": (lambda faults, s: faults.rate_limit("*", "", 5, seconds=s), 429),
    "429 of Cloudflare": (
        lambda faults, s: faults.rate_limit("*", "", 5, seconds=s, via=False),
        429,
    ),
    "refused": (lambda faults, s: faults.refuse("*", "", 50013, seconds=s), 403),
}
CALLS: dict[str, Callable[[Api], Awaitable[httpx.Response]]] = {
    "a message": lambda api: api.post("imagine", content="hello"),
    "an edit": lambda api: api.original(api.press(), body={"content": "x"}),
    "a first answer": lambda api: api.respond(api.press(), {"type": 5}),
    "a question": lambda api: api.call("GET", "/users/@me"),
}


async def status_of(api: Api, place: str) -> int | None:
    """Return the status of a response, or None if there was none."""
    try:
        reply = await CALLS[place](api)
    except httpx.TransportError:
        return None
    return reply.status_code


async def gateway_status(playground: Playground) -> int | None:
    """Return the gateway's status for a new connection: 101, an error, or None."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(playground.gateway_url):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        except aiohttp.ClientError:
            return None


@pytest.mark.parametrize("name", LASTING)
async def test_a_lasting_fault_spoils_everything_until_its_time_is_up(
    playground: Playground, clock: Clock, name: str
) -> None:
    start, status = LASTING[name]
    async with calling(playground) as api:
        fault = start(playground.world.faults, 10)
        for _ in range(2):
            assert {await status_of(api, place) for place in CALLS} == {status}
            assert await gateway_status(playground) == status
            clock.pass_time(seconds=4)
        clock.pass_time(seconds=2)
        assert not playground.world.faults.is_active(fault)
        assert await status_of(api, "a message") == 200
        assert await gateway_status(playground) == 101


@pytest.mark.parametrize("name", LASTING)
async def test_a_fault_without_an_end_lasts_until_it_is_removed(
    playground: Playground, clock: Clock, name: str
) -> None:
    start, status = LASTING[name]
    async with calling(playground) as api:
        fault = start(playground.world.faults, FOREVER)
        clock.pass_time(days=400)
        assert await status_of(api, "a message") == status
        playground.world.faults.remove(fault)
        playground.world.faults.remove(fault)
        assert await status_of(api, "a message") == 200


async def test_proxies_answer_with_pages_and_without_discords_headers(
    playground: Playground,
) -> None:
    async with calling(playground) as api:
        playground.world.faults.rate_limit("*", "", 7, via=False)
        banned = await api.post("imagine", content="x")
        playground.world.faults.answer("*", "", 503, page="")
        empty = await api.post("imagine", content="x")
    assert banned.headers["content-type"].startswith("text/html")
    assert banned.headers["retry-after"] == "7"
    assert "via" not in banned.headers
    assert not any(name.startswith("x-ratelimit") for name in banned.headers)
    assert empty.content == b""


async def test_an_outage_breaks_open_connections_and_the_bot_comes_back(
    playground: Playground, clock: Clock
) -> None:
    world = playground.world
    async with running(playground) as bot:
        world.faults.away(60)
        await playground.until(lambda _: not playground.gateway.online)
        channel = bot.get_partial_messageable(world.channel("imagine").id)
        with pytest.raises(aiohttp.ClientError):
            await channel.send("hello")
        clock.pass_time(seconds=60)
        await playground.online(within=30)
        await channel.send("back")
    assert [one.content for one in world.messages_in("imagine")] == ["back"]


@pytest.mark.parametrize("carried_out", [False, True])
async def test_no_answer_lasts_until_the_client_gives_up(
    playground: Playground, carried_out: bool
) -> None:
    world = playground.world
    async with calling(playground) as api:
        fault = world.faults.no_answer("POST", SEND, carried_out=carried_out)
        call = asyncio.create_task(api.post("imagine", content="x"))
        assert fault.gate is not None
        await fault.gate.reached.wait()
        assert not call.done()
        world.faults.remove(fault)
        with pytest.raises(httpx.TransportError):
            await call
    assert len(world.messages_in("imagine")) == int(carried_out)


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize("everywhere", [False, True])
async def test_files_over_a_size_are_refused_in_one_place_or_everywhere(
    playground: Playground, page: bool, everywhere: bool
) -> None:
    world = playground.world
    place = f"/channels/{world.channel('imagine').id}/"
    async with calling(playground) as api:

        async def send(channel: str, size: int) -> httpx.Response:
            path = f"/channels/{world.channel(channel).id}/messages"
            return await api.call("POST", path, {"content": "x"}, [("a.png", b"x" * size)])

        fault = world.faults.limit_files(100, "" if everywhere else place, page=page)
        assert (await send("imagine", 100)).status_code == 200
        refused = await send("imagine", 101)
        assert (await send("gallery", 101)).status_code == (413 if everywhere else 200)
        assert refused.status_code == 413
        if page:
            assert refused.headers["content-type"].startswith("text/html")
        else:
            assert error(refused) == (413, 40005)
        world.faults.remove(fault)
        assert (await send("imagine", 101)).status_code == 200


async def test_only_the_next_call_with_a_file_is_cut(playground: Playground) -> None:
    world = playground.world
    path = f"/channels/{world.channel('imagine').id}/messages"
    async with calling(playground) as api:
        fault = world.faults.drop("*", "", over_bytes=0)
        assert (await api.post("imagine", content="a card")).status_code == 200
        with pytest.raises(httpx.TransportError):
            await api.call("POST", path, {}, [("a.png", b"x")])
        assert not world.faults.is_active(fault)
        assert (await api.call("POST", path, {}, [("a.png", b"x")])).status_code == 200


def lock(world: World) -> None:
    world.set_thread("stories", locked=True)


def unlock(world: World) -> None:
    world.set_thread("stories", locked=False)


TAKEN: dict[str, tuple[str, Change, Change, tuple[int, int]]] = {
    "a permission": (
        "imagine",
        lambda world: world.add_deny_overwrite("imagine", "SEND_MESSAGES"),
        lambda world: world.restore("imagine"),
        (403, 50013),
    ),
    "the membership": (
        "imagine",
        lambda world: world.kick_bot(),
        lambda world: world.invite_bot(),
        (403, 50001),
    ),
    "a thread": ("stories", lock, unlock, (400, 50083)),
    "direct messages": (
        "",
        lambda world: world.set_direct_messages("Ada", accepted=False),
        lambda world: world.set_direct_messages("Ada", accepted=True),
        (403, 50007),
    ),
}


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_taken_from_the_bot_can_be_given_back(
    playground: Playground, name: str
) -> None:
    world = playground.world
    channel, take, undo_denial, expected = TAKEN[name]
    world.message_board.open_thread(world.channel("imagine"), world.user("Ada"), "stories")
    place = world.channel(channel) if channel else world.direct_channel("Ada")
    async with calling(playground) as api:
        assert (await api.post(place, content="x")).status_code == 200
        for _ in range(2):
            take(world)
        assert error(await api.post(place, content="x")) == expected
        for _ in range(2):
            undo_denial(world)
        assert (await api.post(place, content="x")).status_code == 200


async def test_the_bot_hears_that_it_is_off_the_server_and_back(playground: Playground) -> None:
    world = playground.world
    async with running(playground) as bot:
        world.kick_bot()
        await bot.hears("GUILD_DELETE")
        assert list(bot.guilds) == []
        world.invite_bot()
        await bot.hears("GUILD_CREATE", 2)
        guild = bot.get_guild(world.guild_id)
        assert guild is not None
        assert guild.me.guild_permissions.attach_files
        world.delete_channel("gallery")
        await bot.hears("CHANNEL_DELETE")
        with pytest.raises(discord.NotFound):
            await bot.fetch_channel(world.guild_id)


async def test_an_archived_thread_opens_when_somebody_writes(playground: Playground) -> None:
    world = playground.world
    thread = world.message_board.open_thread(world.channel("imagine"), world.bot, "stories")
    world.set_thread("stories", archived=True)
    async with calling(playground) as api:
        assert (await api.post(thread, content="x")).status_code == 200
    assert thread.thread is not None
    assert not thread.thread.archived
