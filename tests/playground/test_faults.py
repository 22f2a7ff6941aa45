"""Test injected faults, as discord.py and plain HTTP see them."""

from __future__ import annotations

import asyncio

import aiohttp
import discord
import httpx
import pytest

from bot.playground.server import Playground
from tests.playground.bots import Bot, running
from tests.playground.raw import calling, error

Reply = discord.Interaction[discord.Client]
SEND = r"/channels/\d+/messages$"


async def test_a_429_with_via_is_retried_and_without_is_an_error(playground: Playground) -> None:
    world = playground.world
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(world.channel("imagine").id)
        world.faults.rate_limit("POST", SEND, 0.01, times=2)
        await channel.send("patient")
        world.faults.rate_limit("POST", SEND, 0.01, is_global=True)
        await channel.send("patient again")
        world.faults.rate_limit("POST", SEND, 0.01, via=False)
        with pytest.raises(discord.HTTPException) as banned:
            await channel.send("impatient")
    assert banned.value.status == 429
    sends = [one.status for one in playground.requests if one.path.endswith("/messages")]
    assert sends == [429, 429, 200, 429, 200, 429]
    assert [one.content for one in world.messages_in("imagine")] == ["patient", "patient again"]


async def test_interaction_answers_are_retried_after_a_429_too(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def hello(interaction: Reply) -> None:
            await interaction.response.send_message("hello")

    playground.world.faults.rate_limit("*", "/callback$", 0.01)
    async with running(playground, set_up):
        message = await (await playground.as_member("Ada").slash("imagine", "hello")).answered()
    assert message.content == "hello"


async def test_errors_come_as_ordered_and_only_as_often(playground: Playground) -> None:
    world = playground.world
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(world.channel("imagine").id)
        world.faults.answer("POST", SEND, 503, message="away")
        world.faults.refuse("POST", SEND, 50013)
        with pytest.raises(discord.DiscordServerError):
            await channel.send("1")
        with pytest.raises(discord.Forbidden):
            await channel.send("2")
        await channel.send("3")
    assert [one.content for one in world.messages_in("imagine")] == ["3"]


async def test_an_answer_can_be_lost_after_the_deed(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        world.faults.answer("POST", SEND, 500, carried_out=True)
        assert (await api.post("imagine", content="done")).status_code == 500
        world.faults.drop("POST", SEND, carried_out=True)
        with pytest.raises(httpx.RemoteProtocolError):
            await api.post("imagine", content="done too")
        world.faults.drop("POST", SEND)
        with pytest.raises(httpx.RemoteProtocolError):
            await api.post("imagine", content="never")
    assert [one.content for one in world.messages_in("imagine")] == ["done", "done too"]


async def test_a_dropped_connection_is_an_error_in_discord_py(playground: Playground) -> None:
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(playground.world.channel("imagine").id)
        playground.world.faults.drop("POST", SEND)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await channel.send("hello")


async def test_a_gate_holds_a_call_or_its_answer(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        before = world.faults.hold("POST", SEND)
        call = asyncio.create_task(api.post("imagine", content="held"))
        await before.reached.wait()
        assert world.messages_in("imagine") == []
        before.open()
        assert (await call).status_code == 200
        after = world.faults.hold("POST", SEND, carried_out=True)
        call = asyncio.create_task(api.post("imagine", content="done"))
        await after.reached.wait()
        assert len(world.messages_in("imagine")) == 2
        assert not call.done()
        world.faults.clear()
        assert (await call).status_code == 200


async def test_who_calls_is_checked(playground: Playground) -> None:
    async with calling(playground) as api:
        api.client.headers["Authorization"] = "Bot wrong"
        assert error(await api.call("GET", "/users/@me")) == (401, 0)
        api.client.headers["User-Agent"] = "curl"
        assert error(await api.call("GET", "/users/@me")) == (403, 40333)
        assert (await api.call("GET", "/gateway")).json() == {"url": playground.gateway_url}
        assert error(await api.call("GET", "/nothing/here")) == (404, 0)
    assert playground.requests[-1].status == 404


async def test_every_reply_carries_rate_limit_headers_and_the_bare_content_type(
    playground: Playground,
) -> None:
    async with calling(playground) as api:
        for reply in (await api.call("GET", "/users/@me"), await api.post("imagine")):
            assert reply.headers["content-type"] == "application/json"
            assert int(reply.headers["x-ratelimit-remaining"]) > 0
            assert reply.headers["x-ratelimit-bucket"]
        playground.world.faults.rate_limit("GET", "/users/@me", 1.5, is_global=True)
        limited = await api.call("GET", "/users/@me")
    assert limited.json()["retry_after"] == 1.5
    assert limited.headers["x-ratelimit-global"] == "true"
    assert limited.headers["via"]


async def test_broken_bodies_are_refused(playground: Playground) -> None:
    world = playground.world
    url = f"{playground.api_base}/channels/{world.channel('imagine').id}/messages"
    async with calling(playground) as api:

        async def post(content: bytes, kind: str) -> tuple[int, int]:
            headers = {"Content-Type": kind}
            return error(await api.client.post(url, content=content, headers=headers))

        assert await post(b"{", "application/json") == (400, 50109)
        assert await post(b"\xff\xfe", "application/json") == (400, 50109)
        assert await post(b"a=b", "application/x-www-form-urlencoded") == (400, 50035)
        assert await post(b"[]", "application/json") == (400, 50035)
        parts = {"surprise": ("a.txt", b"x", "text/plain")}
        assert error(await api.client.post(url, files=parts)) == (400, 50035)
        nested = b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n"
        assert await post(nested, "multipart/form-data; boundary=x") == (400, 50035)
