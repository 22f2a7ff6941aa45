"""Texts about quotas: usage, rules, grants, ledger and audit entries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bot.domain.quota import Quota, QuotaGrant, QuotaRule, format_window
from bot.frontend.formatting import escape_user_text, pluralize, short_id, timestamp
from bot.frontend.listing import Listing, Section
from bot.frontend.message_content import EmbedField
from bot.services.quotas import AuditEntry, LedgerEntry, MemberTotals, QuotaReport

_MAX_REASON: Final = 120
_ACTION_TEXT: Final = {
    "quota-set": "set",
    "quota-remove": "removed the rule for",
    "quota-grant": "granted images to",
    "quota-reset": "reset",
}


def quota_listing(report: QuotaReport, title: str) -> Listing:
    """Return a member's usage, the time of the next free images, and the rules."""
    allowance = report.allowance
    quota = allowance.quota
    at_most = allowance.usage.allowance(quota, allowance.at)
    images = [
        f"**{allowance.left} left**: {allowance.used} of {pluralize(at_most, 'image')} used in the "
        f"last {format_window(quota.window)}."
    ]
    if allowance.resets_at is not None:
        images.append(f"The first of them are free again {timestamp(allowance.resets_at)}.")
    fields = [
        EmbedField("Images", "\n".join(images)),
        EmbedField("Running", f"{allowance.running} of {quota.running}", inline=True),
        EmbedField("In the queue", f"{allowance.waiting} of {quota.waiting}", inline=True),
    ]
    rules = [format_rule(rule) for rule in report.rules] or ["The default of this bot."]
    sections = [Section("Rules that apply to you", rules)]
    if report.grants:
        sections.insert(0, Section("Extra images", [format_grant(one) for one in report.grants]))
    return Listing(title, sections, fields=tuple(fields))


def format_quota(quota: Quota) -> str:
    """Return a quota in one line."""
    return (
        f"{pluralize(quota.images, 'image')} in {format_window(quota.window)}, "
        f"{quota.running} running at once, {quota.waiting} in the queue"
    )


def format_grant(grant: QuotaGrant) -> str:
    """Return a grant and when it expires."""
    until = f"until {timestamp(grant.expires_at, 'f')}" if grant.expires_at else "until a reset"
    return f"{pluralize(grant.images, 'image')}, {until}"


def format_subject(subject: str) -> str:
    """Return ``user:7``, ``role:5`` or ``server:1`` as a mention."""
    kind, _, ident = subject.partition(":")
    return {"user": f"<@{ident}>", "role": f"<@&{ident}>"}.get(kind, "this server")


def rule_subject(rule: QuotaRule) -> str:
    """Return the subject of a rule as a mention."""
    kind = "user" if rule.scope == "member" else rule.scope
    return format_subject(f"{kind}:{rule.subject_id}")


def format_rule(rule: QuotaRule) -> str:
    """Return a rule with its subject."""
    subject = rule_subject(rule)
    return f"{subject[:1].upper()}{subject[1:]}: {format_rule_values(rule)}"


def format_rule_values(rule: QuotaRule) -> str:
    """Return the values that a rule sets."""
    terms = []
    if rule.images is not None:
        terms.append(pluralize(rule.images, "image"))
    if rule.window is not None:
        terms.append(f"in any {format_window(rule.window)}")
    if rule.running is not None:
        terms.append(f"{rule.running} running at once")
    if rule.waiting is not None:
        terms.append(f"{rule.waiting} in the queue")
    return ", ".join(terms)


def format_entry(entry: LedgerEntry) -> str:
    """Return a ledger entry in one line."""
    match entry.kind:
        case "reserve":
            what = f"−{entry.images} for `{short_id(entry.job_id or '')}`"
        case "settle":
            what = f"`{short_id(entry.job_id or '')}` generated {pluralize(entry.images, 'image')}"
        case "refund":
            what = f"+{entry.images} refunded for `{short_id(entry.job_id or '')}`"
        case "grant":
            what = f"+{entry.images} granted by <@{entry.actor_id}>"
            if entry.expires_at is not None:
                what += f" until {timestamp(entry.expires_at, 'f')}"
        case "reset":
            what = f"reset by <@{entry.actor_id}>"
    # The reasons of other entries are internal.
    text = escape_user_text(entry.reason, _MAX_REASON) if entry.kind in ("grant", "reset") else ""
    return f"{timestamp(entry.at)} {what}" + (f": {text}" if text else "")


def format_audit_entry(change: AuditEntry) -> str:
    """Return a moderator's change in one line."""
    verb = _ACTION_TEXT.get(change.action, escape_user_text(change.action, 40))
    line = f"{timestamp(change.at)} <@{change.actor_id}> {verb} {format_subject(change.subject)}"
    text = _details(change)
    return f"{line}: {text}" if text else line


def _details(change: AuditEntry) -> str:
    detail = change.detail
    parts = []
    for key in ("was", "is"):
        if isinstance(detail.get(key), dict):
            terms = ", ".join(f"{name} {value}" for name, value in detail[key].items())
            parts.append(f"{key} {escape_user_text(terms, _MAX_REASON)}")
    if "images" in detail:
        parts.append(pluralize(int(detail["images"]), "image"))
    if detail.get("until"):
        parts.append(f"until {timestamp(datetime.fromisoformat(str(detail['until'])), 'f')}")
    if detail.get("reason"):
        parts.append(escape_user_text(str(detail["reason"]), _MAX_REASON))
    return ", ".join(parts)


def format_totals(balances: Sequence[MemberTotals]) -> list[str]:
    """Return a line per member: images generated, reserved and granted."""
    lines = []
    for balance in balances:
        line = f"<@{balance.user_id}>: {balance.settled} generated"
        extras = [
            f"{number} {what}"
            for number, what in ((balance.held, "reserved"), (balance.granted, "granted"))
            if number
        ]
        lines.append(", ".join([line, *extras]))
    return lines
