"""``/imagine``: submit a prompt with options."""

from __future__ import annotations

import re
from typing import Any, Final, Optional

import discord
from discord import app_commands

from bot.domain.models import ModelSpec
from bot.domain.request import MAX_SEED, RequestOptions
from bot.domain.text import truncate_utf16
from bot.frontend.context import BotContext
from bot.frontend.edit_modal import build_prompt_modal
from bot.frontend.first_response import answer_accepted
from bot.frontend.image_prompts import download
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.permissions import actor_of, model_roles
from bot.frontend.refused_prompt import EDIT_ID, extract_prompt
from bot.frontend.responses import (
    PersistentComponent,
    open_modal,
    safe_autocomplete,
    thinking_in_public,
)
from bot.frontend.submission import submit_request, submit_with_picture

_DESCRIPTIONS = {
    "prompt": "What the images should show. Flags work too: --ar 16:9 --seed 7 --no trees",
    "negative": "What the images should not show",
    "aspect": "Aspect ratio as width:height, for example 16:9",
    "rows": "Rows in the grid; each row is one parallel task with its own seed",
    "samples": "Images in each row",
    "steps": "Sampling steps; more steps take longer",
    "seed": "The same seed and settings give the same images again",
    "model": "The model that generates the images; /models says what each is for",
    "style": "A style to add to the prompt; /styles lists them",
    "image": "A picture to start from: PNG, JPEG or WebP",
    "strength": "How far to depart from the picture: 0.3 stays close, 0.9 keeps little",
}


class EditPromptButton(PersistentComponent, template=re.escape(EDIT_ID)):
    """Opens the modal with the refused prompt of this message."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Open the modal."""
        await open_modal(interaction, build_prompt_modal(extract_prompt(interaction.message)))


ITEMS: Final = (EditPromptButton,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command, with this bot's limits as option ranges."""
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
        image: discord.Attachment | None = None,
        strength: float | None = None,
    ) -> None:
        options = RequestOptions(
            *(negative, aspect, rows, samples, steps, seed, model, style), strength=strength
        )
        if image is not None:
            async with thinking_in_public(interaction):
                accepted = await submit_with_picture(
                    interaction,
                    lambda: download(image),
                    lambda factory, start: factory.parse(prompt, options, init_image=start),
                )
        else:
            accepted = await submit_request(
                interaction, lambda factory: factory.parse(prompt, options)
            )
        await answer_accepted(interaction, accepted)

    # The bounds are known only now, so they cannot be written into the signature above.
    for name, low, high in (
        ("rows", 1, limits.max_rows),
        ("samples", 1, limits.max_samples),
        ("steps", 1, limits.highest_max_steps),
        ("seed", 0, MAX_SEED),
    ):
        imagine.__annotations__[name] = Optional[app_commands.Range[int, low, high]]  # noqa: UP045
    imagine.__annotations__["strength"] = Optional[app_commands.Range[float, 0.0, 1.0]]  # noqa: UP045
    command: app_commands.Command[Any, ..., None] = app_commands.Command(
        name="imagine",
        description="Generate a grid of images from a prompt",
        callback=imagine,
    )
    app_commands.describe(**_DESCRIPTIONS)(command)

    @command.autocomplete("model")
    @safe_autocomplete
    async def suggest_model(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        roles = model_roles(actor_of(interaction, context.moderator_role))
        specs = [limits.table.get(name, ModelSpec(name)) for name in limits.names_for(roles)]
        return [
            app_commands.Choice(name=spec.format_choice(MAX_OPTION_TEXT), value=spec.id)
            for spec in specs
            if typed.casefold() in f"{spec.id} {spec.title} {spec.about}".casefold()
            and len(spec.id) <= MAX_OPTION_TEXT
        ][:MAX_OPTIONS]

    @command.autocomplete("style")
    @safe_autocomplete
    async def suggest_style(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        return [
            app_commands.Choice(
                name=truncate_utf16(f"{name}: {words}", MAX_OPTION_TEXT), value=name
            )
            for name, words in limits.styles.items()
            if typed.casefold() in f"{name} {words}".casefold()
        ][:MAX_OPTIONS]

    return command
