"""Interactions: opened by a person, answered once within 3 s, followed up for 15 min by token.

It keeps the rules of the answer: which kinds fit, that the second is refused, when the token dies.
How an interaction's data comes about is ``options.py``'s business; the network has no part here.
"""

from __future__ import annotations

import base64

from bot.playground.state.commands import CommandRegistry, validate_choices
from bot.playground.state.guild import Event, GuildState
from bot.playground.state.messages import MessageBoard, message_type
from bot.playground.state.models import (
    AUTOCOMPLETE,
    CHOICES,
    COMMAND,
    COMPONENT,
    DEFER,
    DEFER_UPDATE,
    EPHEMERAL,
    LOADING,
    MODAL,
    MODAL_SUBMIT,
    REPLY,
    UPDATE,
    Channel,
    Interaction,
    Json,
    Message,
    Upload,
    User,
)
from bot.playground.validation.errors import ErrorCollector, api_error, read_snowflake
from bot.playground.validation.message_body import BodyKind, MessageBody, parse_message_body
from bot.playground.validation.modals import validate_modal

FITTING = {
    COMMAND: {REPLY, DEFER, MODAL},
    COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL_SUBMIT: {REPLY, DEFER},
}
# Long past their tokens' lives by then; a server that runs for days must not keep them all.
MAX_INTERACTIONS = 10_000
NO_RESPONSE_MESSAGE = "The application did not respond"


