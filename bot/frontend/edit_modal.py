"""The modal of "Edit & run again", for a job or a refused prompt.

It is recognised by its custom id, so it can be submitted after a restart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import discord

from bot.domain.job import Job
from bot.domain.permutations import escape
from bot.domain.request import RequestLimits
from bot.frontend.custom_ids import ComponentAction, CustomId
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
    # What the form gets is typed text, in which braces mean alternatives.
    prompt = escape(replace(request, negative="").to_prompt())
    return _build_modal(str(CustomId(ComponentAction.EDIT, job.id)), prompt, request.negative)


def build_prompt_modal(text: str) -> discord.ui.Modal:
    """Return the modal with a refused prompt."""
    return _build_modal(MODAL_ID, text, "")


def _build_modal(custom_id: str, prompt: str, negative: str) -> discord.ui.Modal:
    modal = discord.ui.Modal(title="Edit & run again", custom_id=custom_id, timeout=None)
    modal.add_item(
        discord.ui.Label(
            text="Prompt and options",
            description="Keep --seed for a similar image; remove it for a new one.",
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
