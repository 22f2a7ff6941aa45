"""Answers that only the member sees, and the promise that every interaction gets one.

Discord takes one first answer to an interaction, so it is given again while nobody can say whether
it was taken. Knows interactions and errors; what was asked is not its business.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import DeliveryError, InvalidRequest, RequestError, StoreUnavailable
from bot.domain.text import truncate_utf16
from bot.frontend.context import get_context
from bot.frontend.first_response import answer_accepted
from bot.frontend.formatting import escape_message
from bot.frontend.messages import (
    CONTENT,
    NO_MENTIONS,
    ActionRow,
    FileUpload,
    MessageContent,
    open_files,
    to_embed,
    to_view,
)
from bot.frontend.refused_prompt import given_back, typed_text
from bot.frontend.response_outcomes import ERRORS, Attempt, Outcome, attempt, insist
from bot.services.queue import limit_waits

log = logging.getLogger(__name__)

INTERNAL_ERROR_MESSAGE: Final = (
    "Something went wrong inside the bot, and nothing was charged for this press. "
    "Try again; if it happens again, tell a moderator the number {number}."
)
UNSURE: Final = (
    "Something went wrong inside the bot. /queue shows whether your request was accepted; if it is "
    "not there, nothing was charged. Tell a moderator the number {number}."
)
REFUSED: Final = (
    "Discord did not take this answer. If it happens again, tell a moderator the number {number}."
)
NO_FORM: Final = (
    "Discord did not open the form. Use /imagine; Details shows a picture's settings as text."
)

UNAVAILABLE: Final = (
    "The bot cannot save anything at the moment: {cause}. Nothing was charged; try again in a "
    "minute. The operator can see it."
)

CHECK_SECONDS: Final = 1.0
EDIT_SECONDS: Final = 30.0

SUBMITTED: Final = "submitted"
"""Under this key an interaction remembers that a request was handed in for it."""
_ACKNOWLEDGED: Final = "acknowledged"
"""Under this key an interaction remembers how it was, perhaps, acknowledged: _QUIETLY, _THINKING.

