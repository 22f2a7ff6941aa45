"""Private responses to interactions; every interaction gets one.

Discord accepts one first response, so it is sent again while its outcome is unknown. Lists with
pages and components that work after a restart respond the same way.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Self, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import DeliveryError, InvalidRequest, RequestError, StoreUnavailable
from bot.domain.text import truncate_utf16
from bot.frontend.acknowledgement import SILENT, THINKING, acknowledged, remember_acknowledged
from bot.frontend.context import get_context
from bot.frontend.discord_errors import ERRORS, Attempt, Outcome, attempt, retry_unknown
from bot.frontend.formatting import escape_message
from bot.frontend.listing import Listing, build_page
from bot.frontend.message_content import MAX_CONTENT, ActionRow, FileUpload, MessageContent
from bot.frontend.messages import NO_MENTIONS, open_files, to_embed, to_view
from bot.frontend.refused_prompt import build_prompt_messages, read_typed_text
from bot.services.queue import limit_waits

log = logging.getLogger(__name__)

INTERNAL_ERROR_MESSAGE: Final = (
    "Something went wrong in the bot, and nothing was charged. "
    "Try again. If it happens again, give a moderator this number: {number}."
)
REFUSED: Final = (
    "Discord refused this answer. If it happens again, give a moderator this number: {number}."
)
MODAL_FAILED: Final = (
    "Discord did not open the form. Use /imagine. Details shows the settings of a job as text."
)

STORE_UNAVAILABLE_MESSAGE: Final = (
    "The bot cannot save anything at the moment: {cause}. Nothing was charged. Try again in a "
    "minute. The operator can see this error."
)

EDIT_SECONDS: Final = 30.0

_PAGE: Final = r"(?P<page>[0-9]{1,4})"
_SUBJECT: Final = r"(?P<about>[a-z0-9-]{0,40})"


async def send_ephemeral(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    embed: MessageContent | None = None,
    controls: Sequence[ActionRow] = (),
    uploads: Sequence[FileUpload] = (),
) -> None:
    """Respond privately, as first response or as follow-up.

    A response that comes too late, or that Discord refuses, is only logged.
    """
    state = acknowledged(interaction)
    if state == THINKING:
        # It says "is thinking" until this very message is edited.
        await edit_deferred(interaction, text, controls=controls, uploads=uploads)
        return
    payload: dict[str, Any] = {"allowed_mentions": NO_MENTIONS, "ephemeral": True}
    if embed is not None:
        payload["embed"] = to_embed(embed)
        controls = (*embed.controls, *controls)
    view = to_view(controls)
    if view is not None:
        payload["view"] = view
    if text:
        payload["content"] = truncate_utf16(text, MAX_CONTENT)
    plain = {
        "content": truncate_utf16(text, MAX_CONTENT) or REFUSED.format(number=interaction.id),
        "ephemeral": True,
        "allowed_mentions": NO_MENTIONS,
    }
    if state == SILENT or interaction.response.is_done():
        sent = await attempt(lambda: _send_follow_up(interaction, payload, uploads))
        if sent.outcome in (Outcome.REFUSED, Outcome.UNKNOWN):
            # Said twice it is no contradiction; not said at all it would be missed.
            sent = await attempt(lambda: _send_follow_up(interaction, plain))
        if sent.outcome is not Outcome.EXPIRED or interaction.response.is_done():
            _log_outcome(interaction, sent)
            return
        # What nobody could say of the acknowledgement is known now: it was never made.
    sleep = get_context(interaction).sleep
    sent = await retry_unknown(lambda: _send_response(interaction, payload, uploads), sleep)
    if sent.outcome is Outcome.REFUSED:
        log.error("interaction %s failed: it was refused", interaction.id, exc_info=sent.error)
        sent = await retry_unknown(lambda: _send_response(interaction, plain), sleep)
    if sent.outcome in (Outcome.ALREADY_ANSWERED, Outcome.UNKNOWN):
        remember_acknowledged(interaction, SILENT)  # what is still to be said follows up
    _log_outcome(interaction, sent)


async def defer(
    interaction: discord.Interaction[Any], *, thinking: bool = False, private: bool = True
) -> None:
    """Acknowledge silently or, with ``thinking``, as "is thinking", public if not ``private``.

    Never raises: the interaction is handled even if Discord refuses this.
    """
    result = await retry_unknown(
        lambda: interaction.response.defer(ephemeral=thinking and private, thinking=thinking),
        get_context(interaction).sleep,
    )
    if result.outcome not in (Outcome.EXPIRED, Outcome.REFUSED):
        command = interaction.type is discord.InteractionType.application_command
        remember_acknowledged(interaction, THINKING if thinking or command else SILENT)
    if result.error is not None:
        log.info("interaction %s is not known to be acknowledged: %s", interaction.id, result.error)


@contextlib.asynccontextmanager
async def thinking_in_public(interaction: discord.Interaction[Any]) -> AsyncIterator[None]:
    """Acknowledge as "is thinking", for everybody, before work that takes longer than 3 seconds.

    If the block raises, that is taken back, so that the member alone reads the error.
    """
    await defer(interaction, thinking=True, private=False)
    try:
        yield
    except Exception:
        taken_back = await retry_unknown(
            interaction.delete_original_response, get_context(interaction).sleep
        )
        if taken_back.outcome in (Outcome.SUCCEEDED, Outcome.EXPIRED):
            remember_acknowledged(interaction, SILENT)
        raise


async def edit_deferred(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    controls: Sequence[ActionRow] = (),
    uploads: Sequence[FileUpload] = (),
) -> None:
    """Replace the deferred response by ``text``.

    Raises HTTPException if Discord refuses it.
    """

    async def edit() -> object:
        return await interaction.edit_original_response(
            content=truncate_utf16(text, MAX_CONTENT),
            view=to_view(controls),
            attachments=await open_files(uploads),
            allowed_mentions=NO_MENTIONS,
        )

    edited = await retry_unknown(edit, get_context(interaction).sleep, seconds=EDIT_SECONDS)
    if edited.outcome is Outcome.EXPIRED and not interaction.response.is_done():
        # What nobody could say of the acknowledgement is known now: it was never made.
        payload: dict[str, Any] = {"content": truncate_utf16(text, MAX_CONTENT), "ephemeral": True}
        view = to_view(controls)
        if view is not None:
            payload["view"] = view
        edited = await retry_unknown(
            lambda: _send_response(interaction, payload, uploads), get_context(interaction).sleep
        )
    if edited.outcome is Outcome.REFUSED and edited.error is not None:
        raise edited.error
    _log_outcome(interaction, edited)


async def send_follow_up(interaction: discord.Interaction[Any], text: str) -> None:
    """Send one more private message after the response; a failure is logged."""
    payload = {
        "content": truncate_utf16(text, MAX_CONTENT),
        "ephemeral": True,
        "allowed_mentions": NO_MENTIONS,
    }
    _log_outcome(interaction, await attempt(lambda: _send_follow_up(interaction, payload)))


async def open_modal(interaction: discord.Interaction[Any], modal: discord.ui.Modal) -> None:
    """Open a modal as first response. Raises RequestError if Discord refuses it."""
    opened = await retry_unknown(
        lambda: interaction.response.send_modal(modal), get_context(interaction).sleep
    )
    if opened.outcome is Outcome.REFUSED:
        log.warning("Discord refused the form %s: %s", modal.custom_id, opened.error)
        raise RequestError(MODAL_FAILED)
    _log_outcome(interaction, opened)


async def update_message(interaction: discord.Interaction[Any], embed: MessageContent) -> None:
    """Replace the private message of the component by ``embed``.

    Raises HTTPException if Discord refuses it.
    """

    async def edit() -> object:
        change: dict[str, Any] = {"embed": to_embed(embed), "view": to_view(embed.controls)}
        if acknowledged(interaction):
            return await interaction.edit_original_response(allowed_mentions=NO_MENTIONS, **change)
        return await interaction.response.edit_message(allowed_mentions=NO_MENTIONS, **change)

    edited = await retry_unknown(edit, get_context(interaction).sleep)
    if edited.outcome is Outcome.REFUSED and edited.error is not None:
        raise edited.error
    _log_outcome(interaction, edited)


async def send_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Tell the member what went wrong: a RequestError in its words, others in general.

    Never raises.
    """
    if isinstance(error, InvalidRequest):
        # It says what was wrong in the member's own words.
        text = escape_message(str(error))
    elif isinstance(error, RequestError):
        text = str(error)
    elif isinstance(error, StoreUnavailable):
        # The store logs this once; it is not logged again for every interaction.
        text = STORE_UNAVAILABLE_MESSAGE.format(cause=error.cause)
    else:
        log.error("interaction %s failed", interaction.id, exc_info=error)
        text = INTERNAL_ERROR_MESSAGE.format(number=interaction.id)
    try:
        # What was typed would be lost with the refusal.
        typed, *rest = build_prompt_messages(read_typed_text(interaction)) or (None,)
        await send_ephemeral(interaction, text, embed=typed)
        for embed in rest:
            await send_ephemeral(interaction, "", embed=embed)
    except (*ERRORS, DeliveryError) as failure:
        log.warning("interaction %s could not be answered: %s", interaction.id, failure)


