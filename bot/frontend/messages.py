"""Message content as values, Discord's limits, and sending, editing and deleting messages.

MessageContent can be compared, so an unchanged message is not edited. Errors of Discord and of the
network become DeliveryErrors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import aiohttp
import discord

from bot.domain.errors import BotError, DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.domain.text import utf16_length
from bot.services.delivery import InteractionRef, StatusMessage

log = logging.getLogger(__name__)

MAX_TITLE: Final = 256
MAX_DESCRIPTION: Final = 4096
MAX_FIELDS: Final = 25
MAX_FIELD_NAME: Final = 256
MAX_FIELD_VALUE: Final = 1024
MAX_FOOTER: Final = 2048
MAX_EMBED: Final = 6000
MAX_CONTENT: Final = 2000
MAX_ACTION_ROWS: Final = 5
MAX_BUTTONS_PER_ROW: Final = 5
MAX_OPTIONS: Final = 25
MAX_LABEL: Final = 80
MAX_OPTION_TEXT: Final = 100
MAX_CUSTOM_ID: Final = 100
MAX_URL: Final = 512

Style: TypeAlias = Literal["primary", "secondary", "success", "danger"]


@dataclass(frozen=True, slots=True)
class ButtonSpec:
    """A button: with a ``custom_id``, or a link to ``url``."""

    label: str
    custom_id: str = ""
    url: str = ""
    style: Style = "secondary"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One option of a select; ``value`` is sent to the bot."""

    label: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SelectSpec:
    """A select for one option."""

    custom_id: str
    placeholder: str
    options: tuple[SelectOption, ...]


Control: TypeAlias = ButtonSpec | SelectSpec
ActionRow: TypeAlias = tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class EmbedField:
    """A field of an embed."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One embed with components. ``image`` is the name of an attached file."""

    title: str
    description: str
    colour: int
    fields: tuple[EmbedField, ...] = ()
    footer: str = ""
    image: str = ""
    controls: tuple[ActionRow, ...] = ()

    @property
    def length(self) -> int:
        """Return the UTF-16 units that count towards MAX_EMBED."""
        texts = [self.title, self.description, self.footer]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        return sum(utf16_length(text) for text in texts)


T = TypeVar("T")

NO_MENTIONS: Final = discord.AllowedMentions.none()

# An edit with the token names the answer like this, as Discord's documents do.
_ORIGINAL: Final = cast("int", "@original")
_EXPIRED_CODES: Final = {50027, 10015, 10062}
_TOO_LARGE_CODES: Final = {40005, 50045}
# Refusals that pass: slow mode, write limits, too many direct messages opened, Cloudflare.
_BUSY_CODES: Final = {20016, 20022, 20028, 20029, 40003, 40062, 40333, 130000}
_THREAD_ARCHIVED: Final = 50083
_MAX_ERROR_TEXT: Final = 300


class MessageNotFound(DeliveryError):
    """The message or its channel does not exist, or is not visible."""


class TooLarge(DeliveryError):
    """The files are too large for this channel; smaller ones may be accepted."""


class NotPermitted(MessageNotFound):
    """The permission to write is missing; it may be granted later."""


class ThreadArchived(NotPermitted):
    """The thread is archived; messages cannot be edited until it is open."""


class InteractionExpired(DeliveryError):
    """The interaction token is no longer valid; the bot token may be."""


