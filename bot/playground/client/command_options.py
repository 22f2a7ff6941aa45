"""Validate commands and their options as Discord's client does, and resolve ids.

What a member could not send raises ``ClientError`` with the client's message.
"""

from __future__ import annotations

from collections.abc import Iterable

from bot.playground.serializers import channel_payload
from bot.playground.state import permissions
from bot.playground.state.commands import (
    ATTACHMENT,
    BOOLEAN,
    CHANNEL,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    STRING,
    SUBCOMMAND,
    USER,
)
from bot.playground.state.files import attachment_payload
from bot.playground.state.guild import GuildState
from bot.playground.state.models import DIRECT, Channel, Json, User
from bot.playground.validation.errors import parse_snowflake

MAX_NUMBER = 2**53
MAX_OPTION_CHARS = 6000


class ClientError(Exception):
    """An action that Discord's client does not allow; the text says why."""


class ResolvedData:
    """Collect the objects of the ids in an interaction, ``data.resolved``."""

    def __init__(self, guild: GuildState) -> None:
        self._guild = guild
        self.resolved: Json = {}

    def _add(self, kind: str, ident: int, payload: Json) -> None:
        self.resolved.setdefault(kind, {})[str(ident)] = payload

    def user(self, ident: int) -> bool:
        """Resolve a user, and the member if there is one; return False if unknown."""
        user = self._guild.users.get(ident)
        if user is None:
            return False
        self._add("users", ident, user.payload())
        member = self._guild.members.get(ident)
        if member is not None:
            granted = str(self._guild.base_permissions(member))
            self._add("members", ident, member.payload(with_user=False) | {"permissions": granted})
        return True

    def role(self, ident: int) -> bool:
        """Resolve a role; return False if unknown."""
        role = self._guild.roles.get(ident)
        if role is not None:
            self._add("roles", ident, role.payload())
        return role is not None

    def channel(self, ident: int, kinds: Iterable[int] | None) -> bool:
        """Resolve a channel of one of the types ``kinds``; return False if unknown."""
        channel = self._guild.channels.get(ident)
        if channel is None or (kinds and channel.type not in kinds):
            return False
        payload = channel_payload(self._guild, channel)
        partial = {
            key: payload[key]
            for key in ("id", "name", "type", "parent_id", "thread_metadata")
            if key in payload
        }
        granted = self._guild.permissions(self._guild.application_id, channel)
        self._add("channels", ident, partial | {"permissions": str(granted)})
        return True

    def attachment(self, ident: int) -> bool:
        """Resolve an uploaded file; return False if unknown."""
        uploaded = self._guild.uploads.get(ident)
        if uploaded is not None:
            self._add("attachments", ident, attachment_payload(self._guild, uploaded))
        return uploaded is not None

    def entity(self, kind: int, ident: int, kinds: Iterable[int] | None = None) -> bool:
        """Resolve an id by the type of the option; return False if unknown."""
        match kind:
            case 6:
                return self.user(ident)
            case 8:
                return self.role(ident)
            case 9:
                return self.user(ident) or self.role(ident)
            case 7:
                return self.channel(ident, kinds)
            case _:
                return self.attachment(ident)


def command_denied_reason(
    guild: GuildState, command: Json, user: User, channel: Channel
) -> str | None:
    """Return why a user cannot run a command in a channel, or None if they can."""
    name = command["name"]
    if channel.type == DIRECT:
        contexts = command.get("contexts")
        if "guild_id" in command or (contexts is not None and 1 not in contexts):
            return f"{name} cannot be used in direct messages"
        return None if command.get("dm_permission", True) else f"{name} is for servers only"
    if command.get("contexts") is not None and 0 not in command["contexts"]:
        return f"{name} cannot be used in a server"
    granted = guild.permissions(user, channel)
    if not granted & permissions.VIEW_CHANNEL:
        return "You cannot see this channel"
    if not granted & permissions.USE_APPLICATION_COMMANDS:
        return "You may not use commands in this channel"
    if channel.thread is not None and channel.thread.archived:
        return "Commands cannot be used in an archived thread"
    if command.get("nsfw") and not guild.is_age_restricted(channel):
        return f"{name} can only be used in age-restricted channels"
    wanted = command.get("default_member_permissions")
    if wanted is None or granted & permissions.ADMINISTRATOR or user.id == guild.owner_id:
        return None
    if int(wanted) == 0 or granted & int(wanted) != int(wanted):
        return f"You do not have permission to use {name}"
    return None


