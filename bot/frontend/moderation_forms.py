"""The forms of moderation: why a result is reported or removed, how long its author is blocked.

They are recognised by their custom ids, so they can be submitted after a restart; what they name is
checked again when they are submitted.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import discord

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.domain.moderation import MAX_REASON_CHARS
from bot.domain.quota import parse_window
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import MAX_ID, job_ids_on
from bot.frontend.formatting import jump_link, pluralize, timestamp
from bot.frontend.permissions import actor_of
from bot.frontend.refused_prompt import iter_text_inputs
from bot.frontend.responses import defer, edit_deferred, send_ephemeral, with_error_response
from bot.frontend.result_removal import remove_result

NOT_A_RESULT: Final = (
    "This works only on results of this bot. For anything else, use Discord's own Report Message."
)
THANKS: Final = "Thank you. The moderators of this server see the picture and your report."
FOREVER: Final = ("forever", "permanent", "")

_REASON: Final = "reason"
_LENGTH: Final = "for"
_FORM: Final = re.compile(
    r"gb-mod-form:(?P<what>report|remove):(?P<job>[a-z2-7]{16}):(?P<message>[0-9]{1,19})"
    r"|gb-mod-form:block:(?P<report>[0-9]{1,18})"
)


def report_form(job_id: str, message_id: int) -> discord.ui.Modal:
    """Return the form that asks a member why they report a result."""
    ident = f"gb-mod-form:report:{job_id}:{message_id}"
    return _form("Report to moderators", ident, _reason_input("What is wrong with it?"))


def remove_form(job_id: str, message_id: int) -> discord.ui.Modal:
    """Return the form that asks a moderator why they remove a result."""
    ident = f"gb-mod-form:remove:{job_id}:{message_id}"
    return _form("Remove this result", ident, _reason_input("Reason, for the log channel"))


def block_form(report_id: int) -> discord.ui.Modal:
    """Return the form that asks a moderator how long to block an author."""
    length: discord.ui.Label[Any] = discord.ui.Label(
        text="For how long?",
        description="Such as 30m, 24h or 7d, at most 365d. Empty: until somebody unblocks them.",
        component=discord.ui.TextInput(custom_id=_LENGTH, max_length=20, required=False),
    )
    why = _reason_input("Reason, which the member reads")
    return _form("Block author", f"gb-mod-form:block:{report_id}", length, why)


def _reason_input(text: str) -> discord.ui.Label[Any]:
    return discord.ui.Label(
        text=text,
        component=discord.ui.TextInput(
            custom_id=_REASON,
            style=discord.TextStyle.paragraph,
            max_length=MAX_REASON_CHARS,
            required=False,
        ),
    )


def _form(title: str, ident: str, *inputs: discord.ui.Label[Any]) -> discord.ui.Modal:
    modal = discord.ui.Modal(title=title, custom_id=ident, timeout=None)
    for one in inputs:
        modal.add_item(one)
    # Finished from the library's point of view: it has nothing to remember.
    modal.stop()
    return modal


async def result_job(context: BotContext, message: discord.Message, guild_id: int) -> Job:
    """Return the job whose result, or a row of it, a message of the bot shows.

    Raises RequestError for any other message, and for a result of another server.
    """
    named = job_ids_on(message)
    found = (
        await context.messages.job_of(message.id)
        # A thread has the id of the message that it began at.
        or await context.messages.job_of(message.channel.id)
        or (next(iter(named)) if len(named) == 1 else None)
    )
    job = await context.queue.jobs.get(found) if found else None
    if job is None or not job.fetched_rows or job.request.place.guild_id != guild_id:
        raise RequestError(NOT_A_RESULT)
    return job


def parse_block_length(text: str) -> timedelta | None:
    """Return a typed length of time, None for ever. Raises InvalidRequest."""
    if text.strip().lower() in FOREVER:
        return None
    try:
        return parse_window(text)
    except ValueError as error:
        raise InvalidRequest(_LENGTH, f"for: {error}") from error


async def handle_moderation_form(interaction: discord.Interaction[Any]) -> bool:
    """Handle the interaction if it is one of these forms; return whether it was."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    match = _FORM.fullmatch(str(data.get("custom_id")))
    if match is None:
        return False
    fields = dict(iter_text_inputs(data.get("components")))

    async def handle(interaction: discord.Interaction[Any]) -> None:
        await _FORMS[match["what"] or "block"](interaction, match, fields)

    await with_error_response(interaction, handle)
    return True


async def _report(
    interaction: discord.Interaction[Any], match: re.Match[str], fields: Mapping[str, str]
) -> None:
    context = get_context(interaction)
    job, message = await _target(interaction, match)
    await defer(interaction, thinking=True)
    await context.reports.report(
        interaction.guild_id or 0,
        job,
        message,
        url=jump_link(interaction.guild_id or 0, message.channel_id, message.message_id),
        reason=fields.get(_REASON, ""),
        by=actor_of(interaction, context.moderator_role),
    )
    get_client(interaction).log_poster.wake()
    await edit_deferred(interaction, THANKS)


async def _remove(
    interaction: discord.Interaction[Any], match: re.Match[str], fields: Mapping[str, str]
) -> None:
    job, message = await _target(interaction, match)
    await defer(interaction, thinking=True)
    text = await remove_with_evidence(interaction, job, fields.get(_REASON, ""), message)
    await edit_deferred(interaction, text)


async def remove_with_evidence(
    interaction: discord.Interaction[Any], job: Job, reason: str, message: MessageRef | None
) -> str:
    """Remove a result as a moderator and return the answer. Raises RequestError."""
    context = get_context(interaction)
    by = actor_of(interaction, context.moderator_role)
    await context.reports.remove(
        interaction.guild_id or 0, job, reason=reason, by=by, message=message
    )
    return await remove_result(get_client(interaction), job.id) or "Removed."


async def _block(
    interaction: discord.Interaction[Any], match: re.Match[str], fields: Mapping[str, str]
) -> None:
    context = get_context(interaction)
    block, cancelled = await context.reports.block_author(
        interaction.guild_id or 0,
        int(match["report"]),
        lasts=parse_block_length(fields.get(_LENGTH, "")),
        reason=fields.get(_REASON, ""),
        by=actor_of(interaction, context.moderator_role),
    )
    get_client(interaction).log_poster.wake()
    until = f" until {timestamp(block.until, 'f')}" if block.until else ""
    refunded = f" {pluralize(cancelled, 'waiting request')} cancelled and refunded."
    await send_ephemeral(
        interaction, f"<@{block.user_id}> is blocked{until}." + refunded * bool(cancelled)
    )


async def _target(
    interaction: discord.Interaction[Any], match: re.Match[str]
) -> tuple[Job, MessageRef]:
    """Return the job and the message that a form names. Raises RequestError."""
    context, message_id = get_context(interaction), int(match["message"])
    job = await context.queue.jobs.get(match["job"])
    if (
        job is None
        or job.request.place.guild_id != interaction.guild_id
        or message_id > MAX_ID
        or await context.messages.job_of(message_id) not in (None, job.id)
    ):
        raise RequestError(NOT_A_RESULT)
    return job, MessageRef(interaction.channel_id or 0, message_id)


_FORMS: Final[
    Mapping[
        str,
        Callable[
            [discord.Interaction[Any], re.Match[str], Mapping[str, str]],
            Awaitable[None],
        ],
    ]
] = {"report": _report, "remove": _remove, "block": _block}