The library only remembers an acknowledgement whose receipt arrived.
"""
_QUIETLY: Final = "quietly"
_THINKING: Final = "thinking"


async def send_ephemeral(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    card: MessageContent | None = None,
    controls: Sequence[ActionRow] = (),
    uploads: Sequence[FileUpload] = (),
) -> None:
    """Tell the member privately, as first answer or as follow-up.

    An answer that comes too late, or that nobody takes, is only logged.
    """
    how = _acknowledged(interaction)
    if how == _THINKING:
        # It says "is thinking" until this very message is edited.
        await edit_deferred(interaction, text, controls=controls, uploads=uploads)
        return
    said: dict[str, Any] = {"allowed_mentions": NO_MENTIONS, "ephemeral": True}
    if card is not None:
        said["embed"] = to_embed(card)
        controls = (*card.controls, *controls)
    view = to_view(controls)
    if view is not None:
        said["view"] = view
    if text:
        said["content"] = truncate_utf16(text, CONTENT)
    plain = {
        "content": truncate_utf16(text, CONTENT) or REFUSED.format(number=interaction.id),
        "ephemeral": True,
        "allowed_mentions": NO_MENTIONS,
    }
    if how == _QUIETLY or interaction.response.is_done():
        sent = await attempt(lambda: _follow_up(interaction, said, uploads))
        if sent.outcome in (Outcome.REFUSED, Outcome.UNKNOWN):
            # Said twice it is no contradiction; not said at all it would be missed.
            sent = await attempt(lambda: _follow_up(interaction, plain))
        if sent.outcome is not Outcome.LATE or interaction.response.is_done():
            _note(interaction, sent)
            return
        # What nobody could say of the acknowledgement is known now: it was never made.
    sleep = get_context(interaction).sleep
    sent = await insist(lambda: _say(interaction, said, uploads), sleep)
    if sent.outcome is Outcome.REFUSED:
        log.error("interaction %s failed: it was refused", interaction.id, exc_info=sent.error)
        sent = await insist(lambda: _say(interaction, plain), sleep)
    if sent.outcome in (Outcome.ANSWERED, Outcome.UNKNOWN):
        interaction.extras[_ACKNOWLEDGED] = _QUIETLY  # what is still to be said follows up
    _note(interaction, sent)


async def defer(
    interaction: discord.Interaction[Any], *, thinking: bool = False, private: bool = True
) -> None:
    """Win time: quietly or, ``thinking``, with "is thinking", for all to see if not ``private``.

    Never raises: whatever was pressed is done even if Discord does not take this.
    """
    made = await insist(
        lambda: interaction.response.defer(ephemeral=thinking and private, thinking=thinking),
        get_context(interaction).sleep,
    )
    if made.outcome not in (Outcome.LATE, Outcome.REFUSED):
        command = interaction.type is discord.InteractionType.application_command
        interaction.extras[_ACKNOWLEDGED] = _THINKING if thinking or command else _QUIETLY
    if made.error is not None:
        log.info("interaction %s is not known to be acknowledged: %s", interaction.id, made.error)


async def edit_deferred(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    controls: Sequence[ActionRow] = (),
    uploads: Sequence[FileUpload] = (),
) -> None:
    """Put an end to what was acknowledged: the private message says ``text`` from now on.

    Raises HTTPException if Discord refuses it.
    """

    async def edit() -> object:
        return await interaction.edit_original_response(
            content=truncate_utf16(text, CONTENT),
            view=to_view(controls),
            attachments=await open_files(uploads),
            allowed_mentions=NO_MENTIONS,
        )

    edited = await insist(edit, get_context(interaction).sleep, seconds=EDIT_SECONDS)
    if edited.outcome is Outcome.LATE and not interaction.response.is_done():
        # What nobody could say of the acknowledgement is known now: it was never made.
        said: dict[str, Any] = {"content": truncate_utf16(text, CONTENT), "ephemeral": True}
        view = to_view(controls)
        if view is not None:
            said["view"] = view
        edited = await insist(
            lambda: _say(interaction, said, uploads), get_context(interaction).sleep
        )
    if edited.outcome is Outcome.REFUSED and edited.error is not None:
        raise edited.error
    _note(interaction, edited)


async def add(interaction: discord.Interaction[Any], text: str) -> None:
    """Tell the member privately something more, once there is an answer; a failure is logged."""
    said = {
        "content": truncate_utf16(text, CONTENT),
        "ephemeral": True,
        "allowed_mentions": NO_MENTIONS,
    }
    _note(interaction, await attempt(lambda: _follow_up(interaction, said)))


async def open_form(interaction: discord.Interaction[Any], form: discord.ui.Modal) -> None:
    """Open a form as the first answer. Raises RequestError if Discord refuses it."""
    opened = await insist(
        lambda: interaction.response.send_modal(form), get_context(interaction).sleep
    )
    if opened.outcome is Outcome.REFUSED:
        log.warning("Discord refused the form %s: %s", form.custom_id, opened.error)
        raise RequestError(NO_FORM)
    _note(interaction, opened)


async def turn_to(interaction: discord.Interaction[Any], card: MessageContent) -> None:
    """Put ``card`` in the place of the private message that was pressed.

    Raises HTTPException if Discord refuses it.
    """

    async def edit() -> object:
        change: dict[str, Any] = {"embed": to_embed(card), "view": to_view(card.controls)}
        if _acknowledged(interaction):
            return await interaction.edit_original_response(allowed_mentions=NO_MENTIONS, **change)
        return await interaction.response.edit_message(allowed_mentions=NO_MENTIONS, **change)

    edited = await insist(edit, get_context(interaction).sleep)
    if edited.outcome is Outcome.REFUSED and edited.error is not None:
        raise edited.error
    _note(interaction, edited)


async def send_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Say what went wrong: the member's own mistakes in words, anything else as an apology.

    Never raises: this is the last thing that is tried.
    """
    if isinstance(error, InvalidRequest):
        # It says what was wrong in the member's own words.
        text = escape_message(str(error))
    elif isinstance(error, RequestError):
        text = str(error)
    elif isinstance(error, StoreUnavailable) and not interaction.extras.get(SUBMITTED):
        # That it is so is in the log already; not once for every press.
        text = UNAVAILABLE.format(cause=error.cause)
    else:
        log.error("interaction %s failed", interaction.id, exc_info=error)
        text = (await _apology(interaction)).format(number=interaction.id)
    try:
        if not text:
            return
        # What was typed would be lost with the refusal.
        typed, *rest = given_back(typed_text(interaction)) or (None,)
        await send_ephemeral(interaction, text, card=typed)
        for card in rest:
            await send_ephemeral(interaction, "", card=card)
    except (*ERRORS, DeliveryError) as failure:
        log.warning("interaction %s could not be answered: %s", interaction.id, failure)


