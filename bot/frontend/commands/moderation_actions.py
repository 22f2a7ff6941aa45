"""Message and member actions for moderation, and the buttons of the log channel's entries.

Members report results; moderators remove them and see a member's quota and requests. Who may is
asked again at every press, by the services.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend.command_options import moderator_of, parse_end_option
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import MAX_ID
from bot.frontend.formatting import jump_link, pluralize, timestamp
from bot.frontend.moderation_forms import (
    FORM_PATTERN,
    LENGTH,
    NOT_A_RESULT,
    REASON,
    THANKS,
    block_form,
    remove_form,
    report_form,
    result_job,
)
from bot.frontend.permissions import actor_of
from bot.frontend.refused_prompt import iter_text_inputs
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    edit_deferred,
    open_modal,
    send_ephemeral,
    with_error_response,
)
from bot.frontend.result_removal import remove_result, remove_with_evidence
from bot.services.reports import Decision

_FOREVER: Final = ("forever", "permanent", "")
_MODERATORS: Final = discord.Permissions(moderate_members=True)
_VERBS: Final[dict[str, tuple[Decision, str]]] = {
    "remove": ("removed", "Removed."),
    "refund": ("refunded", "Removed. The author's images are refunded."),
    "dismiss": ("dismissed", "Dismissed. The result stays."),
}


class ReportButton(
    PersistentComponent,
    template=r"gb-mod:(?P<verb>remove|refund|block|dismiss):(?P<report>[0-9]{1,18})",
):
    """Decides a report, on its entry in the log channel or in the list of reports."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the moderator's decision. Raises RequestError if it was decided before."""
        context, ident = get_context(interaction), int(self.match["report"])
        by, guild_id = moderator_of(interaction), interaction.guild_id or 0
        if self.match["verb"] == "block":
            await context.reports.require_unblocked(guild_id, ident)
            await open_modal(interaction, block_form(ident))
            return
        decision, text = _VERBS[self.match["verb"]]
        await defer(interaction, thinking=True)
        job = await context.reports.decide(guild_id, ident, decision, by=by)
        client = get_client(interaction)
        if decision != "dismissed":
            text = await remove_result(client, job.id) or text
        client.log_poster.wake()
        await edit_deferred(interaction, text)


class HoldButton(
    PersistentComponent,
    template=r"gb-mod:(?P<verb>approve|reject):(?P<kind>words|image):(?P<job>[a-z2-7]{16})",
):
    """Approves or rejects a request that waits for a moderator."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the moderator's decision. Raises RequestError if it was decided before."""
        approved = self.match["verb"] == "approve"
        kind: Any = self.match["kind"]
        await get_context(interaction).moderation.decide_hold(
            interaction.guild_id or 0,
            self.match["job"],
            kind,
            approved=approved,
            by=moderator_of(interaction),
        )
        get_client(interaction).log_poster.wake()
        text = "Approved." if approved else "Rejected. The member's images are refunded."
        await send_ephemeral(interaction, text)


ITEMS: Final = (ReportButton, HoldButton)


async def handle_moderation_form(interaction: discord.Interaction[Any]) -> bool:
    """Handle the interaction if it is one of these forms; return whether it was."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    match = FORM_PATTERN.fullmatch(str(data.get("custom_id")))
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
        reason=fields.get(REASON, ""),
        by=actor_of(interaction, context.moderator_role),
    )
    get_client(interaction).log_poster.wake()
    await edit_deferred(interaction, THANKS)


async def _remove(
    interaction: discord.Interaction[Any], match: re.Match[str], fields: Mapping[str, str]
) -> None:
    job, message = await _target(interaction, match)
    await defer(interaction, thinking=True)
    problem = await remove_with_evidence(interaction, job, fields.get(REASON, ""), message)
    await edit_deferred(interaction, problem or "Removed.")


def parse_block_length(text: str) -> timedelta | None:
    """Return a typed length of time, None for ever. Raises InvalidRequest."""
    if text.strip().lower() in _FOREVER:
        return None
    return parse_end_option(LENGTH, text)


async def _block(
    interaction: discord.Interaction[Any], match: re.Match[str], fields: Mapping[str, str]
) -> None:
    context = get_context(interaction)
    block, cancelled = await context.reports.block_author(
        interaction.guild_id or 0,
        int(match["report"]),
        lasts=parse_block_length(fields.get(LENGTH, "")),
        reason=fields.get(REASON, ""),
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


FORM_HANDLERS: Final = (handle_moderation_form,)


def build(context: BotContext) -> tuple[app_commands.ContextMenu, ...]:
    """Return the message and member actions."""

    @app_commands.context_menu(name="Report to moderators")
    @app_commands.guild_only()
    async def report(
        interaction: discord.Interaction[discord.Client], message: discord.Message
    ) -> None:
        job = await result_job(interaction, message)
        member = actor_of(interaction, context.moderator_role)
        await context.reports.require_first(job, member)
        await open_modal(interaction, report_form(job.id, message.id))

    @app_commands.context_menu(name="Remove this result")
    @app_commands.guild_only()
    @app_commands.default_permissions(_MODERATORS)
    async def remove(
        interaction: discord.Interaction[discord.Client], message: discord.Message
    ) -> None:
        moderator_of(interaction)
        job = await result_job(interaction, message)
        await open_modal(interaction, remove_form(job.id, message.id))

    return report, remove