def build_options(command: Json, words: list[str], values: Json) -> list[Json]:
    """Return ``options`` of a command from subcommand words and option values by name."""
    if not words:
        known = {option["name"]: option for option in command.get("options") or []}
        options = []
        for name, value in values.items():
            if name not in known:
                raise ClientError(f"{command['name']} has no option {name}")
            if value is not None:
                options.append({"name": name, "type": known[name]["type"], "value": value})
        return options
    for option in command.get("options") or []:
        if option["name"] == words[0] and option["type"] in (SUBCOMMAND, GROUP):
            inner = build_options(option, words[1:], values)
            return [{"name": option["name"], "type": option["type"], "options": inner}]
    raise ClientError(f"{command['name']} has no subcommand {words[0]}")


def validate_options(
    resolver: ResolvedData, command: Json, options: object, *, typing: bool = False
) -> list[Json]:
    """Return options as the client sends them. Raises ClientError.

    ``typing`` means autocomplete: required options may be missing, and one option is ``focused``.
    """
    if not isinstance(options, list) or not all(isinstance(one, dict) for one in options):
        raise ClientError("options must be a list of objects")
    defined = {option["name"]: option for option in command.get("options") or []}
    branches = {name for name, option in defined.items() if option["type"] in (SUBCOMMAND, GROUP)}
    if branches and len(options) != 1:
        raise ClientError(f"Choose one of {', '.join(sorted(branches))}")
    sent: list[Json] = []
    for option in options:
        name = str(option.get("name"))
        definition = defined.pop(name, None)
        if definition is None:
            raise ClientError(f"{command['name']} has no option {name}, or it is given twice")
        body: Json = {"name": name, "type": definition["type"]}
        if definition["type"] in (SUBCOMMAND, GROUP):
            inner = option.get("options") or []
            body["options"] = validate_options(resolver, definition, inner, typing=typing)
        elif typing and option.get("focused"):
            if not definition.get("autocomplete"):
                raise ClientError(f"{name} has no autocomplete")
            body |= {"value": option.get("value", ""), "focused": True}
        else:
            body["value"] = _validate_value(resolver, definition, option.get("value"))
        sent.append(body)
    missing = [
        name for name, one in defined.items() if one.get("required") and name not in branches
    ]
    if missing and not typing:
        raise ClientError(f"{', '.join(missing)}: This option is required. Specify a value")
    return sent


def _validate_value(resolver: ResolvedData, option: Json, value: object) -> object:
    name, kind = option["name"], option["type"]
    if kind == STRING:
        if not isinstance(value, str):
            raise ClientError(f"{name} takes text")
        min_chars, max_chars = (
            option.get("min_length", 0),
            option.get("max_length", MAX_OPTION_CHARS),
        )
        if not max(min_chars, 1 if option.get("required") else 0) <= len(value) <= max_chars:
            raise ClientError(f"{name} takes {min_chars} to {max_chars} characters")
    elif kind in (INTEGER, NUMBER):
        wanted = (int,) if kind == INTEGER else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise ClientError(f"{name} takes a {'whole ' if kind == INTEGER else ''}number")
        low, high = option.get("min_value", -MAX_NUMBER), option.get("max_value", MAX_NUMBER)
        if not low <= value <= high:
            raise ClientError(f"{name} takes {low} to {high}")
    elif kind == BOOLEAN:
        if not isinstance(value, bool):
            raise ClientError(f"{name} takes true or false")
    elif kind in (USER, CHANNEL, ROLE, MENTIONABLE, ATTACHMENT):
        ident = parse_snowflake(value)
        if ident is None or not resolver.entity(kind, ident, option.get("channel_types")):
            raise ClientError(f"{name}: {value} does not exist")
        return str(ident)
    choices = [choice["value"] for choice in option.get("choices") or []]
    if choices and value not in choices:
        raise ClientError(f"{name} takes one of {', '.join(str(one) for one in choices)}")
    return value
