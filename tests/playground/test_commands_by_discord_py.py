"""Test every type of response to a command with a real discord.py client."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands

from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import ResponseTimeout
from bot.playground.server import Playground
from tests.playground.bots import Bot, picture, png, running
from tests.playground.clock import Clock

Reply = discord.Interaction[discord.Client]


async def test_a_deferred_answer_is_edited_with_a_file_and_followed_up(
    playground: Playground,
) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def slow(interaction: Reply) -> None:
            await interaction.response.defer()
            shown = await interaction.edit_original_response(
                content="done", attachments=[picture(description="a red square")]
            )
            assert shown.attachments[0].width == 64
            await interaction.followup.send("only you", ephemeral=True)
            more = await interaction.followup.send("for all", wait=True)
            await more.edit(content="for all, edited")

    ada, ben = playground.as_member("Ada"), playground.as_member("Ben")
    async with running(playground, set_up):
        used = await ada.slash("imagine", "slow")
        answer = await used.answered()
        private, public = await used.followed_up(2)
        await playground.until(lambda _: public.edited_at)
    assert (answer.content, answer.edited_at) == ("done", None)
    assert answer.attachments[0].content == png()
    assert answer.attachments[0].description == "a red square"
    assert private.ephemeral_for == ada.id
    assert private in ada.messages("imagine")
    assert private not in ben.messages("imagine")
    assert public.content == "for all, edited"


async def test_a_deferred_ephemeral_answer_stays_ephemeral(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def quiet(interaction: Reply) -> None:
            await interaction.response.defer(ephemeral=True)
            await interaction.followup.send("psst")

    async with running(playground, set_up):
        used = await playground.as_member("Ada").slash("imagine", "quiet")
        message = await used.answered()
    assert (message.content, message.ephemeral) == ("psst", True)
    assert used.followups == []


async def test_an_answer_is_fetched_and_deleted(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def brief(interaction: Reply) -> None:
            await interaction.response.send_message("soon gone")
            fetched = await interaction.original_response()
            assert fetched.content == "soon gone"
            await interaction.delete_original_response()

    async with running(playground, set_up):
        used = await playground.as_member("Ada").slash("imagine", "brief")
        await used.acked()
        await playground.until(lambda world: not world.messages_in("imagine"))
        assert used.response is None


async def test_subcommands_in_groups_arrive(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        group = app_commands.Group(name="quota-admin", description="quotas")
        inner = app_commands.Group(name="role", description="roles", parent=group)

        @group.command(name="set")
        async def set_quota(interaction: Reply, images: int) -> None:
            await interaction.response.send_message(f"set {images}")

        @inner.command(name="drop")
        async def drop(interaction: Reply) -> None:
            await interaction.response.send_message("dropped")

        bot.tree.add_command(group)

    mo = playground.as_member("Mo")
    async with running(playground, set_up):
        first = await (await mo.slash("imagine", "quota-admin set", images=3)).answered()
        second = await (await mo.slash("imagine", "quota-admin role drop")).answered()
        with pytest.raises(ClientError, match="Choose one of"):
            await mo.slash("imagine", "quota-admin")
        with pytest.raises(ClientError, match="no subcommand fly"):
            await mo.slash("imagine", "quota-admin fly")
    assert (first.content, second.content) == ("set 3", "dropped")
    assert first.interaction is not None
    assert first.interaction.command_name == "quota-admin set"


async def test_autocomplete_suggests_while_other_options_are_missing(
    playground: Playground,
) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def paint(interaction: Reply, prompt: str, style: str) -> None:
            await interaction.response.send_message(style)

        @paint.autocomplete("style")
        async def suggest(interaction: Reply, typed: str) -> list[app_commands.Choice[str]]:
            names = ["ink", "oil", "watercolour"]
            return [app_commands.Choice(name=one, value=one) for one in names if typed in one]

    ada = playground.as_member("Ada")
    async with running(playground, set_up):
        suggestions = await ada.autocomplete("imagine", "paint", "style", "o")
        assert [one["value"] for one in suggestions] == ["oil", "watercolour"]
        with pytest.raises(ClientError, match="no autocomplete"):
            await ada.autocomplete("imagine", "paint", "prompt", "o")
        free = await (await ada.slash("imagine", "paint", prompt="x", style="my own")).answered()
    assert free.content == "my own"


async def test_context_menus_get_their_message_or_member(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        async def report(interaction: Reply, message: discord.Message) -> None:
            await interaction.response.send_message(f"{message.author}: {message.content}")

        async def greet(interaction: Reply, member: discord.Member) -> None:
            await interaction.response.send_message(f"hello {member.display_name}")

        bot.tree.add_command(app_commands.ContextMenu(name="Report to us", callback=report))
        bot.tree.add_command(app_commands.ContextMenu(name="Greet", callback=greet))

    ada = playground.as_member("Ada")
    said = await playground.as_member("Ben").say("random", "something rude")
    async with running(playground, set_up):
        reported = await (await ada.message_command("Report to us", said)).answered()
        greeted = await (await ada.user_command("Greet", "random", "Ben")).answered()
    assert reported.content == "ben: something rude"
    assert greeted.content == "hello Ben"


async def test_commands_of_one_server_are_found_there(playground: Playground) -> None:
    guild = discord.Object(playground.world.guild_id)

    def set_up(bot: Bot) -> None:
        @bot.tree.command(guild=guild)
        async def here(interaction: Reply) -> None:
            await interaction.response.send_message("here")

    async with running(playground, set_up) as bot:
        await bot.tree.sync(guild=guild)
        message = await (await playground.as_member("Ada").slash("imagine", "here")).answered()
    assert message.content == "here"


async def test_moderators_commands_are_not_offered_to_others(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        @app_commands.default_permissions(manage_guild=True)
        async def pause(interaction: Reply) -> None:
            await interaction.response.send_message("paused")

        @bot.tree.command(nsfw=True)
        async def night(interaction: Reply) -> None:
            await interaction.response.send_message("night")

        @bot.tree.command()
        @app_commands.guild_only()
        async def inside(interaction: Reply) -> None:
            await interaction.response.send_message("inside")

    ada, mo = playground.as_member("Ada"), playground.as_member("Mo")
    async with running(playground, set_up):
        with pytest.raises(ClientError, match="permission"):
            await ada.slash("imagine", "pause")
        with pytest.raises(ClientError, match="age-restricted"):
            await ada.slash("imagine", "night")
        with pytest.raises(ClientError, match="direct messages"):
            await ada.slash(playground.world.direct_channel("Ada"), "inside")
        assert (await (await mo.slash("imagine", "pause")).answered()).content == "paused"
        assert (await (await ada.slash("after-dark", "night")).answered()).content == "night"
    assert [one["name"] for one in playground.world.client.visible_commands(ada.user)] == [
        "night",
        "inside",
    ]


def silent(bot: Bot) -> None:
    @bot.tree.command()
    async def mute(interaction: Reply) -> None:
        return None


async def test_silence_is_told_to_the_person(playground: Playground, clock: Clock) -> None:
    async with running(playground, silent):
        used = await playground.as_member("Ada").slash("imagine", "mute")
        clock.pass_time(seconds=3.1)
        playground.world.expire_unanswered()
        with pytest.raises(ResponseTimeout):
            await used.acked()


async def test_a_command_while_the_bot_is_away_fails(playground: Playground, clock: Clock) -> None:
    async with running(playground, silent):
        pass
    clock.pass_time(seconds=1)
    used = await playground.as_member("Ada").slash("imagine", "mute")
    clock.pass_time(seconds=4)
    playground.world.expire_unanswered()
    assert used.failed
    assert not playground.gateway.online
