"""/help, /styles and /quota say what there is."""

from __future__ import annotations

from pathlib import Path

import discord
from discord import app_commands

from bot.domain.text import utf16_length
from bot.frontend.client import load_commands, load_dynamic_items
from bot.frontend.commands import help as help_module
from bot.frontend.listing import bullet_list
from bot.frontend.message_content import MAX_DESCRIPTION, MAX_FIELD_VALUE
from bot.playground.server import Playground
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock


async def test_help_names_every_command_and_the_moderators_own_only_to_them(bot: Bot) -> None:
    answer = await bot.ask("help", who="Ada")
    assert answer.ephemeral
    text = said(answer)
    for name in ("imagine", "queue", "cancel", "history", "show", "quota", "styles", "privacy"):
        assert f"`/{name}` " in text
    assert "quota-admin" not in text
    theirs = said(await bot.ask("help", who="Mo"))
    assert "`/quota-admin` grant | history | list | reset | set | show" in theirs


async def test_every_command_is_registered_within_discords_limits(bot: Bot) -> None:
    registered = {command["name"] for command in bot.playground.world.commands.all()}
    built = {command.name for command in load_commands(bot.context)}
    assert registered == built
    assert {"imagine", "queue", "cancel", "history", "show", "quota", "quota-admin"} <= built
    templates = [item.__discord_ui_compiled_template__.pattern for item in load_dynamic_items()]
    assert len(templates) == len(set(templates))
    for command in bot.playground.world.commands.all():
        assert command["contexts"] in ([0], [0, 1])
        assert command["integration_types"] == [0]


def test_a_right_click_command_is_explained() -> None:
    async def report(interaction: discord.Interaction, message: discord.Message) -> None:
        raise AssertionError("it is only described")

    menu = app_commands.ContextMenu(name="Report to moderators", callback=report)
    status = help_module.help_embed([menu], moderator=True)
    assert status.fields[0].value == "Right click a message, Apps, **Report to moderators**"


async def test_styles_are_listed_with_their_words(bot: Bot) -> None:
    answer = await bot.ask("styles")
    assert answer.ephemeral
    text = said(answer)
    assert "**ink** ink drawing, fine line work, cross\\-hatching" in text
    assert "--style NAME" in text


async def test_a_bot_without_styles_says_so(
    playground: Playground, settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    imagine = settings.imagine.model_copy(update={"styles": {}})
    bare = settings.model_copy(update={"imagine": imagine})
    async with running(playground, bare, clock) as bot:
        assert "no styles" in said(await bot.ask("styles"))


async def test_quota_tells_what_is_used_left_and_when_it_comes_back(bot: Bot) -> None:
    fresh = said(await bot.ask("quota"))
    assert "**120 left**: 0 of 120 images used in the last 24h." in fresh
    assert "free again" not in fresh
    assert "The default of this bot." in fresh
    await bot.imagine("a heron")
    used = await bot.ask("quota")
    assert used.ephemeral
    assert "**116 left**: 4 of 120 images" in said(used)
    assert "The first of them are free again <t:" in said(used)
    assert "In the queue: 1 of 5" in said(used)


def test_a_list_never_outgrows_its_place() -> None:
    for most in (MAX_FIELD_VALUE, MAX_DESCRIPTION):
        for size in (1, 10, 400, 2000):
            text = bullet_list([f"{'🦆' * (size // 2)} {number}" for number in range(60)], most)
            assert utf16_length(text) <= most
    assert bullet_list(["a", "b"]) == "a\nb"
    assert bullet_list([], empty_text="None.") == "None."
    assert bullet_list(["x" * 600, "y" * 600], 1000) == "x" * 600 + "\n… and 1 more"


def test_permutations_are_explained_only_where_there_are_some() -> None:
    texts = [
        help_module.help_embed([], moderator=False, permutations=on).description
        for on in (True, False)
    ]
    assert ["--repeat" in text for text in texts] == [True, False]
