"""Quotas in words: what a member may make, where that comes from, and what a rule says. Pure.

Numbers are the engine's; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from bot.domain.quota import Quota, QuotaGrant, QuotaRule, format_window
from bot.domain.text import utf16_length
from bot.frontend.formatting import escape_user_text, pluralize, short_id, timestamp
from bot.frontend.messages import FIELD_VALUE, EmbedField
from bot.frontend.pagination import Listing, Section
from bot.services.quotas import AuditEntry, LedgerEntry, MemberTotals, QuotaReport

_REASON: Final = 120
_WORDS: Final = {
    "quota-set": "set",
    "quota-remove": "removed the rule of",
    "quota-grant": "granted images to",
    "quota-reset": "reset",
}


def bullet_list(lines: Iterable[str], most: int = FIELD_VALUE, none: str = "Nothing.") -> str:
    """One line each, as many as fit into ``most``, and how many more there are."""
    given = list(lines)
    if not given:
        return none
    kept: list[str] = []
    room = most - utf16_length(f"\n… and {len(given)} more")
    for line in given:
        room -= utf16_length(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = len(given) - len(kept)
    return "\n".join([*kept, *([f"… and {left} more"] if left else [])])


def account_listing(account: QuotaReport, title: str) -> Listing:
    """What a member has used and has left, when it comes back, and why it is so much."""
    allowance = account.allowance
    quota = allowance.quota
    at_most = allowance.usage.allowance(quota, allowance.at)
    images = [
        f"**{allowance.left} left**: {allowance.used} of {pluralize(at_most, 'image')} used in the "
        f"last {format_window(quota.window)}."
    ]
    if allowance.resets_at is not None:
        images.append(f"The oldest come back {timestamp(allowance.resets_at)}.")
    fields = [
        EmbedField("Images", "\n".join(images)),
        EmbedField("At once", f"{allowance.running} of {quota.running} running", inline=True),
        EmbedField("In line", f"{allowance.waiting} of {quota.waiting} waiting", inline=True),
    ]
    because = [format_rule(rule) for rule in account.rules] or ["The bot's own default."]
    sections = [Section("Where it comes from", because)]
    if account.grants:
        sections.insert(0, Section("Granted on top", [format_grant(one) for one in account.grants]))
    return Listing(title, sections, fields=tuple(fields))


def format_quota(quota: Quota) -> str:
    """A whole quota in one line."""
    return (
        f"{pluralize(quota.images, 'image')} in {format_window(quota.window)}, {quota.running} at once, "
        f"{quota.waiting} waiting"
    )


def format_grant(grant: QuotaGrant) -> str:
    """A grant and its end."""
    until = f"until {timestamp(grant.expires_at, 'f')}" if grant.expires_at else "until a reset"
    return f"{pluralize(grant.images, 'image')}, {until}"


def format_subject(subject: str) -> str:
    """``user:7``, ``role:5`` and ``server:1`` as Discord shows them."""
    kind, _, ident = subject.partition(":")
    return {"user": f"<@{ident}>", "role": f"<@&{ident}>"}.get(kind, "this server")


def rule_subject(rule: QuotaRule) -> str:
    """Whom a rule is about, as Discord shows them."""
    kind = "user" if rule.scope == "member" else rule.scope
    return format_subject(f"{kind}:{rule.subject_id}")


def format_rule(rule: QuotaRule) -> str:
    """A rule: about whom, and what it sets."""
    subject = rule_subject(rule)
    return f"{subject[:1].upper()}{subject[1:]}: {format_rule_values(rule)}"


def format_rule_values(rule: QuotaRule) -> str:
    """What a rule sets; what it leaves open is not mentioned."""
    terms = []
    if rule.images is not None:
        terms.append(pluralize(rule.images, "image"))
    if rule.window is not None:
        terms.append(f"in any {format_window(rule.window)}")
    if rule.running is not None:
        terms.append(f"{rule.running} at once")
    if rule.waiting is not None:
        terms.append(f"{rule.waiting} waiting")
    return ", ".join(terms)


def format_entry(entry: LedgerEntry) -> str:
    """A line of the ledger."""
    match entry.kind:
        case "reserve":
            what = f"−{entry.images} for `{short_id(entry.job_id or '')}`"
        case "settle":
            what = f"`{short_id(entry.job_id or '')}` made {pluralize(entry.images, 'image')}"
        case "refund":
            what = f"+{entry.images} given back for `{short_id(entry.job_id or '')}`"
        case "grant":
            what = f"+{entry.images} granted by <@{entry.actor_id}>"
            if entry.expires_at is not None:
                what += f" until {timestamp(entry.expires_at, 'f')}"
        case "reset":
            what = f"fresh start by <@{entry.actor_id}>"
    # What the engine wrote as a reason is a word for the database.
    said = escape_user_text(entry.reason, _REASON) if entry.kind in ("grant", "reset") else ""
    return f"{timestamp(entry.at)} {what}" + (f": {said}" if said else "")


def format_audit_entry(change: AuditEntry) -> str:
    """What a moderator did to a quota."""
    verb = _WORDS.get(change.action, escape_user_text(change.action, 40))
    line = f"{timestamp(change.at)} <@{change.actor_id}> {verb} {format_subject(change.subject)}"
    said = _details(change)
    return f"{line}: {said}" if said else line


def _details(change: AuditEntry) -> str:
    detail = change.detail
    parts = []
    for key in ("was", "is"):
        if isinstance(detail.get(key), dict):
            terms = ", ".join(f"{name} {value}" for name, value in detail[key].items())
            parts.append(f"{key} {escape_user_text(terms, _REASON)}")
    if "images" in detail:
        parts.append(pluralize(int(detail["images"]), "image"))
    if detail.get("until"):
        parts.append(f"until {timestamp(datetime.fromisoformat(str(detail['until'])), 'f')}")
    if detail.get("reason"):
        parts.append(escape_user_text(str(detail["reason"]), _REASON))
    return ", ".join(parts)


def format_totals(balances: Sequence[MemberTotals]) -> list[str]:
    """Who made how much in all, those who made most first."""
    lines = []
    for balance in balances:
        line = f"<@{balance.user_id}>: {balance.settled} made"
        extras = [
            f"{number} {what}"
            for number, what in ((balance.held, "on their way"), (balance.granted, "granted"))
            if number
        ]
        lines.append(", ".join([line, *extras]))
    return lines
