"""Message and member actions for moderation, and the buttons of the log channel's entries.

Members report results; moderators remove them and see a member's quota and requests. Who may is
asked again at every press, by the services.
"""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.frontend.commands.history import format_job
from bot.frontend.commands.quota_admin import ACCOUNT_PAGES, account_listing
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.formatting import escape_user_text, short_id
from bot.frontend.job_lookup import find_job
from bot.frontend.listing import Listing, Section
from bot.frontend.log_channel import DiscordLogChannel
from bot.frontend.log_embeds import format_report
from bot.frontend.message_content import MAX_OPTIONS, SelectOption, SelectSpec
from bot.frontend.moderation_forms import (
    block_form,
    remove_form,
    remove_with_evidence,
    report_form,
    result_job,
)
from bot.frontend.permissions import actor_of, require_moderator
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    edit_deferred,
    open_modal,
    page_buttons,
    send_ephemeral,
    send_listing,
)
from bot.frontend.result_removal import remove_result
from bot.services.queue import Actor
from bot.services.reports import Decision

_REQUESTS: Final = "member-requests"
_MAX_REQUESTS: Final = 100
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
    await edit_deferred(interaction, await remove_with_evidence(interaction, job, reason, None))


async def _requests_listing(interaction: discord.Interaction[Any], subject: str) -> Listing:
    _moderator(interaction)
    user_id = int(subject) if subject.isdecimal() else 0
    if not 0 < user_id < 2**63:
        raise RequestError("This button is from another version of the bot.")
    jobs = get_context(interaction).queue.jobs
    found: tuple[Job, ...] = await jobs.history(user_id, interaction.guild_id or 0, _MAX_REQUESTS)
    lines = [format_job(job) for job in found]
    return Listing(
        "Requests", (Section("", lines, "No requests on this server."),), f"<@{user_id}>"
    )


def _moderator(interaction: discord.Interaction[Any]) -> Actor:
    return require_moderator(interaction, get_context(interaction).moderator_role)


ITEMS: Final = (
    ReportButton,
    HoldButton,
    ReportSelect,
    page_buttons(_REQUESTS, _requests_listing),
)


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

    @app_commands.context_menu(name="Quota of this member")
    @app_commands.guild_only()
    @app_commands.default_permissions(_MODERATORS)
    async def quota(interaction: discord.Interaction[discord.Client], member: discord.User) -> None:
        listing = await account_listing(interaction, str(member.id))
        await send_listing(interaction, ACCOUNT_PAGES, listing, str(member.id))

    @app_commands.context_menu(name="Requests of this member")
    @app_commands.guild_only()
    @app_commands.default_permissions(_MODERATORS)
    async def requests(
        interaction: discord.Interaction[discord.Client], member: discord.User
    ) -> None:
        listing = await _requests_listing(interaction, str(member.id))
        await send_listing(interaction, _REQUESTS, listing, str(member.id))

    return report, remove, quota, requests
