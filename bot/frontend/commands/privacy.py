"""``/privacy``: what is kept of a member, and a button that has it forgotten, asked twice."""

from __future__ import annotations

import re
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.frontend.context import BotContext, get_context
from bot.frontend.embeds import BLUE, GREEN, RED
from bot.frontend.formatting import pluralize
from bot.frontend.messages import ActionRow, ButtonSpec, MessageContent
from bot.frontend.permissions import actor_of
from bot.frontend.responses import defer, send_ephemeral, turn_to, with_error_response
from bot.services.privacy import StoredDataReport

_ASK: Final[ActionRow] = (ButtonSpec("Erase my data", "gb-privacy:ask", style="danger"),)
_SURE: Final[ActionRow] = (
    ButtonSpec("Yes, erase it", "gb-privacy:erase", style="danger"),
    ButtonSpec("Keep it", "gb-privacy:keep"),
)


class EraseButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"gb-privacy:(?P<verb>ask|erase|keep)",
):
    """Asks, erases, or lets it be; it only ever concerns whoever presses."""

    def __init__(self, item: discord.ui.Button[discord.ui.View], verb: str) -> None:
        super().__init__(item)
        self._verb = verb

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> EraseButton:
        """The button as it was pressed."""
        assert isinstance(item, discord.ui.Button)
        return cls(item, match["verb"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Put the next question, or the outcome, in the place of this message."""
        await with_error_response(interaction, self._answer)

    async def _answer(self, interaction: discord.Interaction[Any]) -> None:
        context = get_context(interaction)
        user_id = interaction.user.id
        if self._verb == "erase":
            # Deleting many pictures may take longer than Discord waits.
            await defer(interaction)
            member = actor_of(interaction, context.moderator_role)
            erased = await context.privacy.erase(interaction.guild_id or 0, member)
            await turn_to(interaction, erased_card(erased, await context.privacy.report(user_id)))
            return
        holdings = await context.privacy.report(user_id)
        card = holdings_card(holdings)
        if self._verb == "ask":
            if holdings.jobs == holdings.unfinished and not holdings.files:
                raise RequestError(
                    "There is nothing to erase. What is still waiting or running can be cancelled "
                    "with /cancel first."
                )
            card = sure_card(holdings)
        await turn_to(interaction, card)


ITEMS: Final = (EraseButton,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command."""

    @app_commands.command(name="privacy", description="What is kept of you, and how to erase it")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def privacy(interaction: discord.Interaction[discord.Client]) -> None:
        holdings = await context.privacy.report(interaction.user.id)
        await send_ephemeral(interaction, "", card=holdings_card(holdings))

    return privacy


def holdings_card(holdings: StoredDataReport) -> MessageContent:
    """What is kept, in plain numbers, and what for."""
    size = f"{holdings.size / 1_000_000:.1f} MB"
    lines = [
        f"**{pluralize(holdings.jobs, 'request')}** with prompt and settings, for `/history` and for "
        "the buttons below your pictures.",
        f"**{pluralize(holdings.files, 'file')}** with pictures and their settings ({size}).",
        "Times and numbers of images, for your quota; these stay, without your words.",
        "What moderators did concerning you, which is their record.",
    ]
    if holdings.erased:
        lines.append(f"{pluralize(holdings.erased, 'request')} erased already.")
    if holdings.unfinished:
        lines.append(
            f"{pluralize(holdings.unfinished, 'request')} not ended yet: cancel first what is to go "
            "as well."
        )
    lines.append(
        "Prompts go to the machines that paint, which may keep working files for some days, and "
        "nowhere else. Messages in Discord are yours to delete with the button below each."
    )
    return MessageContent(
        "Your data", "\n".join(f"• {line}" for line in lines), BLUE, controls=(_ASK,)
    )


def sure_card(holdings: StoredDataReport) -> MessageContent:
    """The second question."""
    ended = holdings.jobs - holdings.unfinished
    return MessageContent(
        "Erase your data?",
        f"{pluralize(ended, 'request')} and {pluralize(holdings.files, 'file')}, on all servers. Prompts "
        "and pictures are gone for good, and their buttons stop working. It does not change your "
        "quota.",
        RED,
        controls=(_SURE,),
    )


def erased_card(erased: int, left: StoredDataReport) -> MessageContent:
    """What was done, and what is left."""
    said = f"{pluralize(erased, 'request')} erased, with all pictures kept here."
    if left.unfinished:
        said += f" {pluralize(left.unfinished, 'request')} not ended yet stayed."
    return MessageContent("Erased", f"{said} Messages in Discord are yours to delete.", GREEN)
