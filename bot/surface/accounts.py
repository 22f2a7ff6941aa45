"""Quotas in words: what a member may make, where that comes from, and what a rule says. Pure.

Numbers are the engine's; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from bot.domain.quota import Grant, Quota, QuotaRule, show_window
from bot.engine.allowances import Account, AuditEntry, Balance, Entry
from bot.surface.card import FIELD_VALUE, Field, units
from bot.surface.pages import Listing, Section
from bot.surface.texts import count, inert, moment, short_id

_REASON: Final = 120
_WORDS: Final = {
    "quota-set": "set",
    "quota-remove": "removed the rule of",
    "quota-grant": "granted images to",
    "quota-reset": "reset",
}


def bullets(lines: Iterable[str], most: int = FIELD_VALUE, none: str = "Nothing.") -> str:
    """One line each, as many as fit into ``most``, and how many more there are."""
    given = list(lines)
    if not given:
        return none
    kept: list[str] = []
    room = most - units(f"\n… and {len(given)} more")
    for line in given:
        room -= units(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = len(given) - len(kept)
    return "\n".join([*kept, *([f"… and {left} more"] if left else [])])


def account_listing(account: Account, title: str) -> Listing:
    """What a member has used and has left, when it comes back, and why it is so much."""
    allowance = account.allowance
    quota = allowance.quota
    at_most = allowance.usage.allowance(quota, allowance.at)
    images = [
        f"**{allowance.left} left**: {allowance.used} of {count(at_most, 'image')} used in the "
        f"last {show_window(quota.window)}."
    ]
    if allowance.resets_at is not None:
        images.append(f"The oldest come back {moment(allowance.resets_at)}.")
    fields = [
        Field("Images", "\n".join(images)),
        Field("At once", f"{allowance.running} of {quota.running} running", inline=True),
        Field("In line", f"{allowance.waiting} of {quota.waiting} waiting", inline=True),
    ]
    because = [rule_line(rule) for rule in account.rules] or ["The bot's own default."]
    sections = [Section("Where it comes from", because)]
    if account.grants:
        sections.insert(0, Section("Granted on top", [grant_line(one) for one in account.grants]))
    return Listing(title, sections, fields=tuple(fields))


def quota_words(quota: Quota) -> str:
    """A whole quota in one line."""
    return (
        f"{count(quota.images, 'image')} in {show_window(quota.window)}, {quota.running} at once, "
        f"{quota.waiting} waiting"
    )


def grant_line(grant: Grant) -> str:
    """A grant and its end."""
    until = f"until {moment(grant.expires_at, 'f')}" if grant.expires_at else "until a reset"
    return f"{count(grant.images, 'image')}, {until}"


def subject_words(subject: str) -> str:
    """``user:7``, ``role:5`` and ``server:1`` as Discord shows them."""
    kind, _, ident = subject.partition(":")
    return {"user": f"<@{ident}>", "role": f"<@&{ident}>"}.get(kind, "this server")


def rule_subject(rule: QuotaRule) -> str:
    """Whom a rule is about, as Discord shows them."""
    kind = "user" if rule.scope == "member" else rule.scope
    return subject_words(f"{kind}:{rule.subject_id}")


def rule_line(rule: QuotaRule) -> str:
    """A rule: about whom, and what it sets."""
    subject = rule_subject(rule)
    return f"{subject[:1].upper()}{subject[1:]}: {rule_terms(rule)}"


def rule_terms(rule: QuotaRule) -> str:
    """What a rule sets; what it leaves open is not mentioned."""
    terms = []
    if rule.images is not None:
        terms.append(count(rule.images, "image"))
    if rule.window is not None:
        terms.append(f"in any {show_window(rule.window)}")
    if rule.running is not None:
        terms.append(f"{rule.running} at once")
    if rule.waiting is not None:
        terms.append(f"{rule.waiting} waiting")
    return ", ".join(terms)


def entry_line(entry: Entry) -> str:
    """A line of the ledger."""
    match entry.kind:
        case "reserve":
            what = f"−{entry.images} for `{short_id(entry.job_id or '')}`"
        case "settle":
            what = f"`{short_id(entry.job_id or '')}` made {count(entry.images, 'image')}"
        case "refund":
            what = f"+{entry.images} given back for `{short_id(entry.job_id or '')}`"
        case "grant":
            what = f"+{entry.images} granted by <@{entry.actor_id}>"
            if entry.expires_at is not None:
                what += f" until {moment(entry.expires_at, 'f')}"
        case "reset":
            what = f"fresh start by <@{entry.actor_id}>"
    # What the engine wrote as a reason is a word for the database.
    said = inert(entry.reason, _REASON) if entry.kind in ("grant", "reset") else ""
    return f"{moment(entry.at)} {what}" + (f": {said}" if said else "")


def change_line(change: AuditEntry) -> str:
    """What a moderator did to a quota."""
    verb = _WORDS.get(change.action, inert(change.action, 40))
    line = f"{moment(change.at)} <@{change.actor_id}> {verb} {subject_words(change.subject)}"
    said = _details(change)
    return f"{line}: {said}" if said else line


def _details(change: AuditEntry) -> str:
    detail = change.detail
    parts = []
    for key in ("was", "is"):
        if isinstance(detail.get(key), dict):
            terms = ", ".join(f"{name} {value}" for name, value in detail[key].items())
            parts.append(f"{key} {inert(terms, _REASON)}")
    if "images" in detail:
        parts.append(count(int(detail["images"]), "image"))
    if detail.get("until"):
        parts.append(f"until {moment(datetime.fromisoformat(str(detail['until'])), 'f')}")
    if detail.get("reason"):
        parts.append(inert(str(detail["reason"]), _REASON))
    return ", ".join(parts)


def balance_lines(balances: Sequence[Balance]) -> list[str]:
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
