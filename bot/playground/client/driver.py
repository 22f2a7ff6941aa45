"""A driver for tests and scripts: a member who types commands, presses buttons and fills in forms.

``playground.as_member("Ada")`` gives an ``MemberDriver``. It goes through the same ``Client`` as the web
page and refuses what Discord's client would refuse (``ClientError``).
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

Place = str | int | Channel
Person = str | int | User | Member


class ResponseTimeout(Exception):
    """The application did not respond in time."""


class Invocation:
    """One interaction as the person who started it sees it."""

    def __init__(self, world: World, watch: ConditionWaiter, interaction: Interaction) -> None:
        self._world = world
        self._watch = watch
        self.interaction = interaction

    @property
    def id(self) -> int:
        """The interaction's id."""
        return self.interaction.id

    @property
    def token(self) -> str:
        """The interaction's token, as the bot got it."""
        return self.interaction.token

    @property
    def callback(self) -> int | None:
        """The kind of the first response (4 reply, 5 deferred, ...), None until it came."""
        return self.interaction.callback

    @property
    def failed(self) -> bool:
        """Whether the person has read that the application did not respond."""
        return self.interaction.failed

    @property
    def modal(self) -> Json | None:
        """The form that opened, as the bot sent it."""
        return self.interaction.modal

    @property
    def response(self) -> Message | None:
        """The answer as it stands now: what ``@original`` names; None if there is none (left)."""
        interaction = self.interaction
        updated = interaction.callback in (6, 7)
        message_id = interaction.message_id if updated else interaction.original_id
        return self._world.messages.get(message_id or 0)

    @property
    def followups(self) -> list[Message]:
        """The follow-ups that still exist, oldest first."""
        messages = self._world.messages
        return [messages[one] for one in self.interaction.followup_ids if one in messages]

    async def acked(self, *, within: float = 10.0) -> Invocation:
        """Wait for the first response; ``ResponseTimeout`` if the application missed its time."""
        await self._watch.until(lambda _: self.callback is not None or self.failed, within=within)
        if self.callback is None:
            raise ResponseTimeout(f"interaction {self.id} ({self.interaction.data})")
        return self

    async def answered(self, *, within: float = 10.0) -> Message:
        """Wait until there is an answer to read, past "is thinking"; return it."""
        await self.acked(within=within)

        def ready(_: World) -> Message | None:
            response = self.response
            return response if response is not None and not response.loading else None

        return await self._watch.until(ready, within=within)

    async def followed_up(self, count: int = 1, *, within: float = 10.0) -> list[Message]:
        """Wait until there are ``count`` follow-ups; return all of them."""
        await self._watch.until(lambda _: len(self.followups) >= count, within=within)
        return self.followups


