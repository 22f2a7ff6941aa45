"""``/imagine``: a prompt, and what may be said beside it. Everything else is the one path."""

from __future__ import annotations

import re
from typing import Any, Final, Optional

import discord
from discord import app_commands

from bot.domain.request import MAX_SEED, RequestOptions
from bot.domain.text import truncate_utf16
from bot.frontend.context import BotContext
from bot.frontend.edit_modal import text_form
from bot.frontend.messages import OPTION_TEXT, OPTIONS
from bot.frontend.refused_prompt import EDIT_ID, text_given_back
from bot.frontend.responses import open_form, safe_autocomplete, with_error_response
from bot.frontend.submission import submit_request

_DESCRIPTIONS = {
    "prompt": "What the pictures should show. Flags work too: --ar 16:9 --seed 7 --no trees",
    "negative": "What to keep out of the pictures",
    "aspect": "Shape as width:height, for example 16:9",
    "rows": "Rows of the grid; each is one parallel task",
    "samples": "Pictures in each row",
    "steps": "Sampling steps: more take longer",
    "seed": "The same seed and settings make the same pictures again",
    "model": "Which model paints",
    "style": "A look that is added to the prompt; /styles lists them",
}


class EditTyped(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=re.escape(EDIT_ID)
):
    """Opens the form with the text that was refused; the pressed message holds it."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> EditTyped:
        """The button as it was pressed."""
        assert isinstance(item, discord.ui.Button)
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Open the form."""
        await with_error_response(interaction, self._open)

    async def _open(self, interaction: discord.Interaction[Any]) -> None:
        await open_form(interaction, text_form(text_given_back(interaction.message)))


ITEMS: Final = (EditTyped,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """The command, with this bot's limits as Discord's own."""
    limits = context.limits

    async def imagine(
        interaction: discord.Interaction[discord.Client],
        prompt: str,
        negative: str | None = None,
        aspect: str | None = None,
        rows: int | None = None,
        samples: int | None = None,
        steps: int | None = None,
        seed: int | None = None,
        model: str | None = None,
        style: str | None = None,
    ) -> None:
        options = RequestOptions(negative, aspect, rows, samples, steps, seed, model, style)
        await submit_request(interaction, lambda asker: asker.parse(prompt, options))

    # The bounds are known only now, so they cannot be written into the signature above.
    for name, low, high in (
        ("rows", 1, limits.max_rows),
        ("samples", 1, limits.max_samples),
        ("steps", 1, limits.max_steps),
        ("seed", 0, MAX_SEED),
    ):
        imagine.__annotations__[name] = Optional[app_commands.Range[int, low, high]]  # noqa: UP045
    command: app_commands.Command[Any, ..., None] = app_commands.Command(
        name="imagine",
        description="Paint a grid of pictures from a prompt",
        callback=imagine,
    )
    app_commands.describe(**_DESCRIPTIONS)(command)

    @command.autocomplete("model")
    @safe_autocomplete
    async def suggest_model(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        names = dict.fromkeys(
            (limits.model, *limits.models) if limits.painter.selects_model else ()
        )
        return [
            app_commands.Choice(name=truncate_utf16(name, OPTION_TEXT), value=name)
            for name in names
            if typed.casefold() in name.casefold() and len(name) <= OPTION_TEXT
        ][:OPTIONS]

    @command.autocomplete("style")
    @safe_autocomplete
    async def suggest_style(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        return [
            app_commands.Choice(name=truncate_utf16(f"{name}: {words}", OPTION_TEXT), value=name)
            for name, words in limits.styles.items()
            if typed.casefold() in f"{name} {words}".casefold()
        ][:OPTIONS]

    return command
