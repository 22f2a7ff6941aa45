"""``/help``: how to begin, and every command in one line, as it was registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import discord
from discord import app_commands

from bot.frontend.client import AnyCommand, load_commands
from bot.frontend.context import BotContext
from bot.frontend.embeds import BLUE
from bot.frontend.messages import EmbedField, MessageContent
from bot.frontend.permissions import actor_of
from bot.frontend.quota_embeds import bullet_list
from bot.frontend.responses import send_ephemeral

BEGIN = (
    "Type `/imagine` and say what the picture should show:\n"
    "> /imagine prompt: an astronaut in space\n"
    "You get a grid of pictures, each row made from a seed of its own. The buttons below it make "
    "another, change something, or bring one picture out at full size.\n\n"
    "The same settings work as flags in the prompt: `--ar 16:9 --rows 2 --samples 2 --steps 30 "
    "--seed 7 --no trees --model NAME --style NAME`."
)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="help", description="How to begin, and what there is")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def help_command(interaction: discord.Interaction[discord.Client]) -> None:
        member = actor_of(interaction, context.moderator_role)
        card = help_card(load_commands(context), moderator=member.moderator)
        await send_ephemeral(interaction, "", card=card)

    return help_command


def help_card(commands: Iterable[AnyCommand], *, moderator: bool) -> MessageContent:
    """Everything that can be typed; what only moderators may do is shown to them alone."""
    members: list[str] = []
    moderators: list[str] = []
    # What everybody came for goes first.
    for command in sorted(commands, key=lambda command: command.name != "imagine"):
        for_moderators = command.default_permissions is not None
        (moderators if for_moderators else members).extend(_lines(command))
    fields = [EmbedField("Commands", bullet_list(members))]
    if moderator and moderators:
        fields.append(EmbedField("For moderators", bullet_list(moderators)))
    return MessageContent(title="Gridbrush", description=BEGIN, colour=BLUE, fields=tuple(fields))


def _lines(command: AnyCommand | app_commands.Command[Any, ..., Any]) -> Iterator[str]:
    if isinstance(command, app_commands.Group):
        names = " | ".join(sorted(child.name for child in command.commands))
        yield f"`/{command.name}` {names}"
    elif isinstance(command, app_commands.ContextMenu):
        yield f"Right click, Apps, **{command.name}**"
    else:
        yield f"`/{command.name}` {command.description}"
