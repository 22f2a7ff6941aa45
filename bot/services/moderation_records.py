"""Who may moderate, what moderators set for a server, and how their actions are recorded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from bot.domain.adult_words import ADULT_WORDS
from bot.domain.errors import InvalidRequest, NotAllowed, RequestError
from bot.domain.image_check import ImageAction, parse_action
from bot.domain.moderation import (
    MIN_PAUSE,
    ChannelRule,
    Pause,
    format_seconds,
    parse_model_roles,
    parse_words_off,
)
from bot.services.queue import Actor
from bot.store import audit, moderation_log
from bot.store.audit import AuditEntry
from bot.store.moderation import JobHold, MemberBlock, ScopedWordRule

__all__ = [
    "JobHold",
    "MemberBlock",
    "ScopedWordRule",
    "ServerSettings",
    "ServerStatus",
]

MAX_MODEL_ROLES: Final = 100
MAX_CHANNEL_SECONDS: Final = timedelta(days=7)
_MODERATORS_ONLY = "Only moderators of this server can do this."
_MANAGERS_ONLY = "Only members with the permission Manage Server can do this."


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What moderators have set for their server; 0 and None are nothing."""

    log_channel_id: int = 0
    show_word: bool = False
    adult_by_flag: bool = True
    gallery_channel_id: int = 0
    gallery_threshold: int = 3
    model_roles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    adult_words_off: tuple[str, ...] = ()
    image_action: ImageAction | None = None

    def effective_image_action(self, operators: ImageAction | None) -> ImageAction | None:
        """Return the action for marked images; ``operators`` None: there is no image check."""
        return operators and (self.image_action or operators)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What holds in a server at the moment. Counts are those of the server."""

    pause: Pause | None
    settings: ServerSettings
    channels: tuple[ChannelRule, ...]
    words: int
    blocks: int
    holds: int
    waiting: int
    running: int
    unposted: int
    gallery_unposted: int
    image_action: ImageAction | None = None


SETTING_KEYS: Final = frozenset(
    {"log_channel", "show_word", "adult_by_flag", "gallery_channel", "gallery_threshold"}
    | {"model_roles", "adult_words_off", "image_action"}
)
MODERATORS_SETTINGS: Final = frozenset({"adult_words_off"})
"""What moderators may set; everything else takes Manage Server."""


def record_logged_action(
    link: sqlite3.Connection,
    guild_id: int,
    at: datetime,
    by: Actor,
    action: str,
    subject: str,
    detail: Mapping[str, object],
) -> None:
    """Save an audit entry and want its message in the log channel, in one transaction."""
    entry = audit.record_action(
        link,
        at=at,
        guild_id=guild_id,
        actor_id=by.id,
        action=action,
        subject=subject,
        detail=detail,
    )
    moderation_log.want_message(
        link,
        guild_id=guild_id,
        at=at,
        kind="action",
        subject=f"audit:{entry.id}",
        body={"action": action, "by": by.id, "subject": subject, "detail": dict(detail)},
    )


def require_moderator(by: Actor) -> None:
    """Raise NotAllowed unless the member may moderate."""
    if not by.moderator:
        raise NotAllowed(_MODERATORS_ONLY)


def require_manager(by: Actor) -> None:
    """Raise NotAllowed unless the member may manage the server."""
    if not by.manager:
        raise NotAllowed(_MANAGERS_ONLY)


def validate_length(field: str, length: timedelta, least: timedelta, most: timedelta) -> None:
    """Raise InvalidRequest for a length of time out of range; ``field`` is the option."""
    if not least <= length <= most:
        raise InvalidRequest(
            field, f"{field} can be {format_seconds(least)} to {format_seconds(most)}."
        )


def validate_channel_rule(rule: ChannelRule) -> None:
    """Raise InvalidRequest for a limit out of range."""
    for name, value, most in (
        ("running", rule.running, 1000),
        ("rows", rule.max_rows, 64),
        ("samples", rule.max_samples, 16),
    ):
        if value is not None and not 1 <= value <= most:
            raise InvalidRequest(name, f"{name} can be 1 to {most}, not {value}.")
    if rule.between is not None:
        validate_length("between", rule.between, timedelta(seconds=1), MAX_CHANNEL_SECONDS)


def find_same_word(
    known: Iterable[ScopedWordRule], wanted: ScopedWordRule
) -> ScopedWordRule | None:
    """Return the rule that is like ``wanted``, whatever its id."""
    for one in known:
        if replace(one, rule=replace(one.rule, id=wanted.rule.id)) == wanted:
            return one
    return None


def ends_alike(one: datetime | None, other: datetime | None) -> bool:
    """Return whether two moderators who were asked at once would mean the same end."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < MIN_PAUSE