class DeliveryUnconfirmed(DeliveryUnavailable):
    """No response, or a server error: the call may have succeeded."""


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file to attach; ``alt`` is its description for screen readers."""

    path: Path
    name: str
    alt: str = ""


@contextmanager
def map_discord_errors() -> Iterator[None]:
    """Raise errors of Discord and of the network as DeliveryErrors."""
    try:
        yield
    except BotError:
        raise
    except discord.HTTPException as error:
        raise _to_delivery_error(error) from error
    except discord.RateLimited as error:
        raise DeliveryUnconfirmed("Discord asks to wait", error.retry_after) from error
    except Exception as error:
        # A cut, a timeout, a session being closed, an answer that is no JSON: only an answer that
        # Discord itself has given is a refusal.
        if not isinstance(error, aiohttp.ClientError | discord.DiscordException | OSError):
            log.warning("an answer of Discord cannot be read", exc_info=error)
        raise DeliveryUnconfirmed(f"{type(error).__name__}: {error}") from error


def _to_delivery_error(error: discord.HTTPException) -> DeliveryError:
    """Return the DeliveryError for an error response of Discord."""
    text = f"Discord says {error.code or error.status}: {error.text[:_MAX_ERROR_TEXT]}"
    by_discord = error.code != 0 or _is_json(error.response)
    if not 400 <= error.status < 500 or error.status in (408, 425, 429):
        return DeliveryUnconfirmed(text, _retry_after(error.response))
    if error.code in _BUSY_CODES:
        return DeliveryUnconfirmed(text, _retry_after(error.response))
    if error.code in _EXPIRED_CODES:
        return InteractionExpired(text)
    if error.status == 413 or error.code in _TOO_LARGE_CODES:
        return TooLarge(text)
    if not by_discord:
        return DeliveryUnconfirmed(text)  # some machine in between
    if error.status == 401:
        by_token = "/webhooks/" in str(getattr(error.response, "url", ""))
        # Otherwise the bot token was changed: only the operator can fix that.
        return InteractionExpired(text) if by_token else DeliveryUnconfirmed(text)
    if error.code == _THREAD_ARCHIVED:
        return ThreadArchived(text)
    if error.status == 403:
        return NotPermitted(text)
    return MessageNotFound(text) if error.status == 404 else DeliveryError(text)


def _is_json(response: Any) -> bool:
    return bool(response.headers.get("Content-Type") == "application/json")


def _retry_after(response: Any) -> float:
    """Return the Retry-After seconds of a response, 0 if there are none."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


def to_embed(content: MessageContent) -> discord.Embed:
    """Return the embed; its image refers to an attached file."""
    embed = discord.Embed(
        title=content.title, description=content.description, colour=content.colour
    )
    for field in content.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if content.footer:
        embed.set_footer(text=content.footer)
    if content.image:
        embed.set_image(url=f"attachment://{content.image}")
    return embed


def to_view(controls: Sequence[ActionRow]) -> discord.ui.View | None:
    """Return the components as a stopped view, which the library does not keep; None if empty."""
    if not controls:
        return None
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(controls):
        for control in row:
            view.add_item(_build_item(control, number))
    view.stop()
    return view


def _build_item(control: ButtonSpec | SelectSpec, row: int) -> discord.ui.Item[Any]:
    if isinstance(control, SelectSpec):
        options = [
            discord.SelectOption(
                label=option.label, value=option.value, description=option.description or None
            )
            for option in control.options
        ]
        return discord.ui.Select(
            custom_id=control.custom_id,
            placeholder=control.placeholder,
            options=options,
            row=row,
        )
    if control.url:
        return discord.ui.Button(label=control.label, url=control.url, row=row)
    style = discord.ButtonStyle[control.style]
    return discord.ui.Button(label=control.label, custom_id=control.custom_id, style=style, row=row)


async def open_files(uploads: Sequence[FileUpload]) -> list[discord.File]:
    """Open the files in a thread.

    Raises DeliveryError if one is missing, DeliveryUnavailable if it cannot be read now.
    """

    def open_all() -> list[discord.File]:
        return [
            discord.File(upload.path, filename=upload.name, description=upload.alt or None)
            for upload in uploads
        ]

    try:
        return await asyncio.to_thread(open_all)
    except FileNotFoundError as error:
        raise DeliveryError(f"a file is missing: {error}") from error
    except OSError as error:
        raise DeliveryUnavailable(f"a file cannot be read: {error}") from error


