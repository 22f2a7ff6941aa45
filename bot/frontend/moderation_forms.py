"""The forms of moderation: why a result is reported or removed, how long its author is blocked.

They are recognised by their custom ids, so they can be submitted after a restart; what they name is
checked again when they are submitted.
"""

from __future__ import annotations

import re
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.domain.moderation import MAX_REASON_CHARS
from bot.frontend.context import get_context
from bot.frontend.custom_ids import job_ids_on

NOT_A_RESULT: Final = (
    "This works only on results of this bot. For anything else, use Discord's own Report Message."
)
THANKS: Final = "Thank you. The moderators of this server see the picture and your report."

REASON: Final = "reason"
LENGTH: Final = "for"
FORM_PATTERN: Final = re.compile(
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
        component=discord.ui.TextInput(custom_id=LENGTH, max_length=20, required=False),
    )
    why = _reason_input("Reason, which the member reads")
    return _form("Block author", f"gb-mod-form:block:{report_id}", length, why)


def _reason_input(text: str) -> discord.ui.Label[Any]:
    return discord.ui.Label(
        text=text,
        component=discord.ui.TextInput(
            custom_id=REASON,
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


async def result_job(interaction: discord.Interaction[Any], message: discord.Message) -> Job:
    """Return the job whose result, or a row of it, a message of the bot shows.

    Raises RequestError for any other message, and for a result of another server.
    """
    context, own = get_context(interaction), interaction.client.user
    if own is None or message.author.id != own.id:
        raise RequestError(NOT_A_RESULT)  # somebody writes below a result, or imitates one
    named = job_ids_on(message)
    found = (
        await context.messages.job_of(message.id)
        # A thread has the id of the message that it began at.
        or await context.messages.job_of(message.channel.id)
        or (next(iter(named)) if len(named) == 1 else None)
    )
    job = await context.queue.jobs.get(found) if found else None
    if job is None or not job.fetched_rows or job.request.place.guild_id != interaction.guild_id:
        raise RequestError(NOT_A_RESULT)
    return job
