"""Who may make how much, as moderators set it: rules, grants, fresh starts, and the record of them.

Every change and its audit line are one transaction, and count from the next request on. What a
member may make under all of it is ``bot.domain.quota``'s to say; that the one who asks for a change
is a moderator was checked by the caller.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from bot.domain import quota as quotas
from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.quota import Quota, QuotaGrant, QuotaRule
from bot.domain.text import normalize_text
from bot.services.queue import Actor, QuotaStatus
from bot.store import audit, guilds, ledger
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

_BARRED = " To let them make nothing at all, set images to 0."


@dataclass(frozen=True, slots=True)
class QuotaSubject:
    """Whom a rule is about; the id of a server's rule is the server's own."""

    scope: Scope
    id: int

    def __str__(self) -> str:
        kind = "user" if self.scope == "member" else self.scope
        return f"{kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class QuotaRuleChange:
    """What a moderator wants changed in a rule; None leaves a field as it is."""

    images: int | None = None
    window: timedelta | None = None
    running: int | None = None
    waiting: int | None = None

    def check(self) -> None:
        """Raises InvalidRequest for a value out of range, or RequestError if nothing is said."""
        if self == QuotaRuleChange():
            raise RequestError(
                "Nothing to set: fill in at least one of images, window, running and waiting."
            )
        validate_count("images", self.images, 0, MAX_IMAGES)
        validate_count("running", self.running, 1, MAX_RUNNING, _BARRED)
        validate_count("waiting", self.waiting, 1, MAX_WAITING, _BARRED)
        if self.window is not None:
            validate_window("window", self.window)


def validate_window(field: str, length: timedelta) -> None:
    """Raises InvalidRequest unless ``length`` is from one second to the longest window."""
    if not timedelta(seconds=1) <= length <= quotas.MAX_WINDOW:
        longest = quotas.format_window(quotas.MAX_WINDOW)
        raise InvalidRequest(field, f"{field} must be from 1s to {longest}, for example 24h or 7d.")


def validate_count(field: str, count: int | None, low: int, high: int, more: str = "") -> None:
    """Raises InvalidRequest, with ``more`` behind it, unless ``count`` is None or in range."""
    if count is not None and not low <= count <= high:
        raise InvalidRequest(
            field, f"{field} must be a whole number from {low} to {high}, not {count}.{more}"
        )


def validate_reason(reason: str) -> str:
    """The reason as one clean line. Raises InvalidRequest if it is too long."""
    why = normalize_text(reason)
    if len(why) > MAX_REASON_LENGTH:
        raise InvalidRequest(
            "reason",
            f"reason has {len(why)} characters, and at most {MAX_REASON_LENGTH} are allowed. "
            "Please shorten it.",
        )
    return why


MOST_RULES: Final = 500


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """A member's allowance, and where it comes from.

    ``rules`` are those that touch this member, the widest first; ``grants`` those that hold now.
    """

    allowance: QuotaStatus
    rules: tuple[QuotaRule, ...]
    grants: tuple[QuotaGrant, ...]


class QuotaService:
    """Reads and changes what members may make on one server at a time."""

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
        """The quota of members whom no rule touches."""
        return self._default

    async def show(self, guild_id: int, member: Actor) -> QuotaReport:
        """What a member may make and has made, and by which rules and grants."""
        at = self._now()
        rules = await self._guilds.rules(guild_id)
        quota = quotas.effective_quota(self._default, rules, member.role_ids, member.id)
        usage, counts = await asyncio.gather(
            self._ledger.usage(guild_id, member.id, at - quota.window),
            self._jobs.counts(member.id),
        )
        touching = [rule for rule in rules if _touches(rule, member)]
        return QuotaReport(
            QuotaStatus(quota, usage, at, counts.waiting, counts.in_flight),
            tuple(sorted(touching, key=lambda rule: _WIDEST_FIRST.index(rule.scope))),
            tuple(grant for grant in usage.grants if grant.is_active(at)),
        )

    async def rule(self, guild_id: int, subject: QuotaSubject) -> QuotaRule | None:
        """The rule that is set for exactly this subject."""
        return _find(await self._guilds.rules(guild_id), subject)

    async def rules(self, guild_id: int) -> tuple[QuotaRule, ...]:
        """Every rule of a server, the widest first."""
        found = await self._guilds.rules(guild_id)
        return tuple(sorted(found, key=lambda rule: _WIDEST_FIRST.index(rule.scope)))

    async def balances(self, guild_id: int) -> tuple[MemberTotals, ...]:
        """What each member of a server made in all, those who made most first."""
        return await self._ledger.balances(guild_id)

    async def set_rule(
        self, guild_id: int, subject: QuotaSubject, terms: QuotaRuleChange, *, by: Actor
    ) -> QuotaRule:
        """Change the subject's rule, or make it one; the rule as it is now.

        Raises RequestError, naming the allowed range, for a value outside it.
        """
        terms.check()
        at = self._now()
        said = {key: value for key, value in asdict(terms).items() if value is not None}

        def change(link: sqlite3.Connection) -> QuotaRule:
            rules = guilds.rules(link, guild_id)
            before = _find(rules, subject)
            if before is None and len(rules) >= MOST_RULES:
                raise RequestError(
                    f"This server has {MOST_RULES} quota rules, which is the most it can have. "
                    "Remove one first; /quota-admin list shows them."
                )
            rule = replace(before or QuotaRule(subject.scope, subject.id), **said)
            guilds.set_rule(link, guild_id, rule)
            note = {"was": before and _plain(before), "is": _plain(rule)}
            self._note(link, guild_id, at, by, "quota-set", subject, note)
            return rule

        return await self._database.write(change)

    async def remove_rule(self, guild_id: int, subject: QuotaSubject, *, by: Actor) -> QuotaRule:
        """Drop the subject's rule, so that what is set more widely counts; the rule that went.

        Raises RequestError if there is none.
        """
        at = self._now()

        def remove(link: sqlite3.Connection) -> QuotaRule:
            before = _find(guilds.rules(link, guild_id), subject)
            if before is None:
                raise RequestError(
                    "There is no rule to remove there; /quota-admin list shows all of them."
                )
            guilds.remove_rule(link, guild_id, subject.scope, subject.id)
            self._note(link, guild_id, at, by, "quota-remove", subject, {"was": _plain(before)})
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
        """Give a member images on top of the quota, for a time or (None) until a reset.

        Raises RequestError, naming the allowed range, for a value outside it.
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
            self._note(link, guild_id, at, by, "quota-grant", subject, note)
            return given

        return await self._database.write(give)

    async def reset(self, guild_id: int, member_id: int, *, reason: str, by: Actor) -> None:
        """Let a member start afresh: what was charged and granted before counts no more."""
        why = validate_reason(reason)
        at = self._now()

        def start_afresh(link: sqlite3.Connection) -> None:
            ledger.reset(link, guild_id, member_id, actor_id=by.id, reason=why, at=at)
            subject = QuotaSubject("member", member_id)
            self._note(link, guild_id, at, by, "quota-reset", subject, {"reason": why})

        await self._database.write(start_afresh)

    async def history(
        self, guild_id: int, member_id: int, limit: int = 25, before: int | None = None
    ) -> tuple[LedgerEntry, ...]:
        """A member's charges, refunds, grants and resets, the newest first."""
        return await self._ledger.history(guild_id, member_id, limit, before)

    async def changes(
        self, guild_id: int, subject: QuotaSubject | None = None, limit: int = 25
    ) -> tuple[AuditEntry, ...]:
        """What moderators did to quotas, the newest first; to one subject, or (None) to any."""
        about = None if subject is None else str(subject)
        return await self._audit.entries(guild_id, limit, actions="quota-", subject=about)

    @staticmethod
    def _note(
        link: sqlite3.Connection,
        guild_id: int,
        at: datetime,
        by: Actor,
        action: str,
        subject: QuotaSubject,
        detail: Mapping[str, object],
    ) -> None:
        audit.record_action(
            link,
            at=at,
            guild_id=guild_id,
            actor_id=by.id,
            action=action,
            subject=str(subject),
            detail=detail,
        )


_WIDEST_FIRST: Final[tuple[Scope, ...]] = ("server", "role", "member")


def _find(rules: tuple[QuotaRule, ...], subject: QuotaSubject) -> QuotaRule | None:
    wanted = (subject.scope, subject.id)
    return next((rule for rule in rules if (rule.scope, rule.subject_id) == wanted), None)


def _touches(rule: QuotaRule, member: Actor) -> bool:
    match rule.scope:
        case "server":
            return True
        case "role":
            return rule.subject_id in member.role_ids
        case "member":
            return rule.subject_id == member.id


def _plain(rule: QuotaRule) -> dict[str, object]:
    """The rule as JSON can hold it, without what it leaves open."""
    found: dict[str, object] = {
        "images": rule.images,
        "window": rule.window and quotas.format_window(rule.window),
        "running": rule.running,
        "waiting": rule.waiting,
    }
    return {key: value for key, value in found.items() if value is not None}
