"""``/quota-admin``: moderators set quotas and see their use.

The moderator is checked on every use, because server owners can change command permissions.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.quota import QuotaRule
from bot.frontend.command_options import guild_of, parse_duration_option
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import escape_user_text
from bot.frontend.listing import Listing, Section
from bot.frontend.permissions import require_moderator
from bot.frontend.quota_embeds import (
    format_audit_entry,
    format_entry,
    format_grant,
    format_quota,
    format_rule,
    format_rule_values,
    format_subject,
    format_totals,
    quota_listing,
)
from bot.frontend.responses import page_buttons, send_ephemeral, send_listing
from bot.services.queue import Actor
from bot.services.quotas import QuotaReport, QuotaRuleChange, QuotaSubject

Interaction: TypeAlias = discord.Interaction[discord.Client]
MemberOrUser: TypeAlias = discord.Member | discord.User

_ACCOUNT: Final = "quota-account"
_HISTORY: Final = "quota-history"
_RULES: Final = "quota-rules"
_MAX_ENTRIES: Final = 500
_SUBJECT_OPTIONS: Final = app_commands.describe(
    member="The member", role="Or a role; leave both empty for the whole server"
)


class QuotaAdmin(app_commands.Group):
    """The subcommands; each checks that the member is a moderator."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(
            name="quota-admin",
            description="Set and see image quotas (moderators only)",
            guild_only=True,
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._context = context

    @app_commands.command(
        name="show", description="Show the quota of a member, a role or the server"
    )
    @_SUBJECT_OPTIONS
    async def show(
        self,
        interaction: Interaction,
        member: MemberOrUser | None = None,
        role: discord.Role | None = None,
    ) -> None:
        """Show a member's quota, or the rule of a role or the server."""
        self._require_moderator(interaction)
        subject = parse_subject(interaction, member, role)
        if member is not None:
            listing = await _account_listing(interaction, str(member.id))
            await send_listing(interaction, _ACCOUNT, listing, str(member.id))
            return
        rule = await self._context.quotas.rule(guild_of(interaction), subject)
        said = format_rule_values(rule) if rule else "no rule"
        default = format_quota(self._context.quotas.default)
        whose = format_subject(str(subject))
        text = f"{whose[:1].upper()}{whose[1:]}: {said}.\nThe default of this bot: {default}."
        await send_ephemeral(interaction, text)

    @app_commands.command(
        name="set", description="Set or remove a rule for a member, a role or the server"
    )
    @_SUBJECT_OPTIONS
    @app_commands.describe(
        images="Images per time window; 0 means none",
        window="The time window, such as 90m, 24h or 7d",
        running="Jobs that may run at the same time",
        waiting="Jobs that may wait in the queue",
        remove="Remove the rule",
    )
    async def set_rule(
        self,
        interaction: Interaction,
        member: MemberOrUser | None = None,
        role: discord.Role | None = None,
        images: int | None = None,
        window: str | None = None,
        running: int | None = None,
        waiting: int | None = None,
        remove: bool = False,
    ) -> None:
        """Change the given values of a rule; it applies from the next request."""
        by = self._require_moderator(interaction)
        subject = parse_subject(interaction, member, role)
        guild_id = guild_of(interaction)
        length = None if window is None else parse_duration_option("window", window)
        terms = QuotaRuleChange(images, length, running, waiting)
        if remove:
            if terms != QuotaRuleChange():
                raise RequestError("Remove the rule or set values, not both.")
            gone = await self._context.quotas.remove_rule(guild_id, subject, by=by)
            await send_ephemeral(interaction, f"Removed. It was: {format_rule(gone)}.")
            return
        rule = await self._context.quotas.set_rule(guild_id, subject, terms, by=by)
        await send_ephemeral(interaction, f"Set. {_format_saved(rule)}")

    @app_commands.command(name="grant", description="Give a member extra images")
    @app_commands.describe(
        member="The member",
        images="Number of images",
        expires="When they expire, such as 7d; without it they stay until a reset",
        reason="The reason, for the record",
    )
    async def grant(
        self,
        interaction: Interaction,
        member: MemberOrUser,
        images: int,
        expires: str | None = None,
        reason: str = "",
    ) -> None:
        """Grant extra images at once."""
        by = self._require_moderator(interaction)
        lasts = None if expires is None else parse_duration_option("expires", expires)
        grant = await self._context.quotas.grant(
            guild_of(interaction), member.id, images=images, lasts=lasts, reason=reason, by=by
        )
        left = (await self._account(interaction, member)).allowance.left
        await send_ephemeral(
            interaction, f"Granted to <@{member.id}>: {format_grant(grant)}. They have {left} left."
        )

    @app_commands.command(name="reset", description="Reset the quota of a member")
    @app_commands.describe(
        member="The member; used and extra images no longer count",
        reason="The reason, for the record",
    )
    async def reset(self, interaction: Interaction, member: MemberOrUser, reason: str = "") -> None:
        """Reset a member's use and grants."""
        by = self._require_moderator(interaction)
        await self._context.quotas.reset(guild_of(interaction), member.id, reason=reason, by=by)
        left = (await self._account(interaction, member)).allowance.left
        await send_ephemeral(interaction, f"<@{member.id}> was reset and has {left} left.")

    @app_commands.command(
        name="history", description="Show images used, granted and refunded, and rule changes"
    )
    @_SUBJECT_OPTIONS
    async def history(
        self,
        interaction: Interaction,
        member: MemberOrUser | None = None,
        role: discord.Role | None = None,
    ) -> None:
        """Show a member's ledger and rule changes, or those of a role or the server."""
        self._require_moderator(interaction)
        subject = str(parse_subject(interaction, member, role)).replace(":", "-")
        await send_listing(
            interaction, _HISTORY, await _history_listing(interaction, subject), subject
        )

    @app_commands.command(
        name="list", description="All rules of this server, and the images of each member"
    )
    async def list_rules(self, interaction: Interaction) -> None:
        """Show all rules, and totals per member."""
        await send_listing(interaction, _RULES, await _rules_listing(interaction, ""))

    def _require_moderator(self, interaction: Interaction) -> Actor:
        return require_moderator(interaction, self._context.moderator_role)

    async def _account(self, interaction: Interaction, user: MemberOrUser) -> QuotaReport:
        return await _account_of(interaction, user)


