"""``/help``: how to start, and every registered command in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import discord
from discord import app_commands

from bot.frontend.context import AnyCommand, BotContext, get_client
from bot.frontend.listing import bullet_list
from bot.frontend.message_content import BLUE, EmbedField, MessageContent
from bot.frontend.permissions import actor_of
from bot.frontend.responses import send_ephemeral

INTRODUCTION = (
    "Type `/imagine` and describe the image:\n"
    "> /imagine prompt: an astronaut in space\n"
    "You get a grid of images. Each row has its own seed. With the buttons below the grid you "
    "can run it again, change it, or open one image at full size.\n\n"
    "You can also write the options as flags in the prompt: `--ar 16:9 --rows 2 "
    "--samples 2 --steps 30 --seed 7 --no trees --model NAME --style NAME`."
)
PERMUTATIONS = (
    "\n\n`a {red, blue} fox in {snow, rain}` asks for a grid of each, and `--repeat 2` for two "
    "grids; you are asked first. `\\{` and `\\}` are braces as text."
)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(name="help", description="How to start, and all commands")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def help_command(interaction: discord.Interaction[discord.Client]) -> None:
        member = actor_of(interaction, context.moderator_role)
        tree = get_client(interaction).tree
        here = tree.get_commands(guild=interaction.guild) if interaction.guild else []
        embed = help_embed(
            [*tree.get_commands(), *here],
            moderator=member.moderator,
            permutations=context.limits.max_permutations > 1,
        )
        await send_ephemeral(interaction, "", embed=embed)

    return help_command


def help_embed(
    commands: Iterable[AnyCommand], *, moderator: bool, permutations: bool = True
) -> MessageContent:
    """Return all commands; moderators' commands only if ``moderator``."""
    members: list[str] = []
    moderators: list[str] = []
    # What everybody came for goes first.
    for command in sorted(commands, key=lambda command: command.name != "imagine"):
        for_moderators = command.default_permissions is not None
        (moderators if for_moderators else members).extend(_lines(command))
    fields = [EmbedField("Commands", bullet_list(members))]
    if moderator and moderators:
        fields.append(EmbedField("For moderators", bullet_list(moderators)))
    return MessageContent(
        title="Gridbrush",
        description=INTRODUCTION + (PERMUTATIONS if permutations else ""),
        colour=BLUE,
        fields=tuple(fields),
    )


def _lines(command: AnyCommand | app_commands.Command[Any, ..., Any]) -> Iterator[str]:
    if isinstance(command, app_commands.Group):
        names = " | ".join(sorted(child.name for child in command.commands))
        yield f"`/{command.name}` {names}"
    elif isinstance(command, app_commands.ContextMenu):
        yield f"Right click a message, Apps, **{command.name}**"
    else:
        yield f"`/{command.name}` {command.description}"
