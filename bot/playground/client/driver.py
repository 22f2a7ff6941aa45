"""Act as a member in tests and scripts: run commands, click buttons, submit modals.

``playground.as_member("Ada")`` returns a ``MemberDriver``. Like the web page it uses
``MemberClient``, so what Discord's client does not allow raises ``ClientError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bot.playground.client.command_options import ClientError, build_options
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.state.commands import CHAT_INPUT, MESSAGE_MENU, USER_MENU
from bot.playground.state.models import (
    Channel,
    Interaction,
    Json,
    Member,
    Message,
    Role,
    Upload,
    User,
)
from bot.playground.state.world import World
from bot.playground.validation.components import SELECTS
from bot.playground.validation.modals import submitted_components

ChannelRef = str | int | Channel
UserRef = str | int | User | Member


class ResponseTimeout(Exception):
    """The application sent no response in time."""


class Invocation:
    """An interaction as its user sees it."""

    def __init__(self, world: World, waiter: ConditionWaiter, interaction: Interaction) -> None:
        self._world = world
        self._waiter = waiter
        self.interaction = interaction

    @property
    def id(self) -> int:
        """Return the interaction's id."""
        return self.interaction.id

    @property
    def token(self) -> str:
        """Return the interaction's token."""
        return self.interaction.token

    @property
    def callback(self) -> int | None:
        """Return the type of the first response (4 message, 5 deferred, ...), None before it."""
        return self.interaction.callback

    @property
    def failed(self) -> bool:
        """Return whether the interaction failed because the application did not respond."""
        return self.interaction.failed

    @property
    def modal(self) -> Json | None:
        """Return the modal that the bot opened, or None."""
        return self.interaction.modal

    @property
    def response(self) -> Message | None:
        """Return the ``@original`` message in its current state, None if there is none."""
        interaction = self.interaction
        updated = interaction.callback in (6, 7)
        message_id = interaction.message_id if updated else interaction.original_id
        return self._world.messages.get(message_id or 0)

    @property
    def followups(self) -> list[Message]:
        """Return the follow-ups that still exist, oldest first."""
        messages = self._world.messages
        return [messages[one] for one in self.interaction.followup_ids if one in messages]

    async def acked(self, *, within: float = 10.0) -> Invocation:
        """Wait for the first response. Raises ResponseTimeout, TimeoutError."""
        await self._waiter.until(lambda _: self.callback is not None or self.failed, within=within)
        if self.callback is None:
            raise ResponseTimeout(f"interaction {self.id} ({self.interaction.data})")
        return self

    async def answered(self, *, within: float = 10.0) -> Message:
        """Wait for the response message, after a defer for its edit; return it."""
        await self.acked(within=within)

        def ready(_: World) -> Message | None:
            response = self.response
            return response if response is not None and not response.loading else None

        return await self._waiter.until(ready, within=within)

    async def followed_up(self, count: int = 1, *, within: float = 10.0) -> list[Message]:
        """Wait for ``count`` follow-ups; return all of them."""
        await self._waiter.until(lambda _: len(self.followups) >= count, within=within)
        return self.followups


