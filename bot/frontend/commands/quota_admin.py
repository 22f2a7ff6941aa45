"""``/quota-admin``: moderators set who may make how much, and see what became of it.

Whoever uses it is checked here, on every use: Discord's own permission for the command is only what
server owners made of it. Values are judged by the engine, which also writes the record.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.quota import QuotaRule, parse_window
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import escape_user_text
from bot.frontend.pagination import Listing, Section, answer, turning
from bot.frontend.permissions import require_moderator
from bot.frontend.quota_embeds import (
    account_listing,
    format_audit_entry,
    format_entry,
    format_grant,
    format_quota,
    format_rule,
    format_rule_values,
    format_subject,
    format_totals,
)
from bot.frontend.responses import send_ephemeral
from bot.services.queue import Actor
from bot.services.quotas import QuotaReport, QuotaRuleChange, QuotaSubject

Interaction: TypeAlias = discord.Interaction[discord.Client]
Somebody: TypeAlias = discord.Member | discord.User

_ACCOUNT: Final = "quota-account"
_HISTORY: Final = "quota-history"
_RULES: Final = "quota-rules"
_NEWEST: Final = 500


class QuotaAdmin(app_commands.Group):
    """The subcommands; each first makes sure of a moderator."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(
            name="quota-admin",
            description="Who may make how many images (moderators)",
            guild_only=True,
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._context = context

    @app_commands.command(name="show", description="What a member, a role or the server may make")
    @app_commands.describe(member="Whose quota", role="Or which role's; neither is the server's")
    async def show(
        self,
        interaction: Interaction,
        member: Somebody | None = None,
        role: discord.Role | None = None,
    ) -> None:
        """A member's account, or the rule of a role or the server."""
        self._moderator(interaction)
        subject = subject_of(interaction, member, role)
        if member is not None:
            listing = await _account_listing(interaction, str(member.id))
            await answer(interaction, _ACCOUNT, listing, str(member.id))
            return
        rule = await self._context.quotas.rule(_guild(interaction), subject)
        said = format_rule_values(rule) if rule else "no rule"
        default = format_quota(self._context.quotas.default)
        whose = format_subject(str(subject))
        text = f"{whose[:1].upper()}{whose[1:]}: {said}.\nThe bot's own default: {default}."
        await send_ephemeral(interaction, text)

    @app_commands.command(name="set", description="Set or remove a rule for a member, role or all")
    @app_commands.describe(
        member="For this member",
        role="Or for this role; neither is for the whole server",
        images="Images in any window; 0 bars them",
        window="How long an image counts, such as 90m, 24h or 7d",
        running="Jobs at once",
        waiting="Jobs in line",
        remove="Drop the whole rule instead",
    )
    async def set_rule(
        self,
        interaction: Interaction,
        member: Somebody | None = None,
        role: discord.Role | None = None,
        images: int | None = None,
        window: str | None = None,
        running: int | None = None,
        waiting: int | None = None,
        remove: bool = False,
    ) -> None:
        """Change what is named, keep the rest; it counts from the next request on."""
        by = self._moderator(interaction)
        subject = subject_of(interaction, member, role)
        guild_id = _guild(interaction)
        length = None if window is None else length_of("window", window)
        terms = QuotaRuleChange(images, length, running, waiting)
        if remove:
            if terms != QuotaRuleChange():
                raise RequestError("Either remove the rule or set values, not both.")
            gone = await self._context.quotas.remove_rule(guild_id, subject, by=by)
            await send_ephemeral(interaction, f"Removed. It was: {format_rule(gone)}.")
            return
        rule = await self._context.quotas.set_rule(guild_id, subject, terms, by=by)
        await send_ephemeral(interaction, f"Set. {_said(rule)}")

    @app_commands.command(name="grant", description="Give a member images on top of the quota")
    @app_commands.describe(
        member="Who gets them",
        images="How many",
        expires="After how long they are gone, such as 7d; without it they stay until a reset",
        reason="Why; goes on record",
    )
    async def grant(
        self,
        interaction: Interaction,
        member: Somebody,
        images: int,
        expires: str | None = None,
        reason: str = "",
    ) -> None:
        """Images on top, at once."""
        by = self._moderator(interaction)
        lasts = None if expires is None else length_of("expires", expires)
        grant = await self._context.quotas.grant(
            _guild(interaction), member.id, images=images, lasts=lasts, reason=reason, by=by
        )
        left = (await self._account(interaction, member)).allowance.left
        await send_ephemeral(
            interaction, f"Granted to <@{member.id}>: {format_grant(grant)}. They have {left} left."
        )

    @app_commands.command(name="reset", description="Let a member start afresh")
    @app_commands.describe(
        member="Who; what they used and were granted so far counts no more",
        reason="Why; goes on record",
    )
    async def reset(self, interaction: Interaction, member: Somebody, reason: str = "") -> None:
        """What was charged and granted before counts no more."""
        by = self._moderator(interaction)
        await self._context.quotas.reset(_guild(interaction), member.id, reason=reason, by=by)
        left = (await self._account(interaction, member)).allowance.left
        await send_ephemeral(interaction, f"<@{member.id}> starts afresh and has {left} left.")

    @app_commands.command(name="history", description="What was made, given and changed, by whom")
    @app_commands.describe(member="Whose", role="Or which role's; neither: every quota change here")
    async def history(
        self,
        interaction: Interaction,
        member: Somebody | None = None,
        role: discord.Role | None = None,
    ) -> None:
        """A member's ledger and rule changes, or the changes of a role or the whole server."""
        self._moderator(interaction)
        about = str(subject_of(interaction, member, role)).replace(":", "-")
        await answer(interaction, _HISTORY, await _history_listing(interaction, about), about)

    @app_commands.command(name="list", description="Every rule of this server, and who made most")
    async def list_rules(self, interaction: Interaction) -> None:
        """Rules, and balances."""
        await answer(interaction, _RULES, await _rules_listing(interaction, ""))

    def _moderator(self, interaction: Interaction) -> Actor:
        return require_moderator(interaction, self._context.moderator_role)

    async def _account(self, interaction: Interaction, user: Somebody) -> QuotaReport:
        return await _account_of(interaction, user)


