"""Message and member actions for moderation, and the buttons of the log channel's entries.

Members report results; moderators remove them and see a member's quota and requests. Who may is
asked again at every press, by the services.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import MAX_ID
from bot.frontend.formatting import escape_user_text, jump_link, pluralize, short_id, timestamp
from bot.frontend.job_lookup import find_job
from bot.frontend.log_channel import DiscordLogChannel
from bot.frontend.log_embeds import format_report
from bot.frontend.message_content import MAX_OPTIONS, SelectOption, SelectSpec
from bot.frontend.moderation_forms import (
    FORM_PATTERN,
    LENGTH,
    NOT_A_RESULT,
    REASON,
    THANKS,
    block_form,
    parse_block_length,
    remove_form,
    report_form,
    result_job,
)
from bot.frontend.permissions import actor_of, require_moderator
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
from bot.services.queue import Actor
from bot.services.reports import Decision

_MODERATORS: Final = discord.Permissions(manage_guild=True)
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
        by, guild_id = _moderator(interaction), interaction.guild_id or 0
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
            by=_moderator(interaction),
        )
        get_client(interaction).log_poster.wake()
        text = "Approved." if approved else "Rejected. The member's images are refunded."
        await send_ephemeral(interaction, text)


class ReportSelect(PersistentComponent, template=r"gb-mod:show"):
    """Shows one entry of the list of reports, with its picture and buttons."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Show the selected entry privately."""
        assert isinstance(self.item, discord.ui.Select)
        _moderator(interaction)
        reports = get_context(interaction).reports
        subject = next(iter(self.item.values), "")
        entry = await reports.entry(interaction.guild_id or 0, subject)
        if entry is None:
            raise RequestError("This entry is no longer stored.")
        client = get_client(interaction)
        content, uploads = await DiscordLogChannel(client, reports.picture_path).content(entry)
        await send_ephemeral(interaction, "", embed=content, uploads=uploads)


async def send_reports(interaction: discord.Interaction[Any]) -> None:
    """Respond with what waits for the moderators: reports and holds. For ``/art-admin reports``."""
    _moderator(interaction)
    context, guild_id = get_context(interaction), interaction.guild_id or 0
    entries: list[tuple[str, str, str]] = []
    for report in await context.reports.open_reports(guild_id):
        entry = await context.reports.entry(guild_id, f"report:{report.id}")
        if entry is not None:
            label = f"Report {report.id} · {short_id(report.job_id)}"
            entries.append((entry.subject, label, format_report(entry.body)))
    for hold in await context.moderation.open_holds(guild_id):
        subject = f"hold:{hold.kind}:{hold.job_id}"
        label = f"Waits · {short_id(hold.job_id)}"
        said = f"`{short_id(hold.job_id)}` waits: {escape_user_text(hold.reason, 120)}"
        entries.append((subject, label, said))
    if not entries:
        await send_ephemeral(interaction, "Nothing waits for a moderator.")
        return
    lines = [line for _, _, line in entries[:MAX_OPTIONS]]
    if len(entries) > MAX_OPTIONS:
        lines.append(f"… and {len(entries) - MAX_OPTIONS} more, when these are decided")
    options = tuple(SelectOption(label, subject) for subject, label, _ in entries[:MAX_OPTIONS])
    select = SelectSpec("gb-mod:show", "Show one of them here …", options)
    await send_ephemeral(interaction, "\n".join(lines), controls=((select,),))


async def remove_by_id(interaction: discord.Interaction[Any], ident: str, reason: str) -> None:
    """Remove the result with this id and respond. For ``/art-admin remove``."""
    context = get_context(interaction)
    job = await find_job(context, ident, _moderator(interaction), interaction.guild_id)
    if job.request.place.guild_id != interaction.guild_id:
        raise RequestError("There is no such result on this server.")
    if not job.state.terminal:
        raise RequestError("This request has not ended yet. Use /cancel with its id.")
    await defer(interaction, thinking=True)
    problem = await remove_with_evidence(interaction, job, reason, None)
    await edit_deferred(interaction, problem or "Removed.")


def _moderator(interaction: discord.Interaction[Any]) -> Actor:
    return require_moderator(interaction, get_context(interaction).moderator_role)


ITEMS: Final = (ReportButton, HoldButton, ReportSelect)


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
        job = await result_job(context, message, interaction.guild_id or 0)
        member = actor_of(interaction, context.moderator_role)
        await context.reports.require_first(job, member)
        await open_modal(interaction, report_form(job.id, message.id))

    @app_commands.context_menu(name="Remove this result")
    @app_commands.guild_only()
    @app_commands.default_permissions(_MODERATORS)
    async def remove(
        interaction: discord.Interaction[discord.Client], message: discord.Message
    ) -> None:
        _moderator(interaction)
        job = await result_job(context, message, interaction.guild_id or 0)
        await open_modal(interaction, remove_form(job.id, message.id))

    return report, remove
