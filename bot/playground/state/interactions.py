"""Keep interactions and apply responses to them.

Discord's rules: one first response within 3 s, of a type that fits the interaction, then follow-ups
and edits by token for 15 min. ``client`` builds the data of an interaction.
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
from bot.playground.validation.errors import ErrorCollector, api_error, parse_snowflake
from bot.playground.validation.message_body import BodyKind, MessageBody, parse_message_body
from bot.playground.validation.modals import validate_modal

ALLOWED_CALLBACKS = {
    COMMAND: {REPLY, DEFER, MODAL},
    COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL_SUBMIT: {REPLY, DEFER},
}
# Bounds the memory of a server that runs for days; tokens that old have expired.
MAX_INTERACTIONS = 10_000
NO_RESPONSE_MESSAGE = "The application did not respond"


class InteractionRegistry:
    """The interactions of one guild, by id and by token."""

    def __init__(self, guild: GuildState, board: MessageBoard, commands: CommandRegistry) -> None:
        self._guild = guild
        self._board = board
        self._commands = commands
        self._by_id: dict[int, Interaction] = {}
        # Those that can still expire: without a response, or only deferred.
        self._pending: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def all(self) -> list[Interaction]:
        """Return all interactions, oldest first."""
        return list(self._by_id.values())

    def find(self, interaction_id: int) -> Interaction:
        """Return an interaction by id. Raises ApiError 10062."""
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
        """Create an interaction and emit INTERACTION_CREATE."""
        guild = self._guild
        interaction_id = guild.snowflakes.next_id()
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
        self.add(interaction)
        if len(self._by_id) > MAX_INTERACTIONS:
            oldest = next(iter(self._by_id.values()))
            del self._by_id[oldest.id], self._by_token[oldest.token]
            self._pending.pop(oldest.id, None)
        guild.emit(Event("INTERACTION_CREATE", {"interaction": interaction}, channel=channel))
        return interaction

    def add(self, interaction: Interaction) -> None:
        """Add an interaction to the registry; also one of an earlier server process."""
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction

    def fail(self, interaction: Interaction) -> None:
        """Mark an interaction as failed: its user sees that the application did not respond."""
        interaction.failed = True
        self._guild.emit(
            Event(
                "INTERACTION_FAILED",
                {"interaction_id": str(interaction.id), "message": NO_RESPONSE_MESSAGE},
                only_for=interaction.user.id,
            )
        )

    def expire_unanswered(self) -> None:
        """Mark every interaction as failed that got no response in time."""
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
        """Apply the first response; return the message that it created or changed, if any.

        Raises ApiError; after that the bot may respond again.
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
        if not isinstance(kind, int) or kind not in self._allowed_callbacks(interaction):
            form.at("type").add_error(
                "BASE_TYPE_CHOICES",
                f"Value must be one of {sorted(self._allowed_callbacks(interaction))}.",
            )
            raise form.error()
        data = form.at("data").check_object(body.get("data") or {})
        message = self._apply_response(interaction, kind, data, uploads, form.at("data"))
        interaction.callback = kind
        self._guild.emit(
            Event("INTERACTION_ACK", {"interaction": interaction}, only_for=interaction.user.id)
        )
        return message

    def _allowed_callbacks(self, interaction: Interaction) -> set[int]:
        fitting = ALLOWED_CALLBACKS[interaction.kind]
        if interaction.kind == MODAL_SUBMIT and interaction.message_id is not None:
            return fitting | {DEFER_UPDATE, UPDATE}
        return fitting

    def _apply_response(
        self,
        interaction: Interaction,
        kind: int,
        data: Json,
        uploads: dict[int, Upload],
        form: ErrorCollector,
    ) -> Message | None:
        guild = self._guild
        if kind == CHOICES:
            interaction.choices = self._parse_choices(interaction, data, form)
            return None
        if kind == MODAL:
            modal = validate_modal(form, data)
            form.raise_errors()
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
                data, uploads, BodyKind.EDIT, existing=self._board.existing(source), form=form
            )
            return self._board.edit(source, payload)
        channel = guild.channel(interaction.channel_id)
        if kind == DEFER:
            form.at("flags").check_integer(data.get("flags") or 0, minimum=0, maximum=(1 << 31) - 1)
            form.raise_errors()
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

    def _parse_choices(
        self, interaction: Interaction, data: Json, form: ErrorCollector
    ) -> list[Json]:
        focused = focused_option(interaction.data.get("options") or [])
        kind = int(focused["type"]) if focused else 3
        choices = validate_choices(form.at("choices"), data.get("choices"), kind)
        form.raise_errors()
        return choices

    # Follow-ups and edits, by token

    def by_token(self, application_id: int, token: str) -> Interaction:
        """Return the interaction of a valid token. Raises ApiError 50027, 10015."""
        interaction = self._by_token.get(token)
        if interaction is None or application_id != self._guild.application_id:
            raise api_error(50027)
        if self._guild.now() - interaction.created_at > self._guild.token_life:
            raise api_error(50027)
        if interaction.callback is None:
            raise api_error(10015)
        return interaction

    def response_message(self, interaction: Interaction, which: str) -> Message:
        """Return the message of an interaction by ``@original`` or id. Raises ApiError 10008."""
        if which == "@original":
            message_id = (
                interaction.message_id
                if interaction.callback in (DEFER_UPDATE, UPDATE)
                else interaction.original_id
            )
        else:
            message_id = parse_snowflake(which)
            mine = {interaction.original_id, interaction.message_id, *interaction.followup_ids}
            if message_id not in mine:
                raise api_error(10008)
        return self._guild.message(message_id or 0)

    def edit(self, message: Message, body: Json, uploads: dict[int, Upload]) -> Message:
        """Edit a message of the interaction, ephemeral or not. Raises ApiError."""
        self._guild.channel(message.channel_id)
        payload = parse_message_body(
            body, uploads, BodyKind.EDIT, existing=self._board.existing(message)
        )
        return self._board.edit(message, payload)

    def follow_up(
        self, interaction: Interaction, body: Json, uploads: dict[int, Upload]
    ) -> Message:
        """Post a follow-up; the first one after a defer edits the original (legacy behaviour)."""
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
    """Return the focused option, also inside subcommands."""
    for option in options:
        if option.get("focused"):
            return option
        found = focused_option(option.get("options") or [])
        if found is not None:
            return found
    return None