async def _apology(interaction: discord.Interaction[Any]) -> str:
    """What is true of a press that failed; nothing if its card says it: the job was accepted."""
    if not interaction.extras.get(SUBMITTED):
        return INTERNAL_ERROR_MESSAGE
    context = get_context(interaction)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            job = await context.queue.jobs.by_interaction(interaction.id)
    except Exception:
        # The root of an apology: the store may be what went wrong.
        log.warning("interaction %s: whether it was accepted is not known", interaction.id)
        return UNSURE
    if job is None:
        return INTERNAL_ERROR_MESSAGE
    await answer_accepted(interaction, job)
    return ""


def _acknowledged(interaction: discord.Interaction[Any]) -> str:
    kind = interaction.response.type
    if kind is discord.InteractionResponseType.deferred_channel_message:
        return _THINKING
    return str(interaction.extras.get(_ACKNOWLEDGED, ""))


async def _say(
    interaction: discord.Interaction[Any], said: dict[str, Any], uploads: Sequence[FileUpload] = ()
) -> object:
    # An attempt reads files to their end, so each opens them anew.
    files = await open_files(uploads)
    extra: dict[str, Any] = {"files": files} if files else {}
    try:
        return await interaction.response.send_message(**said, **extra)
    finally:
        for file in files:
            file.close()  # the library does so everywhere but here


async def _follow_up(
    interaction: discord.Interaction[Any], said: dict[str, Any], uploads: Sequence[FileUpload] = ()
) -> object:
    files: dict[str, Any] = {"files": await open_files(uploads)} if uploads else {}
    return await interaction.followup.send(**said, **files)


def _note(interaction: discord.Interaction[Any], made: Attempt[Any]) -> None:
    if made.outcome in (Outcome.LATE, Outcome.ANSWERED):
        log.info("an answer came too late: %s", made.error)
    elif made.outcome is not Outcome.GIVEN:
        log.warning("interaction %s could not be answered: %s", interaction.id, made.error)


Suggest: TypeAlias = Callable[
    [discord.Interaction[Any], str], Coroutine[Any, Any, list[app_commands.Choice[str]]]
]


async def with_error_response(
    interaction: discord.Interaction[Any],
    act: Callable[[discord.Interaction[Any]], Awaitable[None]],
) -> None:
    """Act; a refusal is told in its own words, anything else is logged and apologised for."""
    limit_waits()
    try:
        await act(interaction)
    except Exception as error:
        await send_error(interaction, error)


def safe_autocomplete(suggest: Suggest) -> Suggest:
    """The same autocomplete, which suggests nothing where it would have failed."""

    @functools.wraps(suggest)
    async def safely(
        interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        try:
            return await suggest(interaction, typed)
        except StoreUnavailable:
            return []
        except Exception:
            log.exception("interaction %s: nothing can be suggested", interaction.id)
            return []

    return safely