async def _send_response(
    interaction: discord.Interaction[Any],
    payload: dict[str, Any],
    uploads: Sequence[FileUpload] = (),
) -> object:
    # An attempt reads files to their end, so each opens them anew.
    files = await open_files(uploads)
    extra: dict[str, Any] = {"files": files} if files else {}
    try:
        return await interaction.response.send_message(**payload, **extra)
    finally:
        for file in files:
            file.close()  # the library does so everywhere but here


async def _send_follow_up(
    interaction: discord.Interaction[Any],
    payload: dict[str, Any],
    uploads: Sequence[FileUpload] = (),
) -> object:
    files: dict[str, Any] = {"files": await open_files(uploads)} if uploads else {}
    return await interaction.followup.send(**payload, **files)


def _log_outcome(interaction: discord.Interaction[Any], result: Attempt[Any]) -> None:
    if result.outcome in (Outcome.EXPIRED, Outcome.ALREADY_ANSWERED):
        log.info("an answer came too late: %s", result.error)
    elif result.outcome is not Outcome.SUCCEEDED:
        log.warning("interaction %s could not be answered: %s", interaction.id, result.error)


Suggest: TypeAlias = Callable[
    [discord.Interaction[Any], str], Coroutine[Any, Any, list[app_commands.Choice[str]]]
]


