"""``/art-admin reports`` and ``remove``: what waits for moderators, and removing a result."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.frontend.command_options import is_moderator, moderator_of
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import MAX_ID
from bot.frontend.formatting import escape_user_text, short_id
from bot.frontend.job_lookup import find_job, job_choices
from bot.frontend.log_channel import DiscordLogChannel
from bot.frontend.log_embeds import format_report
from bot.frontend.message_content import MAX_OPTIONS, SelectOption, SelectSpec
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    edit_deferred,
    safe_autocomplete,
    send_ephemeral,
)
from bot.frontend.result_removal import remove_with_evidence

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"
_MESSAGE_LINK: Final = re.compile(r"https://[\w.]+/channels/[0-9]{1,19}/[0-9]{1,19}/([0-9]{1,19})")


class ReportSelect(PersistentComponent, template=r"gb-mod:show"):
    """Shows one entry of the list of reports, with its picture and buttons."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Show the selected entry privately."""
        assert isinstance(self.item, discord.ui.Select)
        moderator_of(interaction)
        reports = get_context(interaction).reports
        subject = next(iter(self.item.values), "")
        entry = await reports.entry(interaction.guild_id or 0, subject)
        if entry is None:
            raise RequestError("This entry is no longer stored.")
        client = get_client(interaction)
        content, uploads = await DiscordLogChannel(client, reports.picture_path).content(entry)
        await send_ephemeral(interaction, "", embed=content, uploads=uploads)


async def _send_reports(interaction: discord.Interaction[Any]) -> None:
    """Respond with what waits for the moderators: reports and holds."""
    moderator_of(interaction)
    context, guild_id = get_context(interaction), interaction.guild_id or 0
    entries: list[tuple[str, str, str]] = []
    open_reports = await context.reports.open_reports(guild_id)
    for report in open_reports[:MAX_OPTIONS]:
        entry = await context.reports.entry(guild_id, f"report:{report.id}")
        if entry is not None:
            label = f"Report {report.id} · {short_id(report.job_id)}"
            entries.append((entry.subject, label, format_report(entry.body)))
    holds = await context.moderation.open_holds(guild_id)
    for hold in holds:
        subject = f"hold:{hold.kind}:{hold.job_id}"
        label = f"Waits · {short_id(hold.job_id)}"
        said = f"`{short_id(hold.job_id)}` waits: {escape_user_text(hold.reason, 120)}"
        entries.append((subject, label, said))
    if not entries:
        await send_ephemeral(interaction, "Nothing waits for a moderator.")
        return
    lines = [line for _, _, line in entries[:MAX_OPTIONS]]
    if (more := len(open_reports) + len(holds) - len(lines)) > 0:
        lines.append(f"… and {more} more, when these are decided")
    options = tuple(SelectOption(label, subject) for subject, label, _ in entries[:MAX_OPTIONS])
    select = SelectSpec("gb-mod:show", "Show one of them here …", options)
    await send_ephemeral(interaction, "\n".join(lines), controls=((select,),))


async def _remove_by_id(interaction: discord.Interaction[Any], ident: str, reason: str) -> None:
    """Remove the result with this id and respond."""
    context = get_context(interaction)
    by = moderator_of(interaction)
    if link := _MESSAGE_LINK.fullmatch(ident.strip()):
        ident = await context.messages.job_of(min(int(link[1]), MAX_ID)) or ""
        if not ident:
            raise InvalidRequest("message", "message: this is no result of this bot.")
    try:
        job = await find_job(context, ident, by, interaction.guild_id)
    except InvalidRequest as error:
        raise InvalidRequest("message", f"message: {error}") from error
    if job.request.place.guild_id != interaction.guild_id:
        raise RequestError("There is no such result on this server.")
    if not job.state.terminal:
        raise RequestError("This request has not ended yet. Use /cancel with its id.")
    await defer(interaction, thinking=True)
    problem = await remove_with_evidence(interaction, job, reason, None)
    await edit_deferred(interaction, problem or "Removed.")


def build(context: BotContext) -> tuple[app_commands.Command[Any, ..., None], ...]:
    """Return the subcommands."""

    @app_commands.command(name="reports", description="Reports and requests that wait for you")
    async def reports(interaction: Interaction) -> None:
        await _send_reports(interaction)

    @app_commands.command(name="remove", description="Remove a result, its rows and their links")
    @app_commands.describe(
        message="The id at the bottom of its message, or a link to the message",
        reason="For the log channel",
    )
    async def remove(interaction: Interaction, message: str, reason: str = "") -> None:
        await _remove_by_id(interaction, message, reason)

    @remove.autocomplete("message")
    @safe_autocomplete
    async def suggest(
        interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        if not is_moderator(interaction):
            return []
        reported = await context.reports.open_reports(interaction.guild_id or 0)
        found = [await context.queue.jobs.get(report.job_id) for report in reported[:MAX_OPTIONS]]
        return job_choices([job for job in found if job is not None], typed)

    return reports, remove


ITEMS: Final = (ReportSelect,)
