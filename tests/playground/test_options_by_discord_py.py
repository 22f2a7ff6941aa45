"""Test command options from the member client to a real discord.py client."""

from __future__ import annotations

from typing import Literal

import discord
import pytest
from discord import app_commands

from bot.playground.client.command_options import ClientError
from bot.playground.server import Playground
from bot.playground.state.models import Upload
from tests.playground.bots import Bot, png, running

Reply = discord.Interaction[discord.Client]


def imagine(bot: Bot) -> None:
    @bot.tree.command()
    async def imagine(
        interaction: Reply,
        prompt: app_commands.Range[str, 1, 50],
        steps: app_commands.Range[int, 1, 50] = 20,
        strength: app_commands.Range[float, 0.0, 1.0] = 0.5,
        style: Literal["plain", "ink"] = "plain",
        tile: bool = False,
    ) -> None:
        await interaction.response.send_message(f"{prompt}|{steps}|{strength}|{style}|{tile}")


async def test_a_slash_command_brings_its_options_and_is_answered(playground: Playground) -> None:
    async with running(playground, imagine):
        ada = playground.as_member("Ada")
        used = await ada.slash(
            "imagine", "imagine", prompt="a cat", steps=5, style="ink", tile=True
        )
        message = await used.answered()
    assert message.content == "a cat|5|0.5|ink|True"
    assert message.interaction is not None
    assert message.interaction.command_name == "imagine"
    assert used.callback == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "required"),
        ({"prompt": ""}, "1 to 50 characters"),
        ({"prompt": "x" * 51}, "1 to 50 characters"),
        ({"prompt": 5}, "takes text"),
        ({"prompt": "x", "steps": 51}, "1 to 50"),
        ({"prompt": "x", "steps": 1.5}, "whole number"),
        ({"prompt": "x", "steps": True}, "whole number"),
        ({"prompt": "x", "strength": 1.1}, "0 to 1"),
        ({"prompt": "x", "style": "oil"}, "one of plain, ink"),
        ({"prompt": "x", "tile": "yes"}, "true or false"),
        ({"prompt": "x", "colour": "red"}, "no option colour"),
    ],
)
async def test_the_client_refuses_options_outside_the_command(
    playground: Playground, options: dict[str, object], complaint: str
) -> None:
    async with running(playground, imagine):
        with pytest.raises(ClientError, match=complaint):
            await playground.as_member("Ada").slash("imagine", "imagine", **options)


async def test_people_places_roles_and_files_are_resolved(playground: Playground) -> None:
    got: list[object] = []

    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def show(
            interaction: Reply,
            member: discord.Member,
            where: discord.TextChannel,
            role: discord.Role,
            file: discord.Attachment,
            whom: discord.Member | discord.Role,
        ) -> None:
            got.extend([member.display_name, where.name, role.name, await file.read(), whom.id])
            await interaction.response.send_message("seen", ephemeral=True)

    world = playground.world
    role = next(one for one in world.roles.values() if one.name == "Moderators")
    async with running(playground, set_up):
        used = await playground.as_member("Ada").slash(
            "imagine",
            "show",
            member=playground.as_member("Ben"),
            where=world.channel("gallery"),
            role=role,
            file=Upload("in.png", png()),
            whom=world.member("Mo"),
        )
        message = await used.answered()
        assert message.ephemeral
        with pytest.raises(ClientError, match="does not exist"):
            await playground.as_member("Ada").slash(
                "imagine", "show", member="1", where="1", role="1", file="1", whom="1"
            )
    assert got == ["Ben", "gallery", "Moderators", png(), world.member("Mo").id]