async def with_error_response(
    interaction: discord.Interaction[Any],
    act: Callable[[discord.Interaction[Any]], Awaitable[None]],
) -> None:
    """Call ``act``; tell the member about an error, and log it if it is internal."""
    limit_waits()
    try:
        await act(interaction)
    except Exception as error:
        await send_error(interaction, error)


def safe_autocomplete(suggest: Suggest) -> Suggest:
    """Return the autocomplete, wrapped to suggest nothing on an error."""

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


class PersistentComponent(discord.ui.DynamicItem[discord.ui.Item[Any]], template=r"(?!)"):
    """Base of buttons and selects that are recognised by their custom id, also after a restart.

    A subclass gives ``template`` and overrides ``handle``; ``match`` is the custom id's match.
    """

    def __init__(self, item: discord.ui.Item[Any], match: re.Match[str]) -> None:
        super().__init__(item)
        self.match = match

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """Return the component that was used."""
        return cls(item, match)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Handle the interaction; the member is told about an error."""
        await with_error_response(interaction, self.handle)

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Do what the component is for, and respond."""
        raise NotImplementedError


async def send_listing(
    interaction: discord.Interaction[Any], name: str, listing: Listing, subject: str = ""
) -> None:
    """Send the first page of the list ``name`` privately."""
    await send_ephemeral(interaction, "", embed=build_page(listing, name, subject, 1))


LoadListing: TypeAlias = Callable[[discord.Interaction[Any], str], Awaitable[Listing]]
"""Reads a list for who asks. The text says what it is about; it is empty, or the list's own."""


def page_buttons(name: str, load: LoadListing) -> type[discord.ui.DynamicItem[Any]]:
    """Return the dynamic item that changes pages of the list ``name``, for ITEMS.

    A custom id holds the list's name, its subject and the page, and the list is loaded again, so
    the buttons work after a restart.
    """

    class PageButton(PersistentComponent, template=rf"gb-page:{name}:{_SUBJECT}:{_PAGE}"):
        async def handle(self, interaction: discord.Interaction[Any]) -> None:
            subject = self.match["about"]
            listing = await load(interaction, subject)
            page = build_page(listing, name, subject, int(self.match["page"]))
            await update_message(interaction, page)

    return PageButton