class InteractionRegistry:
    """The interactions of one realm, by id and by token."""

    def __init__(self, guild: GuildState, board: MessageBoard, commands: CommandRegistry) -> None:
        self._guild = guild
        self._board = board
        self._commands = commands
        self._by_id: dict[int, Interaction] = {}
        # Those the sweep still has to look at: unanswered, or answered by "is thinking" only.
        self._pending: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def all(self) -> list[Interaction]:
        """Return every interaction, oldest first."""
        return list(self._by_id.values())

    def find(self, interaction_id: int) -> Interaction:
        """Return an interaction by id; 10062 if there is none."""
        found = self._by_id.get(interaction_id)
        if found is None:
            raise api_error(10062)
        return found

    def open(
        self,
        kind: int,
        user: User,
        channel: Channel,
        data: Json,
        *,
        message: Message | None = None,
        parent: Interaction | None = None,
    ) -> Interaction:
        """Open an interaction and hand it to the gateway (event INTERACTION_CREATE)."""
        guild = self._guild
        interaction_id = guild.mint.next_id()
        secret = f"interaction:{interaction_id}:".encode() + guild.rng.randbytes(48)
        interaction = Interaction(
            interaction_id,
            base64.urlsafe_b64encode(secret).decode().rstrip("="),
            kind,
            user,
            channel.id,
            guild.now(),
            data,
            guild_id=channel.guild_id,
            message_id=message.id if message else None,
            parent=parent,
        )
        self._pending[interaction.id] = interaction
        self.adopt(interaction)
        if len(self._by_id) > MAX_INTERACTIONS:
            oldest = next(iter(self._by_id.values()))
            del self._by_id[oldest.id], self._by_token[oldest.token]
            self._pending.pop(oldest.id, None)
        guild.emit(Event("INTERACTION_CREATE", {"interaction": interaction}, channel=channel))
        return interaction

    def adopt(self, interaction: Interaction) -> None:
        """Know an interaction, also one of an earlier server, by its id and its token."""
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction

    def fail(self, interaction: Interaction) -> None:
        """Give an interaction up: the person reads that the application did not respond."""
        interaction.failed = True
        self._guild.emit(
            Event(
                "INTERACTION_FAILED",
                {"interaction_id": str(interaction.id), "message": NO_RESPONSE_MESSAGE},
                only_for=interaction.user.id,
            )
        )

    def sweep(self) -> None:
        """Give up everything that the clock says was not answered in time."""
        guild = self._guild
        for interaction in tuple(self._pending.values()):
            age = guild.now() - interaction.created_at
            original = guild.messages.get(interaction.original_id or 0)
            thinking = original is not None and original.loading
            if interaction.callback is not None and not thinking:
                del self._pending[interaction.id]
            elif age > (guild.token_life if thinking else guild.ack_life):
                del self._pending[interaction.id]
                self.fail(interaction)

    # The first response

    def respond(
        self,
        interaction_id: int,
        token: str,
        body: Json,
        uploads: dict[int, Upload],
    ) -> Message | None:
        """Take the first response; the message it made or changed, if it did.

        A refused body leaves the interaction open, so that the bot may still say what went wrong.
        """
        interaction = self.find(interaction_id)
        if interaction.token != token:
            raise api_error(10062)
        if interaction.callback is not None:
            raise api_error(40060)
        if self._guild.now() - interaction.created_at > self._guild.ack_life:
            raise api_error(10062)
        kind = body.get("type")
        form = ErrorCollector()
        if not isinstance(kind, int) or kind not in self._fitting(interaction):
            form.at("type").add_error(
                "BASE_TYPE_CHOICES", f"Value must be one of {sorted(self._fitting(interaction))}."
            )
            raise form.error()
        data = form.at("data").record(body.get("data") or {})
        message = self._take(interaction, kind, data, uploads, form.at("data"))
        interaction.callback = kind
        self._guild.emit(
            Event("INTERACTION_ACK", {"interaction": interaction}, only_for=interaction.user.id)
        )
        return message

    def _fitting(self, interaction: Interaction) -> set[int]:
        fitting = FITTING[interaction.kind]
        if interaction.kind == MODAL_SUBMIT and interaction.message_id is not None:
            return fitting | {DEFER_UPDATE, UPDATE}
        return fitting

    def _take(
        self,
        interaction: Interaction,
        kind: int,
        data: Json,
        uploads: dict[int, Upload],
        form: ErrorCollector,
    ) -> Message | None:
        guild = self._guild
        if kind == CHOICES:
            interaction.choices = self._read_choices(interaction, data, form)
            return None
        if kind == MODAL:
            modal = validate_modal(form, data)
            form.settle()
            interaction.modal = modal
            guild.emit(
                Event(
                    "MODAL",
                    {"interaction_id": str(interaction.id), "modal": modal},
                    only_for=interaction.user.id,
                )
            )
            return None
        if kind == DEFER_UPDATE:
            return None
        if kind == UPDATE:
            source = guild.message(interaction.message_id or 0)
            payload = parse_message_body(
                data, uploads, BodyKind.EDIT, position=self._board.existing(source), form=form
            )
            return self._board.edit(source, payload)
        channel = guild.channel(interaction.channel_id)
        if kind == DEFER:
            form.at("flags").whole(data.get("flags") or 0, least=0, most=(1 << 31) - 1)
            form.settle()
            flags = LOADING | ((data.get("flags") or 0) & EPHEMERAL)
            payload = MessageBody(present_keys=frozenset())
        else:
            payload, flags = parse_message_body(data, uploads, BodyKind.REPLY, form=form), 0
        interaction.ephemeral = bool((payload.flags | flags) & EPHEMERAL)
        message = self._board.post(
            channel,
            guild.bot,
            payload,
            interaction=interaction,
            flags=flags,
            kind=message_type(interaction),
        )
        interaction.original_id = message.id
        return message

    def _read_choices(
        self, interaction: Interaction, data: Json, form: ErrorCollector
    ) -> list[Json]:
        focused = focused_option(interaction.data.get("options") or [])
        kind = int(focused["type"]) if focused else 3
        choices = validate_choices(form.at("choices"), data.get("choices"), kind)
        form.settle()
        return choices

    # By token, afterwards

    def by_token(self, application_id: int, token: str) -> Interaction:
        """Return the interaction of a living token: else 50027, or 10015 if not yet answered."""
        interaction = self._by_token.get(token)
        if interaction is None or application_id != self._guild.application_id:
            raise api_error(50027)
        if self._guild.now() - interaction.created_at > self._guild.token_life:
            raise api_error(50027)
        if interaction.callback is None:
            raise api_error(10015)
        return interaction

    def answer(self, interaction: Interaction, which: str) -> Message:
        """Return the message ``@original`` or an id names under an interaction; else 10008."""
        if which == "@original":
            message_id = (
                interaction.message_id
                if interaction.callback in (DEFER_UPDATE, UPDATE)
                else interaction.original_id
            )
        else:
            message_id = read_snowflake(which)
            mine = {interaction.original_id, interaction.message_id, *interaction.followup_ids}
            if message_id not in mine:
                raise api_error(10008)
        return self._guild.message(message_id or 0)

    def edit(self, message: Message, body: Json, uploads: dict[int, Upload]) -> Message:
        """Edit one of the interaction's messages; ephemeral ones, too."""
        self._guild.channel(message.channel_id)
        payload = parse_message_body(
            body, uploads, BodyKind.EDIT, position=self._board.existing(message)
        )
        return self._board.edit(message, payload)

    def follow_up(
        self, interaction: Interaction, body: Json, uploads: dict[int, Upload]
    ) -> Message:
        """Post a follow-up; right after a deferral it is the answer itself (old behaviour)."""
        channel = self._guild.channel(interaction.channel_id)
        original = self._guild.messages.get(interaction.original_id or 0)
        payload = parse_message_body(body, uploads, BodyKind.REPLY)
        if original is not None and original.loading:
            payload.flags &= ~EPHEMERAL
            return self._board.edit(original, payload)
        message = self._board.post(channel, self._guild.bot, payload, interaction=interaction)
        interaction.followup_ids.append(message.id)
        return message


def focused_option(options: list[Json]) -> Json | None:
    """Return the option a person is typing in, subcommands looked into."""
    for option in options:
        if option.get("focused"):
            return option
        found = focused_option(option.get("options") or [])
        if found is not None:
            return found
    return None