def build(context: BotContext) -> QuotaAdmin:
    """The group."""
    return QuotaAdmin(context)


async def _account_listing(interaction: discord.Interaction[Any], about: str) -> Listing:
    require_moderator(interaction, get_context(interaction).moderator_role)
    user = await _member(interaction, _ident(about))
    account = await _account_of(interaction, user)
    return account_listing(account, f"Quota of {escape_user_text(user.display_name, 80)}")


async def _history_listing(interaction: discord.Interaction[Any], about: str) -> Listing:
    context = get_context(interaction)
    require_moderator(interaction, context.moderator_role)
    scope, _, ident = about.partition("-")
    whole = scope == "server"
    guild_id, quotas = _guild(interaction), context.quotas
    subject = (
        None if whole else QuotaSubject("member" if scope == "user" else "role", _ident(ident))
    )
    changes = await quotas.changes(guild_id, subject, _NEWEST)
    sections = [Section("By moderators", [format_audit_entry(one) for one in changes])]
    if scope == "user":
        entries = await quotas.history(guild_id, _ident(ident), _NEWEST)
        sections.insert(0, Section("Images", [format_entry(one) for one in entries]))
    title = "Quota changes" if subject is None else "History"
    return Listing(title, sections, "" if subject is None else format_subject(str(subject)))


async def _rules_listing(interaction: discord.Interaction[Any], _about: str) -> Listing:
    context = get_context(interaction)
    require_moderator(interaction, context.moderator_role)
    guild_id, quotas = _guild(interaction), context.quotas
    rules = [format_rule(rule) for rule in await quotas.rules(guild_id)]
    default = f"The bot's own default: {format_quota(quotas.default)}"
    balances = format_totals(await quotas.balances(guild_id))
    sections = (Section("", rules), Section("Images made in all", balances))
    return Listing("Quota rules", sections, default)


async def _member(interaction: discord.Interaction[Any], user_id: int) -> Somebody:
    """The member as the command named them or, for a button, as Discord knows them."""
    named = getattr(interaction.namespace, "member", None)
    if isinstance(named, discord.Member | discord.User):
        return named
    try:
        guild = interaction.guild
        return await (
            guild.fetch_member(user_id) if guild else interaction.client.fetch_user(user_id)
        )
    except discord.HTTPException as error:
        raise RequestError("Discord does not know this member any more.") from error


def _ident(text: str) -> int:
    """A snowflake out of a button. Raises RequestError for anything else."""
    ident = int(text) if text.isdecimal() and text.isascii() else 0
    if not 0 < ident < 2**63:
        raise RequestError("This button is from another version of the bot; use the command again.")
    return ident


async def _account_of(interaction: discord.Interaction[Any], user: Somebody) -> QuotaReport:
    roles = (
        frozenset(role.id for role in user.roles)
        if isinstance(user, discord.Member)
        else frozenset[int]()
    )
    member = Actor(user.id, user.display_name, roles)
    return await get_context(interaction).quotas.show(_guild(interaction), member)


ITEMS: Final = (
    turning(_ACCOUNT, _account_listing),
    turning(_HISTORY, _history_listing),
    turning(_RULES, _rules_listing),
)


def subject_of(
    interaction: Interaction, member: Somebody | None, role: discord.Role | None
) -> QuotaSubject:
    """Whom the options name. Raises RequestError if they name two."""
    if member is not None and role is not None:
        raise RequestError("Name a member or a role, not both.")
    if member is not None:
        return QuotaSubject("member", member.id)
    if role is not None:
        return QuotaSubject("role", role.id)
    return QuotaSubject("server", _guild(interaction))


def length_of(field: str, text: str) -> timedelta:
    """A length of time as it was typed. Raises InvalidRequest."""
    try:
        return parse_window(text)
    except ValueError as error:
        raise InvalidRequest(field, f"{field}: {error}") from error


def _guild(interaction: discord.Interaction[Any]) -> int:
    return interaction.guild_id or 0


def _said(rule: QuotaRule) -> str:
    return f"{format_rule(rule)}. It counts from the next request on."
