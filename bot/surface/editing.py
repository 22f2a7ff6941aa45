"""The form behind "Edit & run again". It carries its job's id, so it can be handed in any time.

The library would forget a form at a restart; this one is recognised by its custom id, like a
button.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.domain.request import Options
from bot.surface.answers import answer_error
from bot.surface.controls import Press, Verb
from bot.surface.submitting import submit
from bot.surface.texts import jump_link

PROMPT: Final = "prompt"
NEGATIVE: Final = "negative"

_MOST = 4000


def edit_form(job: Job) -> discord.ui.Modal:
    """The form, filled in with what was asked for."""
    request = job.request
    words = replace(request, negative="").show()
    form = discord.ui.Modal(
        title="Edit & run again", custom_id=str(Press(Verb.EDIT, job.id)), timeout=None
    )
    form.add_item(
        discord.ui.Label(
            text="What to paint, and how",
            description="Keep --seed for the same composition; leave it out for a new one.",
            component=discord.ui.TextInput(
                custom_id=PROMPT,
                style=discord.TextStyle.paragraph,
                default=words[:_MOST],
                max_length=_MOST,
            ),
        )
    )
    form.add_item(
        discord.ui.Label(
            text="What to keep out of it",
            component=discord.ui.TextInput(
                custom_id=NEGATIVE,
                default=request.negative[:_MOST] or None,
                max_length=_MOST,
                required=False,
            ),
        )
    )
    # Finished from the library's point of view: it has nothing to remember.
    form.stop()
    return form


async def handed_in(interaction: discord.Interaction[Any]) -> bool:
    """Take a form in, if the interaction is one of these forms; whether it was.

    The client calls this for every interaction.
    """
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    press = Press.read(str(data.get("custom_id")))
    if press is None or press.verb is not Verb.EDIT:
        return False
    try:
        fields = dict(_fields(data.get("components")))
        text, negative = fields.get(PROMPT, ""), fields.get(NEGATIVE, "").strip()
        options = Options(negative=negative or None)
        note = f"-# Edited by <@{interaction.user.id}>{from_message(interaction)}"
        await submit(interaction, lambda asker: asker.parse(text, options), note=note)
    except Exception as error:
        # The root of what this press does: whatever happens, it is answered.
        await answer_error(interaction, error)
    return True


def from_message(interaction: discord.Interaction[Any]) -> str:
    """Words that lead back to the message that was pressed, if everyone can see it."""
    message = interaction.message
    if message is None or message.flags.ephemeral or interaction.channel_id is None:
        return ""
    link = jump_link(interaction.guild_id or 0, interaction.channel_id, message.id)
    return f" from [this one]({link})"


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    """The text inputs of a form, however deep they lie, as custom id and what was typed."""
    if not isinstance(components, list):
        raise RequestError("The form came back empty. Please try again.")
    for component in components:
        if "value" in component:
            yield str(component.get("custom_id")), str(component["value"])
        nested = component.get("components")
        if isinstance(nested, list):
            yield from _fields(nested)
        if isinstance(component.get("component"), dict):
            yield from _fields([component["component"]])