def build(context: BotContext) -> tuple[QuotaAdmin, app_commands.ContextMenu]:
    """Return the command group, and the same as an action on a member."""

    @app_commands.context_menu(name="Quota of this member")
    @app_commands.guild_only()
    @app_commands.default_permissions(moderate_members=True)
    async def quota(interaction: Interaction, member: discord.User) -> None:
        listing = await _account_listing(interaction, str(member.id))
        await send_listing(interaction, _ACCOUNT, listing, str(member.id))

    return QuotaAdmin(context), quota


async def _account_listing(interaction: discord.Interaction[Any], subject: str) -> Listing:
    require_moderator(interaction, get_context(interaction).moderator_role)
    user = await _member(interaction, _parse_id(subject))
    account = await _account_of(interaction, user)
    return quota_listing(account, f"Quota of {escape_user_text(user.display_name, 80)}")


async def _history_listing(interaction: discord.Interaction[Any], about: str) -> Listing:
    context = get_context(interaction)
    require_moderator(interaction, context.moderator_role)
    scope, _, ident = about.partition("-")
    whole = scope == "server"
    guild_id, quotas = guild_of(interaction), context.quotas
    subject = (
        None if whole else QuotaSubject("member" if scope == "user" else "role", _parse_id(ident))
    )
    changes = await quotas.changes(guild_id, subject, _MAX_ENTRIES)
    sections = [Section("By moderators", [format_audit_entry(one) for one in changes])]
    if scope == "user":
        entries = await quotas.history(guild_id, _parse_id(ident), _MAX_ENTRIES)
        sections.insert(0, Section("Images", [format_entry(one) for one in entries]))
    title = "Quota changes" if subject is None else "History"
    return Listing(title, sections, "" if subject is None else format_subject(str(subject)))


async def _rules_listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    context = get_context(interaction)
    require_moderator(interaction, context.moderator_role)
    guild_id, quotas = guild_of(interaction), context.quotas
    rules = [format_rule(rule) for rule in await quotas.rules(guild_id)]
    default = f"The default of this bot: {format_quota(quotas.default)}"
    balances = format_totals(await quotas.balances(guild_id))
    sections = (Section("", rules), Section("Images generated in total", balances))
    return Listing("Quota rules", sections, default)


async def _member(interaction: discord.Interaction[Any], user_id: int) -> MemberOrUser:
    """Return the member of the command option or, for a button, as Discord knows them."""
    named = getattr(interaction.namespace, "member", None)
    if isinstance(named, discord.Member | discord.User):
        return named
    try:
        guild = interaction.guild
        return await (
            guild.fetch_member(user_id) if guild else interaction.client.fetch_user(user_id)
        )
    except discord.HTTPException as error:
        raise RequestError("Discord no longer knows this member.") from error


def _parse_id(text: str) -> int:
    """Parse a Discord id of a custom id. Raises RequestError."""
    ident = int(text) if text.isdecimal() and text.isascii() else 0
    if not 0 < ident < 2**63:
        raise RequestError("This button is from another version of the bot. Use the command again.")
    return ident


async def _account_of(interaction: discord.Interaction[Any], user: MemberOrUser) -> QuotaReport:
    roles = (
        frozenset(role.id for role in user.roles)
        if isinstance(user, discord.Member)
        else frozenset[int]()
    )
    member = Actor(user.id, user.display_name, roles)
    return await get_context(interaction).quotas.show(guild_of(interaction), member)


ITEMS: Final = (
    page_buttons(_ACCOUNT, _account_listing),
    page_buttons(_HISTORY, _history_listing),
    page_buttons(_RULES, _rules_listing),
)


def parse_subject(
    interaction: Interaction, member: MemberOrUser | None, role: discord.Role | None
) -> QuotaSubject:
    """Return the subject of the options. Raises RequestError if there are two."""
    if member is not None and role is not None:
        raise RequestError("Name a member or a role, not both.")
    if member is not None:
        return QuotaSubject("member", member.id)
    if role is not None:
        return QuotaSubject("role", role.id)
    return QuotaSubject("server", guild_of(interaction))


def _format_saved(rule: QuotaRule) -> str:
    return f"{format_rule(rule)}. It applies from the next request."
