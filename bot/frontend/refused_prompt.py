"""What a member typed, given back privately when it was refused, with a button to change it.

The refusal's own message holds the text, so the button works after a restart and nothing is
remembered for it. What was wrong is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.request import spelled
from bot.domain.text import normalize_text
from bot.frontend.embeds import GREY
from bot.frontend.formatting import code_block, uncoded
from bot.frontend.messages import DESCRIPTION, ButtonSpec, MessageContent

EDIT_ID: Final = "gb-prompt:edit"
FORM_ID: Final = "gb-prompt:form"
PROMPT: Final = "prompt"
NEGATIVE: Final = "negative"

MOST_TYPED: Final = 4000
"""Discord's limit for a text input; a command's option may be longer."""

_IMAGINE: Final = "imagine"
_TITLE: Final = "Your prompt"
_GONE: Final = "The prompt is not in this message any more. Use /imagine."


def typed_text(interaction: discord.Interaction[Any]) -> str:
    """Return what the member typed, everything that they filled in beside it written as flags.

    Empty where nothing was typed, as for a button.
    """
    data: Any = interaction.data or {}
    if interaction.type is discord.InteractionType.modal_submit:
        fields = dict(text_fields(data.get("components")))
        return _tidy(spelled(fields.get(PROMPT, ""), {NEGATIVE: fields.get(NEGATIVE, "")}))
    if interaction.type is not discord.InteractionType.application_command:
        return ""
    if data.get("name") != _IMAGINE:
        return ""
    given = {str(one["name"]): one.get("value", "") for one in data.get("options", ())}
    return _tidy(spelled(str(given.pop(PROMPT, "")), given))


def given_back(text: str) -> tuple[MessageContent, ...]:
    """Return the cards that hold ``text`` and offer to change it; none if there is no text.

    A form holds less than a command: what does not fit into it has a card of its own, to be copied.
    """
    if not text:
        return ()
    raw = text.encode("utf-16-le", "surrogatepass")
    fits = raw[: 2 * MOST_TYPED].decode("utf-16-le", "ignore")
    rest = text[len(fits) :]
    edit = ButtonSpec("Edit & run again", EDIT_ID, style="primary")
    card = MessageContent(_TITLE, code_block(fits, DESCRIPTION), GREY, controls=((edit,),))
    if not rest:
        return (card,)
    return card, MessageContent(
        "The rest of it, too long for a form", code_block(rest, DESCRIPTION), GREY
    )


def text_given_back(message: discord.Message | None) -> str:
    """Return the text that ``given_back`` put into a message. Raises RequestError without one."""
    for embed in message.embeds if message is not None else ():
        if embed.title == _TITLE and (text := uncoded(embed.description or "")):
            return text
    raise RequestError(_GONE)


def text_fields(components: Any) -> Iterator[tuple[str, str]]:
    """Yield the text inputs of a form, however deep they lie, as custom id and what was typed."""
    for component in components if isinstance(components, list) else ():
        if "value" in component:
            yield str(component.get("custom_id")), str(component["value"])
        yield from text_fields(component.get("components"))
        if isinstance(component.get("component"), dict):
            yield from text_fields([component["component"]])


def _tidy(text: str) -> str:
    """The text without what cannot be seen; its lines stay."""
    return "\n".join(normalize_text(line) for line in text.strip().splitlines())
