"""The client itself: what it registers and when, and that nobody is left without an answer."""

from __future__ import annotations

import json
import logging

import aiohttp
import discord
import pytest
from discord import app_commands

from bot.domain.errors import NotAllowed, RequestError
from bot.frontend.ack_latency import AckLatency
from bot.frontend.client import COMMAND_OUTDATED_MESSAGE, to_user_error
from bot.playground.server import Playground
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock


def puts(playground: Playground) -> list[str]:
    """The registrations of commands so far."""
    return [
        call.path
        for call in playground.requests
        if call.method == "PUT" and call.path.endswith("/commands")
    ]


def on_servers(settings: Settings, *guilds: int) -> Settings:
    section = settings.discord.model_copy(update={"guilds": guilds})
    return settings.model_copy(update={"discord": section})


async def test_commands_are_registered_once_and_not_at_every_start(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    for _ in range(2):
        async with running(playground, settings, clock):
            assert len(puts(playground)) == 1
    memory = settings.data.dir / "commands.json"
    assert list(json.loads(memory.read_text())) == [str(playground.world.application_id)]


async def test_changed_commands_are_registered_again(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock):
        pass
    imagine = settings.imagine.model_copy(update={"max_rows": 4})
    async with running(playground, settings.model_copy(update={"imagine": imagine}), clock):
        assert len(puts(playground)) == 2
    options = playground.world.command("imagine")["options"]
    assert next(one["max_value"] for one in options if one["name"] == "rows") == 4


@pytest.mark.parametrize("memory", ["{", "[]", '{"1": 2}'])
async def test_a_damaged_memory_costs_one_registration(
    playground: Playground, settings: Settings, clock: Clock, memory: str
) -> None:
    settings.data.dir.mkdir()
    (settings.data.dir / "commands.json").write_text(memory)
    async with running(playground, settings, clock):
        assert len(puts(playground)) == 1


async def test_a_memory_that_cannot_be_written_is_named_and_the_bot_goes_on(
    playground: Playground, settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data.dir.mkdir()
    # A folder in its place: nobody can write over that, not even root.
    (settings.data.dir / "commands.json").mkdir()
    for start in (1, 2):
        async with running(playground, settings, clock):
            assert len(puts(playground)) == start
    said = [one.getMessage() for one in caplog.records if "cannot write" in one.getMessage()]
    assert len(said) == 2
    assert "registered again at the next start" in said[0]
    assert not any("sign in" in one.getMessage() for one in caplog.records)


async def test_commands_move_from_everywhere_to_one_server_and_back(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock):
        pass
    guild = playground.world.guild_id
    async with running(playground, on_servers(settings, guild), clock) as bot:
        sync_file = playground.world.commands.all()
        assert {command.get("guild_id") for command in sync_file} == {str(guild)}
        assert (await bot.ask("help")).embeds
    assert len(puts(playground)) == 3
    async with running(playground, settings, clock):
        assert all("guild_id" not in command for command in playground.world.commands.all())


async def test_a_server_that_the_bot_is_not_on_does_not_keep_it_from_starting(
    playground: Playground,
    settings: Settings,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    guild = playground.world.guild_id
    playground.world.faults.refuse("PUT", "/guilds/12345/commands", 50001)
    async with running(playground, on_servers(settings, 12345, guild), clock) as bot:
        assert (await bot.ask("help")).embeds
    assert "invite the bot there" in caplog.text


async def test_a_server_that_the_bot_has_left_is_forgotten(
    playground: Playground, settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    guild = playground.world.guild_id
    async with running(playground, on_servers(settings, guild), clock):
        pass
    playground.world.faults.refuse("PUT", f"/guilds/{guild}/commands", 50001)
    for _ in range(2):
        async with running(playground, settings, clock):
            assert len(puts(playground)) == 3
    assert "cannot be registered" not in caplog.text


async def test_a_failing_command_apologises_and_logs_the_same_number(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    await bot.engine.database.aclose()
    used = await bot.member().slash("imagine", "quota")
    answer = await used.answered()
    assert answer.ephemeral
    assert f"give a moderator this number: {used.id}" in answer.content
    assert f"interaction {used.id} failed" in caplog.text


async def test_a_failing_button_apologises_too(bot: Bot) -> None:
    privacy = await bot.ask("privacy")
    await bot.engine.database.aclose()
    used = await bot.member().press(privacy, "Erase my data")
    assert f"this number: {used.id}" in (await used.answered()).content


async def test_a_command_that_is_not_there_any_more_is_explained(bot: Bot) -> None:
    for command in bot.client.tree.get_commands():
        if command.name == "styles":
            bot.client.tree.remove_command("styles")
    answer = await bot.ask("styles")
    assert answer.ephemeral
    assert answer.content == COMMAND_OUTDATED_MESSAGE


async def test_a_failing_suggestion_suggests_nothing(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    await bot.engine.database.aclose()
    assert await bot.member().autocomplete("imagine", "cancel", "what", "x") == []
    assert "nothing can be suggested" in caplog.text


def test_the_librarys_own_refusals_become_words() -> None:
    assert isinstance(to_user_error(app_commands.NoPrivateMessage()), NotAllowed)
    assert isinstance(to_user_error(app_commands.CheckFailure()), NotAllowed)
    odd = app_commands.TransformerError(
        "@nobody", discord.AppCommandOptionType.user, app_commands.Transformer()
    )
    assert "@nobody cannot be used here" in str(to_user_error(odd))
    assert isinstance(to_user_error(odd), RequestError)
    other = ValueError("a defect")
    assert to_user_error(other) is other


async def test_a_lost_answer_is_no_reason_to_fail(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    bot.playground.world.faults.refuse("POST", "/callback$", 10062)
    await bot.member().slash("imagine", "styles")
    await bot.playground.requested("POST", "/callback")
    assert "Styles" in said(await bot.ask("styles"))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_every_first_answer_is_timed(bot: Bot) -> None:
    await bot.ask("help")
    await bot.ask("cancel", what="nonsense")
    await bot.member().autocomplete("imagine", "show", "id", "")
    await bot.ask("help")  # when this is answered, the others are counted
    assert len(bot.observe_ack) >= 3
    assert all(0 < seconds < 3 for seconds in bot.observe_ack)


async def test_the_client_asks_for_nothing_privileged(bot: Bot) -> None:
    client = bot.client
    assert client.intents == discord.Intents(guilds=True)
    mentions = client.allowed_mentions
    assert mentions is not None
    allowed = (mentions.everyone, mentions.users, mentions.roles, mentions.replied_user)
    assert not any(allowed)


async def test_an_event_handlers_failure_is_logged_and_no_more(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_something() -> None:
        raise ValueError("a defect")

    bot.client.event(on_something)
    bot.client.dispatch("something")
    assert (await bot.ask("help")).embeds
    assert "handling on_something failed" in caplog.text
    assert not bot.connection.done()


async def test_a_slow_answer_is_logged_and_unanswered_ones_do_not_pile_up(
    playground: Playground, caplog: pytest.LogCaptureFixture
) -> None:
    moments = iter([0.0, 2.5])
    seen: list[float] = []
    acks = AckLatency(seen.append, clock=lambda: next(moments, 3.0))
    acks.start(7)
    async with aiohttp.ClientSession(trace_configs=[acks.trace_config()]) as session:
        for number in (7, 7, 8):
            playground.world.faults.answer("POST", "/callback$", 204)
            address = f"{playground.api_base}/interactions/{number}/token/callback"
            async with session.post(address, json={"type": 1}):
                pass
        async with session.get(playground.page_url):
            pass
    assert seen == [2.5]
    assert "interaction 7 was answered after 2.50 s" in caplog.text
    for number in range(1500):
        acks.start(number)
    assert acks.pending_count == 1000


async def test_being_told_to_slow_down_is_counted(playground: Playground) -> None:
    limits: list[int] = []
    acks = AckLatency(lambda _: None, lambda: limits.append(1), clock=lambda: 0.0)
    playground.world.faults.rate_limit("GET", "/users/@me$", 0.1)
    async with (
        aiohttp.ClientSession(trace_configs=[acks.trace_config()]) as session,
        session.get(f"{playground.api_base}/users/@me"),
    ):
        pass
    assert limits == [1]
