"""Answers that only the member sees, and the promise that every interaction gets one.

Knows interactions and errors; what was asked is not its business.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import discord

from bot.domain.errors import InvalidRequest, RequestError, StoreUnavailable
from bot.surface.card import CONTENT, Card, ControlRow
from bot.surface.given_back import given_back, typed_text
from bot.surface.posting import NO_MENTIONS, Upload, embed_of, opened, view_of
from bot.surface.texts import cut, disarmed

log = logging.getLogger(__name__)

APOLOGY: Final = (
    "Something went wrong inside the bot, and nothing was charged for this press. "
    "Try again; if it happens again, tell a moderator the number {number}."
)

UNAVAILABLE: Final = (
    "The bot cannot save anything at the moment: {cause}. Nothing was charged; try again in a "
    "minute. The operator can see it."
)

# Answered before (a replayed event, a retry that arrived after all), or too late to answer.
_TOO_LATE = {10062, 40060, 50027, 10015}


async def whisper(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    card: Card | None = None,
    controls: Sequence[ControlRow] = (),
    uploads: Sequence[Upload] = (),
) -> None:
    """Tell the member privately, as first answer or as follow-up; too late is no error."""
    if interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
        # It says "is thinking" until this very message is edited.
        await conclude(interaction, text, controls=controls, uploads=uploads)
        return
    said: dict[str, Any] = {"allowed_mentions": NO_MENTIONS}
    if card is not None:
        said["embed"] = embed_of(card)
        controls = (*card.controls, *controls)
    view = view_of(controls)
    if view is not None:
        said["view"] = view
    if uploads:
        said["files"] = await opened(uploads)
    if text:
        said["content"] = cut(text, CONTENT)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(ephemeral=True, **said)
        else:
            await interaction.response.send_message(ephemeral=True, **said)
    except discord.HTTPException as error:
        if error.code not in _TOO_LATE:
            raise
        log.info("an answer came too late: %s", error)


async def acknowledge(interaction: discord.Interaction[Any], *, thinking: bool = False) -> None:
    """Win time: quietly or, ``thinking``, with a private "is thinking"; too late is no error."""
    try:
        await interaction.response.defer(ephemeral=thinking, thinking=thinking)
    except discord.HTTPException as error:
        if error.code not in _TOO_LATE:
            raise
        log.info("a press was acknowledged too late: %s", error)


async def conclude(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    controls: Sequence[ControlRow] = (),
    uploads: Sequence[Upload] = (),
) -> None:
    """Put an end to what was acknowledged: the private message says ``text`` from now on."""
    try:
        await interaction.edit_original_response(
            content=cut(text, CONTENT),
            view=view_of(controls),
            attachments=await opened(uploads),
            allowed_mentions=NO_MENTIONS,
        )
    except discord.HTTPException as error:
        if error.code not in _TOO_LATE:
            raise
        log.info("an answer came too late: %s", error)


async def answer_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Say what went wrong: the member's own mistakes in words, anything else as an apology.

    Never raises: this is the last thing that is tried.
    """
    if isinstance(error, InvalidRequest):
        # It says what was wrong in the member's own words.
        text = disarmed(str(error))
    elif isinstance(error, RequestError):
        text = str(error)
    elif isinstance(error, StoreUnavailable):
        # That it is so is in the log already; not once for every press.
        text = UNAVAILABLE.format(cause=error.cause)
    else:
        text = APOLOGY.format(number=interaction.id)
        log.error("interaction %s failed", interaction.id, exc_info=error)
    try:
        # What was typed would be lost with the refusal.
        typed, *rest = given_back(typed_text(interaction)) or (None,)
        await whisper(interaction, text, card=typed)
        for card in rest:
            await whisper(interaction, "", card=card)
    except (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError) as failure:
        log.warning("interaction %s could not be answered: %s", interaction.id, failure)


def came_too_late(error: discord.HTTPException) -> bool:
    """Whether an answer was refused because there is one already, or time is up."""
    return error.code in _TOO_LATE