class MemberDriver:
    """Act as a member with Discord's client."""

    def __init__(self, world: World, waiter: ConditionWaiter, user: User) -> None:
        self._world = world
        self._waiter = waiter
        self.user = user

    @property
    def id(self) -> int:
        """Return the member's id."""
        return self.user.id

    @property
    def mention(self) -> str:
        """Return the mention of the member."""
        return f"<@{self.id}>"

    def _invocation(self, interaction: Interaction) -> Invocation:
        return Invocation(self._world, self._waiter, interaction)

    def _to_option_value(self, value: object) -> object:
        """Return an option's value as JSON: the id of a member, role, channel or upload."""
        match value:
            case Upload():
                return str(self._world.client.upload(self.user, value).id)
            case MemberDriver() | User() | Member() | Channel() | Role():
                return str(value.id)
        return value

    def messages(self, channel: ChannelRef) -> list[Message]:
        """Return the messages that the member sees in a channel, oldest first."""
        client = self._world.client
        return [one for one in self._world.messages_in(channel) if client.can_see(self.user, one)]

    async def say(self, channel: ChannelRef, content: str) -> Message:
        """Post a plain message."""
        return self._world.client.say(self.user, self._world.channel(channel), content)

    async def slash(self, channel: ChannelRef, command: str, /, **options: object) -> Invocation:
        """Run a slash command; groups and subcommands are words, ``"quota-admin set"``.

        Options are given by name; None leaves one out. Members, roles, channels and ``Upload``
        objects are converted to ids. Raises ClientError.
        """
        place = self._world.channel(channel)
        name, *words = command.split()
        registered = self._world.client.command(name, CHAT_INPUT, place)
        values = {key: self._to_option_value(value) for key, value in options.items()}
        nested = build_options(registered, words, values)
        return self._invocation(
            self._world.client.run_command(self.user, place, registered, nested)
        )

    async def autocomplete(
        self,
        channel: ChannelRef,
        command: str,
        focused: str,
        typed: object = "",
        /,
        *,
        within: float = 10.0,
        **options: object,
    ) -> list[Json]:
        """Type into an option and return the autocomplete choices, ``[{"name", "value"}]``."""
        place = self._world.channel(channel)
        name, *words = command.split()
        registered = self._world.client.command(name, CHAT_INPUT, place)
        values = {key: self._to_option_value(value) for key, value in options.items()} | {
            focused: typed
        }
        nested = build_options(registered, words, values)
        innermost = nested
        for _ in words:
            innermost = innermost[0]["options"]
        for option in innermost:
            if option["name"] == focused:
                option["focused"] = True
        interaction = self._world.client.run_command(
            self.user, place, registered, nested, typing=True
        )
        await self._invocation(interaction).acked(within=within)
        return interaction.choices or []

    async def press(self, message: Message | int, control: str) -> Invocation:
        """Click a button, by custom id or label. Raises ClientError."""
        found = self._find_component(message, control, buttons=True)
        return self._invocation(
            self._world.client.click(self.user, _message_id(message), found["custom_id"], None)
        )

    async def select(
        self, message: Message | int, custom_id: str, values: Iterable[object]
    ) -> Invocation:
        """Choose values of a select, by custom id or placeholder. Raises ClientError."""
        found = self._find_component(message, custom_id, buttons=False)
        chosen = [self._to_option_value(value) for value in values]
        return self._invocation(
            self._world.client.click(self.user, _message_id(message), found["custom_id"], chosen)
        )

    def _find_component(self, message: Message | int, wanted: str, *, buttons: bool) -> Json:
        found_message = self._world.messages.get(_message_id(message))
        if found_message is None:
            raise ClientError("There is no such message")
        kinds = (2,) if buttons else SELECTS
        controls = [one for one in found_message.controls() if one["type"] in kinds]
        for key in ("custom_id", "label", "placeholder"):
            for one in controls:
                if one.get(key) == wanted:
                    if "custom_id" not in one:
                        raise ClientError(f"{wanted} is a link to {one.get('url')}")
                    return one
        offered = [one.get("label") or one.get("custom_id") for one in controls]
        raise ClientError(f"The message has no {wanted}; it offers {offered}")

    async def submit_modal(self, opened_by: Invocation, values: Mapping[str, object]) -> Invocation:
        """Submit the modal of an invocation; other fields keep their initial values."""
        modal = opened_by.modal
        if modal is None:
            raise ClientError("No modal is open")
        submitted: Json = {}
        for key, value in values.items():
            many = isinstance(value, list | tuple)
            submitted[key] = (
                [self._to_option_value(one) for one in value]
                if isinstance(value, list | tuple)
                else self._to_option_value(value)
            )
            if not many and isinstance(value, Upload):
                submitted[key] = [submitted[key]]
        components = submitted_components(modal, submitted)
        return self._invocation(
            self._world.client.submit(
                self.user, opened_by.interaction, modal["custom_id"], components
            )
        )

    async def message_command(self, name: str, message: Message | int) -> Invocation:
        """Run a command of a message's context menu. Raises ClientError."""
        found_message = self._world.message(_message_id(message))
        place = self._world.channel(found_message.channel_id)
        registered = self._world.client.command(name, MESSAGE_MENU, place)
        return self._invocation(
            self._world.client.run_context_menu(self.user, place, registered, found_message.id)
        )

    async def user_command(self, name: str, channel: ChannelRef, target: UserRef) -> Invocation:
        """Run a command of a member's context menu. Raises ClientError."""
        place = self._world.channel(channel)
        registered = self._world.client.command(name, USER_MENU, place)
        user = self._world.user(target)
        return self._invocation(
            self._world.client.run_context_menu(self.user, place, registered, user.id)
        )


def _message_id(message: Message | int) -> int:
    return message if isinstance(message, int) else message.id
