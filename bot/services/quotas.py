"""Quotas as moderators set them: rules, grants, resets, and their audit entries.

Every change and its audit entry are one transaction, and hold from the next request on.
``bot.domain.quota`` computes a member's quota from them. The caller has checked that the actor of a
change is a moderator.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from bot.domain import quota as quotas
from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.quota import Quota, QuotaGrant, QuotaRule
from bot.domain.text import normalize_text
from bot.services.moderation_records import record_logged_action
from bot.services.queue import Actor, QuotaStatus
from bot.store import guilds, ledger
from bot.store.audit import AuditEntry, AuditRepository
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerEntry, LedgerRepository, MemberTotals

__all__ = [
    "AuditEntry",
    "LedgerEntry",
    "MemberTotals",
    "QuotaReport",
    "QuotaRuleChange",
    "QuotaService",
    "QuotaSubject",
]
Scope: TypeAlias = Literal["server", "role", "member"]

MAX_IMAGES: Final = 100_000
MAX_RUNNING: Final = 100
MAX_WAITING: Final = 1000
MAX_REASON_LENGTH: Final = 200

_TO_FORBID = " To let them make nothing at all, set images to 0."


@dataclass(frozen=True, slots=True)
class QuotaSubject:
    """The server, role or member that a rule is for; a server's id is its guild id."""

    scope: Scope
    id: int

    def __str__(self) -> str:
        kind = "user" if self.scope == "member" else self.scope
        return f"{kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class QuotaRuleChange:
    """The changes of a moderator to a rule. None leaves a field as it is."""

    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def check(self) -> None:
        """Raise InvalidRequest for a value out of range, RequestError if all are None."""
        if self == QuotaRuleChange():
            raise RequestError(
                "Nothing to set: fill in at least one of images, window, running and waiting."
            )
        validate_count("images", self.images, 0, MAX_IMAGES)
        validate_count("running", self.running, 1, MAX_RUNNING, _TO_FORBID)
        validate_count("waiting", self.waiting, 1, MAX_WAITING, _TO_FORBID)
        if self.window is not None:
            validate_window("window", self.window)


def validate_window(field: str, length: timedelta) -> None:
    """Raise InvalidRequest unless ``length`` is from one second to the longest window."""
    if not timedelta(seconds=1) <= length <= quotas.MAX_WINDOW:
        longest = quotas.format_window(quotas.MAX_WINDOW)
        raise InvalidRequest(field, f"{field} must be from 1s to {longest}, for example 24h or 7d.")


def validate_count(field: str, count: int | None, low: int, high: int, hint: str = "") -> None:
    """Raise InvalidRequest, ending with ``hint``, unless ``count`` is None or in range."""
    if count is not None and not low <= count <= high:
        raise InvalidRequest(
            field, f"{field} must be a whole number from {low} to {high}, not {count}.{hint}"
        )


def validate_reason(reason: str) -> str:
    """Return the reason as one normalized line. Raises InvalidRequest if it is too long."""
    why = normalize_text(reason)
    if len(why) > MAX_REASON_LENGTH:
        raise InvalidRequest(
            "reason",
            f"reason has {len(why)} characters, and at most {MAX_REASON_LENGTH} are allowed. "
            "Please shorten it.",
        )
    return why


MAX_RULES: Final = 500


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """A member's quota status and where it comes from.

    ``rules`` are those that apply to the member, the widest scope first; ``grants`` those in force.
    """

    allowance: QuotaStatus
    rules: tuple[QuotaRule, ...]
    grants: tuple[QuotaGrant, ...]


