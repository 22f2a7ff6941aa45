"""The modal of "Edit & run again", for a job or a refused prompt.

It is recognised by its custom id, so it can be submitted after a restart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import discord

from bot.domain.job import Job
from bot.domain.permutations import to_typed_prompt
from bot.domain.request import RequestLimits
from bot.frontend.custom_ids import ComponentAction, CustomId
from bot.frontend.delivery_methods import public_result_link
from bot.frontend.formatting import jump_link
from bot.frontend.refused_prompt import (
    MAX_INPUT_LENGTH,
    MODAL_ID,
    NEGATIVE,
    PROMPT,
)


def build_edit_modal(job: Job, limits: RequestLimits) -> discord.ui.Modal:
    """Return the modal with the job's request, as these ``limits`` can take it."""
    request = job.request.within(limits)
    prompt = to_typed_prompt(replace(request, negative=""))
    hint = _KEEP_PICTURE if request.init_image else _KEEP_SEED
    return _build_modal(str(CustomId(ComponentAction.EDIT, job.id)), prompt, request.negative, hint)


def build_prompt_modal(text: str) -> discord.ui.Modal:
    """Return the modal with a refused prompt."""
    return _build_modal(MODAL_ID, text, "")


_KEEP_SEED: Final = "Keep --seed for a similar image; remove it for a new one."
_KEEP_PICTURE: Final = (
    "Keep --seed for a similar image. Remove --strength to leave the picture out."
)


def _build_modal(
    custom_id: str, prompt: str, negative: str, hint: str = _KEEP_SEED
) -> discord.ui.Modal:
    modal = discord.ui.Modal(title="Edit & run again", custom_id=custom_id, timeout=None)
    modal.add_item(
        discord.ui.Label(
            text="Prompt and options",
            description=hint,
            component=discord.ui.TextInput(
                custom_id=PROMPT,
                style=discord.TextStyle.paragraph,
                default=prompt[:MAX_INPUT_LENGTH],
                max_length=MAX_INPUT_LENGTH,
            ),
        )
    )
    modal.add_item(
        discord.ui.Label(
            text="Negative prompt: what to leave out",
            component=discord.ui.TextInput(
                custom_id=NEGATIVE,
                default=negative[:MAX_INPUT_LENGTH] or None,
                max_length=MAX_INPUT_LENGTH,
                required=False,
            ),
        )
    )
    # Finished from the library's point of view: it has nothing to remember.
    modal.stop()
    return modal


def source_link(interaction: discord.Interaction[Any]) -> str:
    """Return a link to the message of the component, "" if it is not public."""
    message = interaction.message
    if message is None or message.flags.ephemeral or interaction.channel_id is None:
        return ""
    link = jump_link(interaction.guild_id or 0, interaction.channel_id, message.id)
    return f" from [this message]({link})"


def used_by(interaction: discord.Interaction[Any], job: Job) -> str:
    """Return who used a component of a result, and a link to the result, if it is public."""
    source, link = source_link(interaction), public_result_link(job)
    if not source and link:
        source = f" from [this message]({link})"
    return f"<@{interaction.user.id}>{source}"