async def edit_status_message(
    client: discord.Client,
    post: StatusMessage,
    embed: MessageContent,
    at: datetime,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> StatusMessage:
    """Replace embed and components of a message; its text stays.

    ``uploads`` replace all attachments; None keeps them. Uses the interaction token while it is
    valid, then the bot token. Opens an archived thread. Returns ``post``, without the interaction
    if its token has expired. Raises MessageNotFound, DeliveryUnavailable, DeliveryError.
    """

    async def change() -> StatusMessage:
        if post.interaction is not None and post.is_token_valid(at):
            try:
                await edit_response(client, post.interaction, embed, uploads=uploads)
            except InteractionExpired:
                pass
            else:
                return post
        await edit_message(client, post.message, embed, uploads=uploads)
        return replace(post, interaction=None)

    return await with_open_thread(client, post.message.channel_id, change)


async def with_open_thread(
    client: discord.Client, channel_id: int, act: Callable[[], Awaitable[T]]
) -> T:
    """Run ``act``; if the channel is an archived thread, open it and run ``act`` again.

    Raises what ``act`` raises, and NotPermitted if the thread is locked.
    """
    try:
        return await act()
    except ThreadArchived:
        with map_discord_errors():
            await client.http.edit_channel(channel_id, archived=False)
        return await act()


async def edit_response(
    client: discord.Client,
    interaction: InteractionRef,
    embed: MessageContent,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> MessageRef:
    """Edit the first response to an interaction with its token."""
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    change = await _edit_fields(embed, uploads)
    with map_discord_errors():
        message = await webhook.edit_message(_ORIGINAL, **change)
    return MessageRef(message.channel.id, message.id)


async def fetch_response(client: discord.Client, interaction: InteractionRef) -> discord.Message:
    """Return the first response to an interaction, with its token.

    Raises MessageNotFound, InteractionExpired.
    """
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    with map_discord_errors():
        return await webhook.fetch_message(_ORIGINAL)


async def edit_message(
    client: discord.Client,
    message: MessageRef,
    embed: MessageContent,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> None:
    """Edit a message of the bot."""
    change = await _edit_fields(embed, uploads)
    with map_discord_errors():
        await _partial_message(client, message).edit(**change)


async def _edit_fields(
    embed: MessageContent, uploads: Sequence[FileUpload] | None
) -> dict[str, Any]:
    change: dict[str, Any] = {
        "embeds": [to_embed(embed)],
        "view": to_view(embed.controls),
        "allowed_mentions": NO_MENTIONS,
    }
    if uploads is not None:
        change["attachments"] = await open_files(uploads)
    return change


async def send(
    channel: discord.abc.Messageable,
    embed: MessageContent | None,
    *,
    content: str = "",
    uploads: Sequence[FileUpload] = (),
    nonce: str | None = None,
    mention_user_id: int | None = None,
) -> discord.Message:
    """Post a message; the same ``nonce`` within minutes posts nothing new.

    Only ``mention_user_id`` is mentioned. Raises MessageNotFound, DeliveryError.
    """
    users = [discord.Object(mention_user_id)] if mention_user_id else False
    extra: dict[str, Any] = {}
    if embed is not None:
        extra["embed"] = to_embed(embed)
        view = to_view(embed.controls)
        if view is not None:
            extra["view"] = view
    if nonce is not None:
        extra["nonce"] = nonce
    files = await open_files(uploads)
    with map_discord_errors():
        return await channel.send(
            content or None,
            files=files,
            allowed_mentions=discord.AllowedMentions(
                users=users, roles=False, everyone=False, replied_user=False
            ),
            **extra,
        )


async def delete(client: discord.Client, message: MessageRef) -> None:
    """Delete a message of the bot. Raises MessageNotFound, DeliveryError."""
    with map_discord_errors():
        await _partial_message(client, message).delete()


async def fetch(client: discord.Client, message: MessageRef) -> discord.Message:
    """Return the message as it is now. Raises MessageNotFound, DeliveryError."""
    with map_discord_errors():
        return await _partial_message(client, message).fetch()


def _partial_message(client: discord.Client, message: MessageRef) -> discord.PartialMessage:
    channel = client.get_partial_messageable(message.channel_id)
    return channel.get_partial_message(message.message_id)
