"""Give a member's refused prompt back privately, with a button to edit it.

The message itself holds the prompt, so the button works after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.init_image import DEFAULT_STRENGTH
from bot.domain.request import spelled
from bot.domain.text import normalize_text
from bot.frontend.formatting import code_block, parse_code_block
from bot.frontend.message_content import GREY, MAX_DESCRIPTION, ButtonSpec, MessageContent

EDIT_ID: Final = "gb-prompt:edit"
MODAL_ID: Final = "gb-prompt:form"
PROMPT: Final = "prompt"
NEGATIVE: Final = "negative"
STRENGTH: Final = "strength"

MAX_INPUT_LENGTH: Final = 4000
"""Discord's limit for a text input; a command's option may be longer."""

_IMAGINE: Final = "imagine"
_EMBED_TITLE: Final = "Your prompt"
_PROMPT_MISSING: Final = "The prompt is no longer in this message. Use /imagine."


def read_typed_text(interaction: discord.Interaction[Any]) -> str:
    """Return the typed prompt, with the other options written as flags.

    Empty where nothing was typed, as for a button.
    """
    data: Any = interaction.data or {}
    if interaction.type is discord.InteractionType.modal_submit:
        fields = dict(iter_text_inputs(data.get("components")))
        options = {NEGATIVE: fields.get(NEGATIVE, "")}
        if STRENGTH in fields:  # the form of a picture: as below
            options[STRENGTH] = fields[STRENGTH].strip() or str(DEFAULT_STRENGTH)
        return _clean(spelled(fields.get(PROMPT, ""), options))
    if interaction.type is not discord.InteractionType.application_command:
        return ""
    if data.get("name") != _IMAGINE:
        return ""
    options = {str(one["name"]): one.get("value", "") for one in data.get("options", ())}
    if options.pop("image", None):
        # Without the picture this is refused: nobody runs it without by mistake.
        options.setdefault(STRENGTH, str(DEFAULT_STRENGTH))
    return _clean(spelled(str(options.pop(PROMPT, "")), options))


def build_prompt_messages(text: str) -> tuple[MessageContent, ...]:
    """Return the messages that hold ``text`` and offer to edit it; none if it is empty.

    A modal holds less text than a command: the rest is in a second message, to be copied.
    """
    if not text:
        return ()
    raw = text.encode("utf-16-le", "surrogatepass")
    fits = raw[: 2 * MAX_INPUT_LENGTH].decode("utf-16-le", "ignore")
    rest = text[len(fits) :]
    edit = ButtonSpec("Edit & run again", EDIT_ID, style="primary")
    embed = MessageContent(
        _EMBED_TITLE, code_block(fits, MAX_DESCRIPTION), GREY, controls=((edit,),)
    )
    if not rest:
        return (embed,)
    return embed, MessageContent(
        "Rest of your prompt (too long for the form)", code_block(rest, MAX_DESCRIPTION), GREY
    )


def extract_prompt(message: discord.Message | None) -> str:
    """Return the prompt in a message of ``build_prompt_messages``. Raises RequestError."""
    for embed in message.embeds if message is not None else ():
        if embed.title == _EMBED_TITLE and (text := parse_code_block(embed.description or "")):
            return text
    raise RequestError(_PROMPT_MISSING)


def iter_text_inputs(components: Any) -> Iterator[tuple[str, str]]:
    """Yield custom id and value of each text input of a modal, nested ones too."""
    for component in components if isinstance(components, list) else ():
        if "value" in component:
            yield str(component.get("custom_id")), str(component["value"])
        yield from iter_text_inputs(component.get("components"))
        if isinstance(component.get("component"), dict):
            yield from iter_text_inputs([component["component"]])


def _clean(text: str) -> str:
    """Return the text without invisible characters; its lines stay."""
    return "\n".join(normalize_text(line) for line in text.strip().splitlines())