def format_decision(held: JobHold, author_id: int) -> str:
    """Return what a moderator reads who is too late to decide about a request."""
    if held.approved:
        return f"It was already approved by <@{held.decided_by}>."
    if held.decided_by == author_id:
        return "It was already cancelled by the member."
    who = f" by <@{held.decided_by}>" if held.decided_by else ""
    return f"It was already rejected{who}."


def channel_to_json(rule: ChannelRule) -> dict[str, object]:
    """Return the fields of a channel rule that are set."""
    found: dict[str, object] = {
        "allowed": rule.allowed,
        "running": rule.running,
        "between": rule.between and rule.between.total_seconds(),
        "rows": rule.max_rows,
        "samples": rule.max_samples,
    }
    return {key: value for key, value in found.items() if value is not None}


def word_to_json(scoped: ScopedWordRule) -> dict[str, object]:
    """Return a word rule for the audit."""
    rule = scoped.rule
    return {
        "pattern": rule.pattern,
        "whole_word": rule.whole_word,
        "effect": rule.effect,
        "adult": rule.adult,
        "channel": scoped.channel_id,
    }


def parse_settings(stored: Mapping[str, object]) -> ServerSettings:
    """Return the settings of a server from what is stored, with defaults for the rest."""

    def number(key: str, default: int) -> int:
        value = stored.get(key)
        return value if type(value) is int else default

    return ServerSettings(
        log_channel_id=number("log_channel", 0),
        show_word=stored.get("show_word") is True,
        adult_by_flag=stored.get("adult_by_flag") is not False,
        gallery_channel_id=number("gallery_channel", 0),
        gallery_threshold=number("gallery_threshold", 3),
        model_roles=parse_model_roles(stored.get("model_roles")),
        adult_words_off=parse_words_off(stored.get("adult_words_off")),
        image_action=parse_action(stored.get("image_action")),
    )


def change_model_role(
    stored: object, model: str, role_id: int, *, allowed: bool
) -> Mapping[str, list[int]] | None:
    """Return the setting ``model_roles`` with or without one role; None if no model is limited.

    Raises RequestError if that is so already.
    """
    roles = {name: list(ids) for name, ids in parse_model_roles(stored).items()}
    given = roles.setdefault(model, [])
    if (role_id in given) is allowed:
        state = "may use it already" if allowed else "has no rule for it"
        raise RequestError(f"<@&{role_id}> {state}.")
    if allowed and sum(map(len, roles.values())) >= MAX_MODEL_ROLES:
        raise RequestError(f"At most {MAX_MODEL_ROLES} roles are possible. Remove one first.")
    given.append(role_id) if allowed else given.remove(role_id)
    return {name: ids for name, ids in roles.items() if ids} or None


def change_word_off(stored: object, word: str, *, off: bool) -> list[str] | None:
    """Return the setting ``adult_words_off`` with or without a shipped word; None if none is off.

    Raises RequestError for a word that is not shipped, or if that is so already.
    """
    if word not in ADULT_WORDS:
        raise RequestError("This word is not on the list that the bot comes with.")
    words = set(parse_words_off(stored))
    if (word in words) is off:
        raise RequestError(f"It is {'off' if off else 'on'} already.")
    return sorted(words ^ {word}) or None


def audit_to_json_lines(entries: Iterable[AuditEntry]) -> bytes:
    """Return the exported audit, one line for each entry."""
    lines = (
        json.dumps(
            {
                "id": entry.id,
                "at": entry.at.isoformat(),
                "actor": str(entry.actor_id),
                "action": entry.action,
                "subject": entry.subject,
                "detail": entry.detail,
            },
            ensure_ascii=False,
        )
        for entry in entries
    )
    return "".join(f"{line}\n" for line in lines).encode()
