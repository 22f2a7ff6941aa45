"""Who a message really calls: the names in its text, filtered by ``allowed_mentions``.

It knows Discord's rules for that field and nothing of messages being posted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.playground.validation.errors import ErrorCollector, Json, read_snowflake

USER = re.compile(r"<@!?(\d{1,20})>")
ROLE = re.compile(r"<@&(\d{1,20})>")
EVERYONE = re.compile(r"@(everyone|here)\b")

# Discord's default when the field is absent: all for ordinary messages, users for interactions.
DEFAULT_MESSAGE: Json = {"parse": ["users", "roles", "everyone"], "replied_user": True}
DEFAULT_INTERACTION: Json = {"parse": ["users"], "replied_user": True}


@dataclass(frozen=True, slots=True)
class Mentions:
    """The users and roles a text calls, and whether it calls everybody."""

    users: tuple[int, ...]
    roles: tuple[int, ...]
    everyone: bool


def check_allowed_mentions(form: ErrorCollector, value: object) -> Json | None:
    """Complain about a malformed ``allowed_mentions``; return it as sent."""
    if value is None:
        return None
    body = form.record(value)
    parse = form.at("parse").listing(body.get("parse") or [], most=3)
    for index, kind in enumerate(parse):
        if kind not in ("users", "roles", "everyone"):
            form.at("parse", index).add_error(
                "BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone')."
            )
    for kind in ("users", "roles"):
        listed = form.at(kind).listing(body.get(kind) or [], most=100)
        if any(read_snowflake(item) is None for item in listed):
            form.at(kind).add_error("NUMBER_TYPE_COERCE", "A value is not snowflake.")
        if listed and kind in parse:
            form.add_error(
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
            )
    return body


def find_mentions(text: str, allowed: Json) -> Mentions:
    """Return whom ``text`` calls under ``allowed``, a complete ``allowed_mentions``."""
    parse = allowed.get("parse") or []

    def pick(kind: str, pattern: re.Pattern[str]) -> tuple[int, ...]:
        named = dict.fromkeys(int(found) for found in pattern.findall(text))
        if kind in parse:
            return tuple(named)
        listed = {read_snowflake(item) for item in allowed.get(kind) or []}
        return tuple(found for found in named if found in listed)

    everyone = "everyone" in parse and EVERYONE.search(text) is not None
    return Mentions(pick("users", USER), pick("roles", ROLE), everyone)
