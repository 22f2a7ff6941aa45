"""Test the gateway: identify, resume, replay, dropped and repeated events, close codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import discord
import pytest

from bot.playground.client.command_options import ClientError
from bot.playground.server import Playground
from tests.playground.bots import Bot, pointed_at, running
from tests.playground.clock import Clock

Reply = discord.Interaction[discord.Client]


def counting(seen: list[int]) -> Any:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def count(interaction: Reply) -> None:
            seen.append(interaction.id)
            with contextlib.suppress(discord.HTTPException):
                await interaction.response.send_message("counted")

    return set_up


async def test_a_resume_replays_what_happened_meanwhile(playground: Playground) -> None:
    seen: list[int] = []
    ada = playground.as_member("Ada")
    async with running(playground, counting(seen)) as bot:
        playground.gateway.disconnect()
        assert not playground.gateway.online
        missed = await ada.slash("imagine", "count")
        await missed.answered()
        await bot.hears("RESUMED")
    assert seen == [missed.id]
    assert (playground.gateway.identifies, playground.gateway.resumes) == (1, 1)


async def test_op_7_makes_the_bot_resume(playground: Playground) -> None:
    async with running(playground) as bot:
        playground.gateway.send_reconnect()
        await bot.hears("RESUMED")
    assert playground.gateway.identifies == 1


async def test_op_9_makes_the_bot_resume_or_identify_anew(playground: Playground) -> None:
    async with running(playground) as bot:
        playground.gateway.invalidate(resumable=True)
        await bot.hears("RESUMED")
        playground.gateway.invalidate(resumable=False)
        await bot.hears("READY", times=2)
        assert (playground.gateway.identifies, playground.gateway.resumes) == (2, 1)


async def test_an_interaction_can_arrive_twice_or_never(
    playground: Playground, clock: Clock
) -> None:
    seen: list[int] = []
    ada = playground.as_member("Ada")
    async with running(playground, counting(seen)):
        used = await ada.slash("imagine", "count")
        await used.answered()
        playground.gateway.replay_last_interaction()
        await playground.requested("POST", "/callback", 2)
        playground.gateway.drop_events()
        lost = await ada.slash("imagine", "count")
        clock.pass_time(seconds=4)
        playground.world.expire_unanswered()
    answers = [one.reply for one in playground.requests if one.path.endswith("/callback")]
    assert answers[1]["code"] == 40060
    assert seen == [used.id, used.id]
    assert lost.failed
    assert len(playground.world.messages_in("imagine")) == 1


async def test_interactions_arrive_without_any_intent(playground: Playground) -> None:
    seen: list[int] = []
    async with running(playground, counting(seen), discord.Intents.none()) as bot:
        await (await playground.as_member("Ada").slash("imagine", "count")).answered()
        await playground.as_member("Ben").say("imagine", "unheard")
        playground.world.add_channel("unseen")
    assert bot.heard == ["READY", "INTERACTION_CREATE"]


async def test_what_people_write_is_blank_without_the_privileged_intent(
    playground: Playground,
) -> None:
    read: asyncio.Queue[str] = asyncio.Queue()

    def listening(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            await read.put(message.content)

    ben = playground.as_member("Ben")
    intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
    async with running(playground, listening, intents):
        await ben.say("imagine", "secret")
        await ben.say("imagine", f"hello <@{playground.world.application_id}>")
        await ben.say(playground.world.direct_channel("Ben"), "between us")
        async with asyncio.timeout(10):
            blank, mentioning, direct = [await read.get() for _ in range(3)]
        with pytest.raises(ClientError):
            await ben.say("imagine", " ")
    assert blank == ""
    assert mentioning.startswith("hello")
    assert direct == "between us"


async def test_channels_and_threads_are_followed_with_the_guilds_intent(
    playground: Playground,
) -> None:
    world = playground.world
    async with running(playground) as bot:
        guild = bot.get_guild(world.guild_id)
        assert guild is not None
        assert {one.name for one in guild.text_channels} >= {"imagine", "gallery", "after-dark"}
        world.add_channel("new")
        world.message_board.open_thread(world.channel("imagine"), world.bot, "talk")
        await bot.hears("THREAD_CREATE")
        assert guild.threads[0].name == "talk"
        world.delete_channel("new")
        await bot.hears("CHANNEL_DELETE")
        assert "new" not in {one.name for one in guild.text_channels}


async def test_a_bot_that_is_thrown_out_notices(playground: Playground) -> None:
    world = playground.world
    async with running(playground) as bot:
        world.remove_member(world.bot)
        await bot.hears("GUILD_DELETE")
        assert list(bot.guilds) == []
        with pytest.raises(discord.Forbidden):
            await bot.get_partial_messageable(world.channel("imagine").id).send("still here?")
    async with running(playground) as again:
        assert again.heard == ["READY"]


async def test_a_wrong_token_is_refused_at_login(playground: Playground) -> None:
    with pointed_at(playground):
        client = discord.Client(intents=discord.Intents.none())
        with pytest.raises(discord.LoginFailure):
            await client.start("not-the-token")
        await client.close()


async def test_privileged_intents_must_have_been_allowed(playground: Playground) -> None:
    intents = discord.Intents(guilds=True, members=True)
    with pointed_at(playground):
        client = discord.Client(intents=intents)
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await client.start(playground.token)
        await client.close()
    playground.world.privileged_intents = 1 << 1
    async with running(playground, intents=intents) as bot:
        guild = bot.get_guild(playground.world.guild_id)
        assert guild is not None
        assert guild.get_member_named("ben") is not None
        playground.world.remove_member("Ben")
        await bot.hears("GUILD_MEMBER_REMOVE")


async def test_sharded_clients_ask_for_the_gateway_first(playground: Playground) -> None:
    with pointed_at(playground):
        client = discord.AutoShardedClient(
            intents=discord.Intents(guilds=True), guild_ready_timeout=0.1
        )
        task = asyncio.create_task(client.start(playground.token))
        await playground.online()
        await client.wait_until_ready()
        assert client.shard_count == 1
        await client.close()
        await task
    assert any(one.path == "/gateway/bot" for one in playground.requests)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"op": 2, "d": {"token": "wrong", "intents": 0}}], 4004),
        ([{"op": 2, "d": {"token": "TOKEN"}}], 4002),
        ([{"op": 2, "d": {"token": "TOKEN", "intents": 1 << 40}}], 4013),
        ([{"op": 2, "d": {"token": "TOKEN", "intents": 1 << 15}}], 4014),
        ([{"op": 2, "d": {"token": "TOKEN", "intents": 0}}] * 2, 4005),
        ([{"op": 3, "d": {}}], 4003),
        ([{"op": 99, "d": {}}], 4001),
        (["{"], 4002),
        ([{"d": 1}], 4002),
        ([b"\x00"], 4002),
    ],
)
async def test_bad_frames_end_with_discords_close_codes(
    playground: Playground, frames: list[Any], code: int
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(playground.gateway_url) as socket,
    ):
        assert (await socket.receive_json())["op"] == 10
        for frame in frames:
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            else:
                text = frame if isinstance(frame, str) else json.dumps(frame)
                await socket.send_str(text.replace("TOKEN", playground.token))
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert socket.close_code == code


@pytest.mark.parametrize(
    "change", [{"token": "no"}, {"session_id": "no"}, {"seq": 99}, {"seq": None}]
)
async def test_a_resume_of_something_else_is_invalid(
    playground: Playground, change: dict[str, object]
) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(playground.gateway_url) as socket:
            await socket.receive_json()
            await socket.send_json({"op": 1, "d": None})
            assert (await socket.receive_json())["op"] == 11
            identify = {"token": playground.token, "intents": 0, "shard": [0, 1]}
            await socket.send_json({"op": 2, "d": identify})
            ready = await socket.receive_json()
            assert ready["d"]["shard"] == [0, 1]
            await socket.close(code=4000)
        resume = {"token": playground.token, "session_id": ready["d"]["session_id"], "seq": 1}
        async with session.ws_connect(playground.gateway_url) as socket:
            await socket.receive_json()
            await socket.send_json({"op": 6, "d": resume | change})
            assert await socket.receive_json() == {"op": 9, "d": False}
        async with session.ws_connect(playground.gateway_url) as socket:
            await socket.receive_json()
            await socket.send_json({"op": 6, "d": resume})
            assert (await socket.receive_json())["t"] == "RESUMED"
            await socket.close(code=1000)
        await playground.until(lambda _: not playground.gateway.sessions)
