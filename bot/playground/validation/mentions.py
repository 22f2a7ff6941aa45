"""Find the mentions in a text and filter them by ``allowed_mentions``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.playground.validation.errors import ErrorCollector, Json, parse_snowflake

USER = re.compile(r"<@!?(\d{1,20})>")
ROLE = re.compile(r"<@&(\d{1,20})>")
EVERYONE = re.compile(r"@(everyone|here)\b")

# Discord's defaults if the field is absent: everything for messages, users for interactions.
DEFAULT_MESSAGE: Json = {"parse": ["users", "roles", "everyone"], "replied_user": True}
DEFAULT_INTERACTION: Json = {"parse": ["users"], "replied_user": True}


@dataclass(frozen=True, slots=True)
class Mentions:
    """The mentioned user and role ids, and whether @everyone or @here is mentioned."""

    users: tuple[int, ...]
    roles: tuple[int, ...]
    everyone: bool


def validate_allowed_mentions(form: ErrorCollector, value: object) -> Json | None:
    """Validate ``allowed_mentions`` and return it unchanged."""
    if value is None:
        return None
    body = form.check_object(value)
    parse = form.at("parse").check_list(body.get("parse") or [], max_items=3)
    for index, kind in enumerate(parse):
        if kind not in ("users", "roles", "everyone"):
            form.at("parse", index).add_error(
                "BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone')."
            )
    for kind in ("users", "roles"):
        listed = form.at(kind).check_list(body.get(kind) or [], max_items=100)
        if any(parse_snowflake(item) is None for item in listed):
            form.at(kind).add_error("NUMBER_TYPE_COERCE", "A value is not snowflake.")
        if listed and kind in parse:
            form.add_error(
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
            )
    return body


def find_mentions(text: str, allowed: Json) -> Mentions:
    """Return the mentions in ``text`` that a complete ``allowed_mentions`` permits."""
    parse = allowed.get("parse") or []

    def pick(kind: str, pattern: re.Pattern[str]) -> tuple[int, ...]:
        named = dict.fromkeys(int(found) for found in pattern.findall(text))
        if kind in parse:
            return tuple(named)
        listed = {parse_snowflake(item) for item in allowed.get(kind) or []}
        return tuple(found for found in named if found in listed)

    everyone = "everyone" in parse and EVERYONE.search(text) is not None
    return Mentions(pick("users", USER), pick("roles", ROLE), everyone)
