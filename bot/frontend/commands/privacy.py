"""``/privacy``: stored data of the member, and a button to erase it, with confirmation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.quota import format_window
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import pluralize
from bot.frontend.message_content import BLUE, GREEN, RED, ActionRow, ButtonSpec, MessageContent
from bot.frontend.permissions import actor_of
from bot.frontend.responses import PersistentComponent, defer, send_ephemeral, update_message
from bot.services.privacy import StoredDataReport

_ASK: Final[ActionRow] = (ButtonSpec("Erase my data", "gb-privacy:ask", style="danger"),)
_CONFIRM: Final[ActionRow] = (
    ButtonSpec("Yes, erase it", "gb-privacy:erase", style="danger"),
    ButtonSpec("Keep it", "gb-privacy:keep"),
)


class EraseButton(PersistentComponent, template=r"gb-privacy:(?P<verb>ask|erase|keep)"):
    """Asks for confirmation, erases, or keeps the data of the member who uses it."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Replace this message by the confirmation or the outcome."""
        context = get_context(interaction)
        user_id = interaction.user.id
        if self.match["verb"] == "erase":
            # Deleting many pictures may take longer than Discord waits.
            await defer(interaction)
            member = actor_of(interaction, context.moderator_role)
            erased = await context.privacy.erase(interaction.guild_id or 0, member)
            await update_message(
                interaction, erased_embed(erased, await context.privacy.report(user_id))
            )
            return
        stored = await context.privacy.report(user_id)
        embed = stored_data_embed(stored, context.reports.keep)
        if self.match["verb"] == "ask":
            others = stored.files or stored.reports or stored.stars or stored.pending
            if stored.jobs == stored.unfinished and not others:
                raise RequestError(
                    "There is nothing to erase. Cancel waiting or running requests with /cancel "
                    "first."
                )
            embed = confirm_erase_embed(stored)
        await update_message(interaction, embed)


ITEMS: Final = (EraseButton,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(
        name="privacy", description="What data is stored about you, and how to erase it"
    )
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def privacy(interaction: discord.Interaction[discord.Client]) -> None:
        stored = await context.privacy.report(interaction.user.id)
        await send_ephemeral(interaction, "", embed=stored_data_embed(stored, context.reports.keep))

    return privacy


def stored_data_embed(stored: StoredDataReport, keep: timedelta) -> MessageContent:
    """Return what is stored and why; evidence is stored for ``keep``."""
    size = f"{stored.size / 1_000_000:.1f} MB"
    lines = [
        f"**{pluralize(stored.jobs, 'request')}** with prompt and settings, for `/history` and "
        "for the buttons below your images.",
        f"**{pluralize(stored.files, 'file')}** with images and their settings ({size}).",
        "Times and numbers of images, for your quota. They are kept, but without your prompts.",
        "What moderators changed for you. This record is kept.",
        "Results that others reported, as evidence for the moderators of that server, with the "
        f"picture. It is deleted after {format_window(keep)}.",
    ]
    if stored.stars:
        lines.append(f"{pluralize(stored.stars, 'star')} that you gave, for `/favourites`.")
    if stored.reports:
        lines.append(f"{pluralize(stored.reports, 'report')} that you made, with your reasons.")
    if stored.pending:
        lines.append(
            f"{pluralize(stored.pending, 'prompt')} that wait for you to run or cancel them, for "
            "at most 15 minutes."
        )
    if stored.erased:
        lines.append(f"{pluralize(stored.erased, 'request')} already erased.")
    if stored.unfinished:
        lines.append(
            f"{pluralize(stored.unfinished, 'request')} not finished yet: cancel it first if you "
            "want to erase it too."
        )
    lines.append(
        "Prompts are sent only to the computers that generate the images. These may keep their "
        "files for some days. You can delete each message in Discord with the button below it."
    )
    return MessageContent(
        "Your data", "\n".join(f"• {line}" for line in lines), BLUE, controls=(_ASK,)
    )


def confirm_erase_embed(stored: StoredDataReport) -> MessageContent:
    """Return the confirmation question."""
    ended = stored.jobs - stored.unfinished
    return MessageContent(
        "Erase your data?",
        f"{pluralize(ended, 'request')}, {pluralize(stored.files, 'file')}, "
        f"{pluralize(stored.reports, 'report')} that you made and "
        f"{pluralize(stored.stars, 'star')} that you gave, on all servers. "
        "Your results leave the gallery. Prompts and images are erased permanently, and their "
        "buttons stop working. Your quota does not change.",
        RED,
        controls=(_CONFIRM,),
    )


def erased_embed(erased: int, left: StoredDataReport) -> MessageContent:
    """Return what was erased and what is left."""
    said = f"{pluralize(erased, 'request')} erased, with all stored images."
    if left.unfinished:
        said += f" {pluralize(left.unfinished, 'request')} not finished yet: not erased."
    return MessageContent(
        "Erased", f"{said} You can delete the messages in Discord yourself.", GREEN
    )