class QuotaService:
    """Read and change the quotas of servers, roles and members."""

    def __init__(self, database: Database, default: Quota, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._default = default
        self._now = now
        self._guilds = GuildRepository(database)
        self._ledger = LedgerRepository(database)
        self._audit = AuditRepository(database)
        self._jobs = JobRepository(database)

    @property
    def default(self) -> Quota:
        """Return the quota of members to whom no rule applies."""
        return self._default

    async def show(self, guild_id: int, member: Actor) -> QuotaReport:
        """Return a member's quota and its use, with the rules and grants behind it."""
        at = self._now()
        rules = await self._guilds.rules(guild_id)
        quota = quotas.effective_quota(self._default, rules, member.role_ids, member.id)
        usage, counts = await asyncio.gather(
            self._ledger.usage(guild_id, member.id, at - quota.window),
            self._jobs.counts(member.id),
        )
        applying = [rule for rule in rules if _applies_to(rule, member)]
        return QuotaReport(
            QuotaStatus(quota, usage, at, counts.waiting, counts.in_flight),
            tuple(sorted(applying, key=lambda rule: _WIDEST_SCOPE_FIRST.index(rule.scope))),
            tuple(grant for grant in usage.grants if grant.is_active(at)),
        )

    async def rule(self, guild_id: int, subject: QuotaSubject) -> QuotaRule | None:
        """Return the rule that is set for exactly this subject, if there is one."""
        return _find_rule(await self._guilds.rules(guild_id), subject)

    async def rules(self, guild_id: int) -> tuple[QuotaRule, ...]:
        """Return all rules of a server, the widest scope first."""
        found = await self._guilds.rules(guild_id)
        return tuple(sorted(found, key=lambda rule: _WIDEST_SCOPE_FIRST.index(rule.scope)))

    async def balances(self, guild_id: int) -> tuple[MemberTotals, ...]:
        """Return the totals of each member of a server, the largest first."""
        return await self._ledger.balances(guild_id)

    async def set_rule(
        self, guild_id: int, subject: QuotaSubject, terms: QuotaRuleChange, *, by: Actor
    ) -> QuotaRule:
        """Change or create the subject's rule and return it.

        Raises RequestError for a value out of range, or if the server has too many rules.
        """
        terms.check()
        at = self._now()
        given = {key: value for key, value in asdict(terms).items() if value is not None}

        def change(link: sqlite3.Connection) -> QuotaRule:
            rules = guilds.rules(link, guild_id)
            before = _find_rule(rules, subject)
            if before is None and len(rules) >= MAX_RULES:
                raise RequestError(
                    f"This server has {MAX_RULES} quota rules, and more are not possible. "
                    "Remove one first; /quota-admin list shows them."
                )
            rule = replace(before or QuotaRule(subject.scope, subject.id), **given)
            guilds.set_rule(link, guild_id, rule)
            note = {"was": before and _to_json(before), "is": _to_json(rule)}
            record_logged_action(link, guild_id, at, by, "quota-set", str(subject), note)
            return rule

        return await self._database.write(change)

    async def remove_rule(self, guild_id: int, subject: QuotaSubject, *, by: Actor) -> QuotaRule:
        """Remove the subject's rule and return it. Rules of a wider scope apply then.

        Raises RequestError if there is none.
        """
        at = self._now()

        def remove(link: sqlite3.Connection) -> QuotaRule:
            before = _find_rule(guilds.rules(link, guild_id), subject)
            if before is None:
                raise RequestError("There is no such rule. /quota-admin list shows all rules.")
            guilds.remove_rule(link, guild_id, subject.scope, subject.id)
            record_logged_action(
                link, guild_id, at, by, "quota-remove", str(subject), {"was": _to_json(before)}
            )
            return before

        return await self._database.write(remove)

    async def grant(
        self,
        guild_id: int,
        member_id: int,
        *,
        images: int,
        lasts: timedelta | None,
        reason: str,
        by: Actor,
    ) -> QuotaGrant:
        """Grant a member images on top of the quota, for a time or (None) until a reset.

        Raises RequestError for a value out of range.
        """
        validate_count("images", images, 1, MAX_IMAGES)
        if lasts is not None:
            validate_window("expires", lasts)
        why = validate_reason(reason)
        at = self._now()
        given = QuotaGrant(images, None if lasts is None else at + lasts)

        def give(link: sqlite3.Connection) -> QuotaGrant:
            ledger.grant(
                link,
                guild_id,
                member_id,
                images=images,
                expires_at=given.expires_at,
                actor_id=by.id,
                reason=why,
                at=at,
            )
            until = given.expires_at and given.expires_at.isoformat()
            note = {"images": images, "until": until, "reason": why}
            subject = QuotaSubject("member", member_id)
            record_logged_action(link, guild_id, at, by, "quota-grant", str(subject), note)
            return given

        return await self._database.write(give)

    async def reset(self, guild_id: int, member_id: int, *, reason: str, by: Actor) -> None:
        """Reset a member's usage: earlier charges and grants no longer count."""
        why = validate_reason(reason)
        at = self._now()

        def reset(link: sqlite3.Connection) -> None:
            ledger.reset(link, guild_id, member_id, actor_id=by.id, reason=why, at=at)
            subject = QuotaSubject("member", member_id)
            record_logged_action(
                link, guild_id, at, by, "quota-reset", str(subject), {"reason": why}
            )

        await self._database.write(reset)

    async def history(
        self, guild_id: int, member_id: int, limit: int = 25, before: int | None = None
    ) -> tuple[LedgerEntry, ...]:
        """Return a member's charges, refunds, grants and resets, the newest first."""
        return await self._ledger.history(guild_id, member_id, limit, before)

    async def changes(
        self, guild_id: int, subject: QuotaSubject | None = None, limit: int = 25
    ) -> tuple[AuditEntry, ...]:
        """Return the moderators' changes to one subject or (None) to all, the newest first."""
        about = None if subject is None else str(subject)
        return await self._audit.entries(guild_id, limit, actions="quota-", subject=about)


_WIDEST_SCOPE_FIRST: Final[tuple[Scope, ...]] = ("server", "role", "member")


def _find_rule(rules: tuple[QuotaRule, ...], subject: QuotaSubject) -> QuotaRule | None:
    wanted = (subject.scope, subject.id)
    return next((rule for rule in rules if (rule.scope, rule.subject_id) == wanted), None)


def _applies_to(rule: QuotaRule, member: Actor) -> bool:
    match rule.scope:
        case "server":
            return True
        case "role":
            return rule.subject_id in member.role_ids
        case "member":
            return rule.subject_id == member.id


def _to_json(rule: QuotaRule) -> dict[str, object]:
    """Return the fields of a rule that are set, for JSON."""
    found: dict[str, object] = {
        "images": rule.images,
        "window": rule.window and quotas.format_window(rule.window),
        "running": rule.running,
        "waiting": rule.waiting,
    }
    return {key: value for key, value in found.items() if value is not None}
