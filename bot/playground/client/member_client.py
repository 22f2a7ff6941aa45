"""Implement the actions of a member's Discord client: commands, components, modals, messages.

The web page and the tests' driver both use it, so the same rules apply to both.
"""

from __future__ import annotations

from bot.playground.client.command_options import (
    ClientError,
    ResolvedData,
    command_denied_reason,
    validate_options,
)
from bot.playground.serializers import message_payload
from bot.playground.state import permissions
from bot.playground.state.commands import MESSAGE_MENU, USER_MENU, CommandRegistry
from bot.playground.state.files import create_attachment
from bot.playground.state.guild import GuildState
from bot.playground.state.interactions import InteractionRegistry, focused_option
from bot.playground.state.messages import MessageBoard
from bot.playground.state.models import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    DIRECT,
    MODAL_SUBMIT,
    Attachment,
    Channel,
    Interaction,
    Json,
    Message,
    Upload,
    User,
)
from bot.playground.validation.components import SELECTS, STRING_SELECT
from bot.playground.validation.errors import parse_snowflake
from bot.playground.validation.modals import modal_fields, validate_submission


class MemberClient:
    """Act for members of the guild. What Discord's client does not allow raises ClientError."""

    def __init__(
        self,
        guild: GuildState,
        board: MessageBoard,
        interactions: InteractionRegistry,
        commands: CommandRegistry,
    ) -> None:
        self._guild = guild
        self._board = board
        self._interactions = interactions
        self._commands = commands

    def can_see(self, user: User, message: Message) -> bool:
        """Return whether a user sees a message."""
        channel = self._guild.channels.get(message.channel_id)
        if channel is None or message.ephemeral_for not in (None, user.id):
            return False
        return self.can_see_channel(user, channel)

    def can_see_channel(self, user: User, channel: Channel) -> bool:
        """Return whether a user sees a channel."""
        return bool(self._guild.permissions(user, channel) & permissions.VIEW_CHANNEL)

    def visible_commands(self, user: User, channel: Channel | None = None) -> list[Json]:
        """Return the commands that a user can run in a channel, or in any channel of the guild."""
        places = (
            [channel]
            if channel
            else [
                one
                for one in self._guild.channels.values()
                if one.type != DIRECT and self.can_see_channel(user, one)
            ]
        )
        return [
            command
            for command in self._commands.all()
            if any(
                command_denied_reason(self._guild, command, user, place) is None for place in places
            )
        ]

    def command(self, name: str, kind: int, channel: Channel) -> Json:
        """Return a registered command by name; the guild's own has priority over a global one."""
        found = [
            command
            for command in self._commands.all()
            if command["name"] == name and command["type"] == kind
        ]
        if channel.type == DIRECT:
            found = [command for command in found if "guild_id" not in command]
        if not found:
            raise ClientError(f"There is no command {name}")
        return max(found, key=lambda command: "guild_id" in command)

    def say(self, user: User, channel: Channel, content: str) -> Message:
        """Post a member's plain message."""
        held = self._guild.permissions(user, channel)
        needed = "SEND_MESSAGES_IN_THREADS" if channel.is_thread else "SEND_MESSAGES"
        if not held & permissions.NAMES[needed]:
            raise ClientError("You do not have permission to send messages in this channel.")
        if not content.strip() or len(content) > 2000:
            raise ClientError("A message has 1 to 2000 characters.")
        return self._board.say(user, channel, content)

    def upload(self, user: User, upload: Upload) -> Attachment:
        """Store a file for an attachment option or a modal; its id is the value."""
        kept = create_attachment(self._guild, upload, user.id, description=None, ephemeral=True)
        self._guild.uploads[kept.id] = kept
        return kept

    def run_command(
        self,
        user: User,
        channel: Channel,
        command: Json,
        options: object,
        *,
        typing: bool = False,
    ) -> Interaction:
        """Run a slash command, or with ``typing`` request autocomplete choices."""
        self._require_command_access(user, channel, command)
        resolver = ResolvedData(self._guild)
        sent = validate_options(resolver, command, options or [], typing=typing)
        if typing and focused_option(sent) is None:
            raise ClientError("No option is focused")
        data = self._command_data(command, resolver)
        if sent:
            data["options"] = sent
        return self._interactions.open(AUTOCOMPLETE if typing else COMMAND, user, channel, data)

    def run_context_menu(
        self, user: User, channel: Channel, command: Json, target: int
    ) -> Interaction:
        """Run a context menu command on a message or user."""
        self._require_command_access(user, channel, command)
        resolver = ResolvedData(self._guild)
        if command["type"] == MESSAGE_MENU:
            message = self._visible_message(user, target)
            resolver.resolved["messages"] = {str(target): message_payload(self._guild, message)}
        elif command["type"] != USER_MENU or not resolver.user(target):
            raise ClientError("There is no such user")
        data = self._command_data(command, resolver) | {"target_id": str(target)}
        return self._interactions.open(COMMAND, user, channel, data)

    def click(self, user: User, message_id: int, custom_id: str, values: object) -> Interaction:
        """Click a button (``values`` None) or choose values of a select."""
        message = self._visible_message(user, message_id)
        channel = self._guild.channel(message.channel_id)
        if channel.thread is not None and channel.thread.archived:
            raise ClientError("This thread is archived")
        controls = [one for one in message.controls() if one.get("custom_id") == custom_id]
        if not controls:
            raise ClientError(f"The message has no component {custom_id}")
        control = controls[0]
        if control.get("disabled"):
            raise ClientError(f"{control.get('label') or custom_id} is disabled")
        data: Json = {
            "custom_id": custom_id,
            "component_type": control["type"],
            "id": control["id"],
        }
        if control["type"] in SELECTS:
            resolver = ResolvedData(self._guild)
            data["values"] = validate_selection(resolver, control, values)
            if resolver.resolved:
                data["resolved"] = resolver.resolved
        return self._interactions.open(COMPONENT, user, channel, data, message=message)

    def submit(
        self, user: User, opened_by: Interaction, custom_id: str, components: list[Json]
    ) -> Interaction:
        """Submit the modal that an interaction opened."""
        modal = opened_by.modal
        if modal is None or modal["custom_id"] != custom_id or opened_by.user is not user:
            raise ClientError("No such modal is open")
        try:
            problem = validate_submission(modal, components)
        except (KeyError, TypeError, AttributeError) as error:
            raise ClientError(f"The modal submission is invalid: {error}") from error
        if problem:
            raise ClientError(problem)
        resolver = ResolvedData(self._guild)
        submitted_fields = {
            one["custom_id"]: one for one in modal_fields({"components": components})
        }
        for field in modal_fields(modal):
            if field["type"] in (*SELECTS, 19) and field["type"] != STRING_SELECT:
                kind = {5: 6, 6: 8, 7: 9, 8: 7, 19: 11}[field["type"]]
                for value in submitted_fields[field["custom_id"]].get("values") or []:
                    if not resolver.entity(kind, parse_snowflake(value) or 0):
                        raise ClientError(f"{value} does not exist")
        data: Json = {"custom_id": custom_id, "components": components}
        if resolver.resolved:
            data["resolved"] = resolver.resolved
        message = self._guild.messages.get(opened_by.message_id or 0)
        channel = self._guild.channel(opened_by.channel_id)
        return self._interactions.open(
            MODAL_SUBMIT, user, channel, data, message=message, parent=opened_by
        )

    def _require_command_access(self, user: User, channel: Channel, command: Json) -> None:
        reason = command_denied_reason(self._guild, command, user, channel)
        if reason is not None:
            raise ClientError(reason)

    def _visible_message(self, user: User, message_id: int) -> Message:
        message = self._guild.messages.get(message_id)
        if message is None or not self.can_see(user, message):
            raise ClientError("There is no such message")
        return message

    def _command_data(self, command: Json, resolver: ResolvedData) -> Json:
        data: Json = {"id": command["id"], "name": command["name"], "type": command["type"]}
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        if resolver.resolved:
            data["resolved"] = resolver.resolved
        return data


def validate_selection(resolver: ResolvedData, select: Json, values: object) -> list[str]:
    """Return the chosen values of a select. Raises ClientError for values it does not have."""
    if not isinstance(values, list | tuple):
        raise ClientError("values must be a list")
    chosen = [str(value) for value in values]
    if not select["min_values"] <= len(chosen) <= select["max_values"] or len(set(chosen)) != len(
        chosen
    ):
        raise ClientError(f"Choose {select['min_values']} to {select['max_values']}")
    if select["type"] == STRING_SELECT:
        offered = {option["value"] for option in select["options"]}
        if not set(chosen) <= offered:
            raise ClientError(f"The select does not have {sorted(set(chosen) - offered)}")
        return chosen
    kind = {5: 6, 6: 8, 7: 9, 8: 7}[select["type"]]
    for value in chosen:
        if not resolver.entity(kind, parse_snowflake(value) or 0, select.get("channel_types")):
            raise ClientError(f"{value} does not exist")
    return chosen
