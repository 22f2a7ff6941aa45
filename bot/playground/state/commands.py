"""Validate and register application commands.

Who may run a command, and with which options, is checked in ``client/command_options.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.playground.state.models import SnowflakeGenerator
from bot.playground.validation.errors import ErrorCollector, Json, api_error, parse_snowflake

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)
MAX_PER_TYPE = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
MAX_COMMAND_CHARS = 8000
MAX_CREATES_PER_DAY = 200
# Discord also allows Devanagari and Thai vowel signs, which \w does not match.
NAME = re.compile(r"^[-_'\w\u0900-\u097F\u0E00-\u0E7F]{1,32}$")


def validate_command(form: ErrorCollector, value: object) -> Json:
    """Validate a command as Discord does when it is registered; return it unchanged."""
    command = form.check_object(value)
    kind = command.get("type") or CHAT_INPUT
    if not isinstance(kind, int) or kind not in MAX_PER_TYPE:
        form.at("type").add_error("BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3).")
        return command
    permissions = command.get("default_member_permissions")
    if permissions is not None and parse_snowflake(str(permissions)) is None:
        form.at("default_member_permissions").add_error("NUMBER_TYPE_COERCE", "Not a bit set.")
    if kind != CHAT_INPUT:
        form.at("name").check_string(command.get("name"), max_chars=32, min_chars=1)
        if command.get("description") or command.get("options"):
            form.at("description").add_error(
                "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_NOT_ALLOWED",
                "Context menu commands have no description and no options",
            )
        return command
    _validate_names(form, command)
    _validate_options(form.at("options"), command.get("options") or [], depth=0)
    if form.is_valid and _text_size(command) > MAX_COMMAND_CHARS:
        form.add_error(
            "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({MAX_COMMAND_CHARS})"
        )
    return command


def _validate_names(form: ErrorCollector, entry: Json) -> None:
    name = entry.get("name")
    if form.at("name").check_string(name, max_chars=32, min_chars=1) and (
        not NAME.match(str(name)) or str(name) != str(name).lower()
    ):
        form.at("name").add_error(
            "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid: lower case, no spaces"
        )
    form.at("description").check_string(entry.get("description"), max_chars=100, min_chars=1)


def _validate_options(form: ErrorCollector, value: object, *, depth: int) -> None:
    names: list[object] = []
    optional_seen = False
    options = form.check_list(value, max_items=25)
    branches = [raw.get("type") in (SUBCOMMAND, GROUP) for raw in options if isinstance(raw, dict)]
    if any(branches) and not all(branches):
        form.add_error(
            "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
            "Sub-command and sub-command group option types are mutually exclusive to all other",
        )
    for index, raw in enumerate(options):
        place = form.at(index)
        option = place.check_object(raw)
        _validate_names(place, option)
        if option.get("name") in names:
            place.at("name").add_error(
                "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists"
            )
        names.append(option.get("name"))
        kind = option.get("type")
        if kind in (SUBCOMMAND, GROUP):
            if depth >= (2 if kind == SUBCOMMAND else 1):
                place.at("type").add_error("APPLICATION_COMMAND_NESTING", "Nested too deep")
            else:
                _validate_options(place.at("options"), option.get("options") or [], depth=depth + 1)
            continue
        if not isinstance(kind, int) or kind not in range(STRING, ATTACHMENT + 1):
            place.at("type").add_error("BASE_TYPE_CHOICES", "Value must be one of 1 to 11.")
            continue
        if option.get("required") and optional_seen:
            place.at("required").add_error(
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        optional_seen |= not option.get("required")
        _validate_choices(place, option)


def _validate_choices(form: ErrorCollector, option: Json) -> None:
    choices = option.get("choices") or []
    if choices and option.get("autocomplete"):
        form.at("autocomplete").add_error(
            "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_CHOICES", "Choices exclude autocomplete"
        )
    validate_choices(form.at("choices"), choices, option["type"])
    for key in ("min_length", "max_length"):
        if option.get(key) is not None:
            form.at(key).check_integer(option[key], minimum=0, maximum=6000)


def validate_choices(form: ErrorCollector, value: object, kind: int) -> list[Json]:
    """Validate up to 25 choices of an option of type ``kind``; return them."""
    wanted: tuple[type, ...] = {INTEGER: (int,), NUMBER: (int, float)}.get(kind, (str,))
    choices = form.check_list(value, max_items=25)
    for index, raw in enumerate(choices):
        choice = form.at(index).check_object(raw)
        form.at(index, "name").check_string(choice.get("name"), max_chars=100, min_chars=1)
        if wanted == (str,):
            form.at(index, "value").check_string(choice.get("value"), max_chars=100, min_chars=1)
        elif not isinstance(choice.get("value"), wanted):
            form.at(index, "value").add_error("NUMBER_TYPE_COERCE", "Value is not a number.")
    return choices


def _text_size(entry: Json) -> int:
    """Return the characters that Discord counts: the longest localization of each text."""
    size = 0
    for key in ("name", "description"):
        texts = [entry.get(key) or "", *(entry.get(f"{key}_localizations") or {}).values()]
        size += max(len(text) for text in texts)
    for choice in entry.get("choices") or []:
        size += len(choice["name"]) + len(str(choice["value"]))
    return size + sum(_text_size(option) for option in entry.get("options") or [])


class CommandRegistry:
    """The registered commands: global ones (scope None) and those of the guild."""

    def __init__(
        self, application_id: int, snowflakes: SnowflakeGenerator, now: Callable[[], datetime]
    ) -> None:
        self._application_id = application_id
        self._snowflakes = snowflakes
        self._now = now
        self._commands: dict[tuple[int | None, int, str], Json] = {}
        self._created: dict[int | None, list[datetime]] = {}

    def list_scope(self, scope: int | None) -> list[Json]:
        """Return the commands of one scope in the order of registration."""
        return [command for key, command in self._commands.items() if key[0] == scope]

    def all(self) -> list[Json]:
        """Return every command of every scope."""
        return list(self._commands.values())

    def find(self, command_id: int) -> Json:
        """Return a command by id. Raises ApiError 10063."""
        for command in self._commands.values():
            if command["id"] == str(command_id):
                return command
        raise api_error(10063)

    def replace(self, scope: int | None, body: object) -> list[Json]:
        """Replace all commands of a scope; known names keep their ids. Raises ApiError."""
        form = ErrorCollector()
        checked = [
            validate_command(form.at(index), raw)
            for index, raw in enumerate(form.check_list(body, max_items=130))
        ]
        seen: list[tuple[int, object]] = []
        for index, command in enumerate(checked):
            key = (command.get("type") or CHAT_INPUT, command.get("name"))
            if key in seen:
                form.at(index, "name").add_error(
                    "APPLICATION_COMMANDS_DUPLICATE_NAME", "Names must be unique"
                )
            seen.append(key)
        for kind, maximum in MAX_PER_TYPE.items():
            if sum(known == kind for known, _ in seen) > maximum:
                form.add_error("BASE_TYPE_MAX_LENGTH", f"At most {maximum} commands of type {kind}")
        form.raise_errors()
        self._count_creates(scope, checked)
        kept = {
            (scope, command.get("type") or CHAT_INPUT, command["name"]): self._complete(
                scope, command
            )
            for command in checked
        }
        others = {key: value for key, value in self._commands.items() if key[0] != scope}
        self._commands = {**others, **kept}
        return list(kept.values())

    def upsert(self, scope: int | None, body: object) -> tuple[Json, bool]:
        """Register one command; return it and whether its name is new. Raises ApiError."""
        form = ErrorCollector()
        command = validate_command(form, body)
        form.raise_errors()
        self._count_creates(scope, [command])
        key = (scope, command.get("type") or CHAT_INPUT, command["name"])
        new = key not in self._commands
        self._commands[key] = self._complete(scope, command)
        return self._commands[key], new

    def delete(self, command_id: int) -> None:
        """Remove a command. Raises ApiError 10063."""
        removed = self.find(command_id)
        self._commands = {
            key: command for key, command in self._commands.items() if command is not removed
        }

    def _count_creates(self, scope: int | None, commands: list[Json]) -> None:
        day_ago = self._now() - timedelta(days=1)
        recent = [moment for moment in self._created.get(scope, []) if moment > day_ago]
        fresh = sum(
            (scope, command.get("type") or CHAT_INPUT, command["name"]) not in self._commands
            for command in commands
        )
        if len(recent) + fresh > MAX_CREATES_PER_DAY:
            raise api_error(30034)
        self._created[scope] = recent + [self._now()] * fresh

    def _complete(self, scope: int | None, command: Json) -> Json:
        kind = command.get("type") or CHAT_INPUT
        known = self._commands.get((scope, kind, command["name"]))
        permissions = command.get("default_member_permissions")
        body: Json = {
            "id": known["id"] if known else str(self._snowflakes.next_id()),
            "application_id": str(self._application_id),
            "version": str(self._snowflakes.next_id()),
            "type": kind,
            "name": command["name"],
            "name_localizations": command.get("name_localizations"),
            "description": command.get("description") or "",
            "description_localizations": command.get("description_localizations"),
            "default_member_permissions": None if permissions is None else str(permissions),
            "nsfw": bool(command.get("nsfw")),
            "options": [_without_nulls(option) for option in command.get("options") or []],
            "integration_types": command.get("integration_types") or [0],
            "contexts": command.get("contexts"),
        }
        if scope is not None:
            body["guild_id"] = str(scope)
        else:
            body["dm_permission"] = command.get("dm_permission") is not False
        return body


def _without_nulls(option: Json) -> Json:
    kept = {key: value for key, value in option.items() if value is not None}
    if "options" in kept:
        kept["options"] = [_without_nulls(inner) for inner in kept["options"]]
    return kept