class MemberDriver:
    """A member of the server, acting as a person with Discord's client would."""

    def __init__(self, world: World, watch: ConditionWaiter, user: User) -> None:
        self._world = world
        self._watch = watch
        self.user = user

    @property
    def id(self) -> int:
        """The member's id."""
        return self.user.id

    @property
    def mention(self) -> str:
        """How a text calls this member."""
        return f"<@{self.id}>"

    def _invocation(self, interaction: Interaction) -> Invocation:
        return Invocation(self._world, self._watch, interaction)

    def _wire(self, value: object) -> object:
        """Return an option's value as JSON carries it: ids for people, places and files."""
        match value:
            case Upload():
                return str(self._world.client.upload(self.user, value).id)
            case MemberDriver() | User() | Member() | Channel() | Role():
                return str(value.id)
        return value

    def messages(self, channel: Place) -> list[Message]:
        """Return what this member sees in a channel, oldest first."""
        client = self._world.client
        return [one for one in self._world.messages_in(channel) if client.sees(self.user, one)]

    async def say(self, channel: Place, content: str) -> Message:
        """Post a plain message."""
        return self._world.client.say(self.user, self._world.channel(channel), content)

    async def slash(self, channel: Place, command: str, **options: object) -> Invocation:
        """Use a slash command; groups and subcommands are words, ``"quota-admin set"``.

        Options go by name; None leaves one out. Members, roles, channels and ``Upload`` may be
        given as themselves.
        """
        place = self._world.channel(channel)
        name, *words = command.split()
        registered = self._world.client.command(name, CHAT_INPUT, place)
        values = {key: self._wire(value) for key, value in options.items()}
        nested = build_options(registered, words, values)
        return self._invocation(
            self._world.client.run_command(self.user, place, registered, nested)
        )

    async def autocomplete(
        self,
        channel: Place,
        command: str,
        focused: str,
        typed: object = "",
        *,
        within: float = 10.0,
        **options: object,
    ) -> list[Json]:
        """Type into an option and return the suggestions, ``[{"name", "value"}]``."""
        place = self._world.channel(channel)
        name, *words = command.split()
        registered = self._world.client.command(name, CHAT_INPUT, place)
        values = {key: self._wire(value) for key, value in options.items()} | {focused: typed}
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
        """Press a button, found by its custom id or by its label."""
        found = self._control(message, control, buttons=True)
        return self._invocation(
            self._world.client.click(self.user, _id(message), found["custom_id"], None)
        )

    async def select(
        self, message: Message | int, custom_id: str, values: Iterable[object]
    ) -> Invocation:
        """Choose in a select, found by its custom id or placeholder."""
        found = self._control(message, custom_id, buttons=False)
        chosen = [self._wire(value) for value in values]
        return self._invocation(
            self._world.client.click(self.user, _id(message), found["custom_id"], chosen)
        )

    def _control(self, message: Message | int, wanted: str, *, buttons: bool) -> Json:
        held = self._world.messages.get(_id(message))
        if held is None:
            raise ClientError("There is no such message")
        kinds = (2,) if buttons else SELECTS
        controls = [one for one in held.controls() if one["type"] in kinds]
        for key in ("custom_id", "label", "placeholder"):
            for one in controls:
                if one.get(key) == wanted:
                    if "custom_id" not in one:
                        raise ClientError(f"{wanted} is a link to {one.get('url')}")
                    return one
        offered = [one.get("label") or one.get("custom_id") for one in controls]
        raise ClientError(f"The message has no {wanted}; it offers {offered}")

    async def submit_modal(self, opened_by: Invocation, values: Mapping[str, object]) -> Invocation:
        """Hand in the form an invocation opened; fields left out keep what they opened with."""
        modal = opened_by.modal
        if modal is None:
            raise ClientError("No form is open")
        wired: Json = {}
        for key, value in values.items():
            many = isinstance(value, list | tuple)
            wired[key] = (
                [self._wire(one) for one in value]
                if isinstance(value, list | tuple)
                else self._wire(value)
            )
            if not many and isinstance(value, Upload):
                wired[key] = [wired[key]]
        components = submitted_components(modal, wired)
        return self._invocation(
            self._world.client.submit(
                self.user, opened_by.interaction, modal["custom_id"], components
            )
        )

    async def message_command(self, name: str, message: Message | int) -> Invocation:
        """Use a command from a message's context menu."""
        held = self._world.message(_id(message))
        place = self._world.channel(held.channel_id)
        registered = self._world.client.command(name, MESSAGE_MENU, place)
        return self._invocation(
            self._world.client.run_context_menu(self.user, place, registered, held.id)
        )

    async def user_command(self, name: str, channel: Place, target: Person) -> Invocation:
        """Use a command from a member's context menu."""
        place = self._world.channel(channel)
        registered = self._world.client.command(name, USER_MENU, place)
        user = self._world.user(target)
        return self._invocation(
            self._world.client.run_context_menu(self.user, place, registered, user.id)
        )


def _id(message: Message | int) -> int:
    return message if isinstance(message, int) else message.id
