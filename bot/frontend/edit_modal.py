"""The form behind "Edit & run again", of a job or of a text that was refused.

It carries its job's id, so it can be handed in any time.

The library would forget a form at a restart; this one is recognised by its custom id, like a
button.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import discord

from bot.domain.errors import RequestError
from bot.domain.image_engine import UNKNOWN, Painter
from bot.domain.job import Job
from bot.domain.request import RequestOptions
from bot.frontend.components import ComponentAction, CustomId
from bot.frontend.formatting import jump_link
from bot.frontend.press_checks import pressed_job
from bot.frontend.refused_prompt import FORM_ID, MOST_TYPED, NEGATIVE, PROMPT, text_fields
from bot.frontend.responses import send_error
from bot.frontend.submission import submit_request
from bot.services.queue import limit_waits


def build_edit_modal(job: Job, painter: Painter = UNKNOWN) -> discord.ui.Modal:
    """The form, filled in with what was asked for, as ``painter`` can take it."""
    request = job.request.painted_by(painter)
    words = replace(request, negative="").to_prompt()
    return _form(str(CustomId(ComponentAction.EDIT, job.id)), words, request.negative)


def text_form(text: str) -> discord.ui.Modal:
    """The form, filled in with a text that was refused."""
    return _form(FORM_ID, text, "")


def _form(custom_id: str, words: str, negative: str) -> discord.ui.Modal:
    form = discord.ui.Modal(title="Edit & run again", custom_id=custom_id, timeout=None)
    form.add_item(
        discord.ui.Label(
            text="What to paint, and how",
            description="Keep --seed for the same composition; leave it out for a new one.",
            component=discord.ui.TextInput(
                custom_id=PROMPT,
                style=discord.TextStyle.paragraph,
                default=words[:MOST_TYPED],
                max_length=MOST_TYPED,
            ),
        )
    )
    form.add_item(
        discord.ui.Label(
            text="What to keep out of it",
            component=discord.ui.TextInput(
                custom_id=NEGATIVE,
                default=negative[:MOST_TYPED] or None,
                max_length=MOST_TYPED,
                required=False,
            ),
        )
    )
    # Finished from the library's point of view: it has nothing to remember.
    form.stop()
    return form


async def handle_modal_submit(interaction: discord.Interaction[Any]) -> bool:
    """Take a form in, if the interaction is one of these forms; whether it was.

    The client calls this for every interaction.
    """
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    press = CustomId.parse(custom_id)
    if custom_id != FORM_ID and (press is None or press.verb is not ComponentAction.EDIT):
        return False
    limit_waits()
    try:
        if press is not None:
            await pressed_job(interaction, press, custom_id)
        if not isinstance(data.get("components"), list):
            raise RequestError("The form came back empty. Please try again.")
        fields = dict(text_fields(data["components"]))
        text, negative = fields.get(PROMPT, ""), fields.get(NEGATIVE, "").strip()
        options = RequestOptions(negative=negative or None)
        note = ""
        if press is not None:
            note = f"-# Edited by <@{interaction.user.id}>{source_link(interaction)}"
        await submit_request(interaction, lambda asker: asker.parse(text, options), note=note)
    except Exception as error:
        # The root of what this press does: whatever happens, it is answered.
        await send_error(interaction, error)
    return True


def source_link(interaction: discord.Interaction[Any]) -> str:
    """Words that lead back to the message that was pressed, if everyone can see it."""
    message = interaction.message
    if message is None or message.flags.ephemeral or interaction.channel_id is None:
        return ""
    link = jump_link(interaction.guild_id or 0, interaction.channel_id, message.id)
    return f" from [this one]({link})"
