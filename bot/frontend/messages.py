"""A message as a value: what it says, shows and offers. Knows Discord's limits, and no job.

Cards are compared, so that a message that would not change is not edited. ``posting`` turns them
into what discord.py sends.
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
DESCRIPTION: Final = 4096
FIELDS: Final = 25
FIELD_NAME: Final = 256
FIELD_VALUE: Final = 1024
FOOTER: Final = 2048
EMBED: Final = 6000
CONTENT: Final = 2000
CONTROL_ROWS: Final = 5
BUTTONS_IN_ROW: Final = 5
OPTIONS: Final = 25
LABEL: Final = 80
OPTION_TEXT: Final = 100
CUSTOM_ID: Final = 100
URL: Final = 512

Style: TypeAlias = Literal["primary", "secondary", "success", "danger"]


@dataclass(frozen=True, slots=True)
class ButtonSpec:
    """Something to press: it either tells the bot (``custom_id``) or opens ``url``."""

    label: str
    custom_id: str = ""
    url: str = ""
    style: Style = "secondary"


@dataclass(frozen=True, slots=True)
class SelectOption:
    """One line of a menu; ``value`` is what the bot is told."""

    label: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SelectSpec:
    """A select that takes one of its options."""

    custom_id: str
    placeholder: str
    options: tuple[SelectOption, ...]


Control: TypeAlias = ButtonSpec | SelectSpec
ActionRow: TypeAlias = tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class EmbedField:
    """A small heading and a text below it."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One embed with controls below. ``image`` names a file that is attached to the message."""

    title: str
    description: str
    colour: int
    fields: tuple[EmbedField, ...] = ()
    footer: str = ""
    image: str = ""
    controls: tuple[ActionRow, ...] = ()

    @property
    def length(self) -> int:
        """Characters that count towards EMBED."""
        texts = [self.title, self.description, self.footer]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        return sum(utf16_length(text) for text in texts)


Outcome = TypeVar("Outcome")

NO_MENTIONS: Final = discord.AllowedMentions.none()

# An edit with the token names the answer like this, as Discord's documents do.
_ORIGINAL: Final = cast("int", "@original")
_EXPIRED: Final = {50027, 10015, 10062}
_TOO_LARGE: Final = {40005, 50045}
# Refusals that pass: slow mode, write limits, too many direct messages opened, Cloudflare.
_BUSY: Final = {20016, 20022, 20028, 20029, 40003, 40062, 40333, 130000}
_THREAD_ARCHIVED: Final = 50083
_LONGEST_TEXT: Final = 300


class MessageNotFound(DeliveryError):
    """The message, its channel, or the right to write there does not exist (any more)."""


class TooLarge(DeliveryError):
    """Discord, or a proxy before it, takes no files of this size here; smaller ones it may take."""


class NotPermitted(MessageNotFound):
    """The right to write there is missing; somebody may give it (back)."""


class Archived(NotPermitted):
    """The thread is archived, and what is in it cannot be edited until it is opened again."""


class InteractionExpired(DeliveryError):
    """The interaction's token is no longer good; the bot's own may be."""


class DeliveryUnconfirmed(DeliveryUnavailable):
    """No answer, or Discord's own trouble: it may have been carried out all the same."""


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file to attach: ``alt`` is what it shows, for who cannot see it."""

    path: Path
    name: str
    alt: str = ""


@contextmanager
def map_discord_errors() -> Iterator[None]:
    """What Discord and the network raise inside becomes a DeliveryError outside."""
    try:
        yield
    except BotError:
        raise
    except discord.HTTPException as error:
        raise _answered(error) from error
    except discord.RateLimited as error:
        raise DeliveryUnconfirmed("Discord asks to wait", error.retry_after) from error
    except Exception as error:
        # A cut, a timeout, a session being closed, an answer that is no JSON: only an answer that
        # Discord itself has given is a refusal.
        if not isinstance(error, aiohttp.ClientError | discord.DiscordException | OSError):
            log.warning("an answer of Discord cannot be read", exc_info=error)
        raise DeliveryUnconfirmed(f"{type(error).__name__}: {error}") from error


def _answered(error: discord.HTTPException) -> DeliveryError:
    """Sort an answer into *not now*, *expired* and *refused*."""
    said = f"Discord says {error.code or error.status}: {error.text[:_LONGEST_TEXT]}"
    by_discord = error.code != 0 or _is_json(error.response)
    if not 400 <= error.status < 500 or error.status in (408, 425, 429):
        return DeliveryUnconfirmed(said, _retry_after(error.response))
    if error.code in _BUSY:
        return DeliveryUnconfirmed(said, _retry_after(error.response))
    if error.code in _EXPIRED:
        return InteractionExpired(said)
    if error.status == 413 or error.code in _TOO_LARGE:
        return TooLarge(said)
    if not by_discord:
        return DeliveryUnconfirmed(said)  # some machine in between
    if error.status == 401:
        by_token = "/webhooks/" in str(getattr(error.response, "url", ""))
        # Otherwise it is the bot's own token that was changed: the operator's to mend.
        return InteractionExpired(said) if by_token else DeliveryUnconfirmed(said)
    if error.code == _THREAD_ARCHIVED:
        return Archived(said)
    if error.status == 403:
        return NotPermitted(said)
    return MessageNotFound(said) if error.status == 404 else DeliveryError(said)


def _is_json(response: Any) -> bool:
    return bool(response.headers.get("Content-Type") == "application/json")


def _retry_after(response: Any) -> float:
    """The seconds that an answer asks to wait, 0 if it does not say so in numbers."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


def to_embed(card: MessageContent) -> discord.Embed:
    """The card's embed, its image by reference to an attached file."""
    embed = discord.Embed(title=card.title, description=card.description, colour=card.colour)
    for field in card.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if card.footer:
        embed.set_footer(text=card.footer)
    if card.image:
        embed.set_image(url=f"attachment://{card.image}")
    return embed


def to_view(controls: Sequence[ActionRow]) -> discord.ui.View | None:
    """The controls; None if there are none. The view is stopped, so the library lets it go."""
    if not controls:
        return None
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(controls):
        for control in row:
            view.add_item(_item(control, number))
    view.stop()
    return view


def _item(control: ButtonSpec | SelectSpec, row: int) -> discord.ui.Item[Any]:
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
    """The files, opened in a thread.

    Raises DeliveryError if one is not there, DeliveryUnavailable if it cannot be read now.
    """

    def open_all() -> list[discord.File]:
        return [
            discord.File(upload.path, filename=upload.name, description=upload.alt or None)
            for upload in uploads
        ]

    try:
        return await asyncio.to_thread(open_all)
    except FileNotFoundError as error:
        raise DeliveryError(f"a file is gone: {error}") from error
    except OSError as error:
        raise DeliveryUnavailable(f"a file cannot be read: {error}") from error


async def edit_status_message(
    client: discord.Client,
    post: StatusMessage,
    card: MessageContent,
    at: datetime,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> StatusMessage:
    """Put ``card`` in the place of what the message shows; its text above the embed stays.

    ``uploads`` replace all attached files; None leaves them. By token while it lives, then by the
    bot's own right. A thread that was archived is opened for it. Returns ``post``, without the
    interaction if its token was not good any more. Raises Gone, DeliveryUnavailable, DeliveryError.
    """

    async def change() -> StatusMessage:
        if post.interaction is not None and post.is_token_valid(at):
            try:
                await edit_answer(client, post.interaction, card, uploads=uploads)
            except InteractionExpired:
                pass
            else:
                return post
        await edit_message(client, post.message, card, uploads=uploads)
        return replace(post, interaction=None)

    return await opening_thread(client, post.message.channel_id, change)


async def opening_thread(
    client: discord.Client, channel_id: int, act: Callable[[], Awaitable[Outcome]]
) -> Outcome:
    """Do something in a channel; if it is an archived thread, open it and do it again.

    Raises what ``act`` raises, and NotPermitted where the thread is locked.
    """
    try:
        return await act()
    except Archived:
        with map_discord_errors():
            await client.http.edit_channel(channel_id, archived=False)
        return await act()


async def edit_answer(
    client: discord.Client,
    interaction: InteractionRef,
    card: MessageContent,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> MessageRef:
    """Edit the first answer to an interaction by its token."""
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    change = await _change(card, uploads)
    with map_discord_errors():
        message = await webhook.edit_message(_ORIGINAL, **change)
    return MessageRef(message.channel.id, message.id)


async def fetch_answer(client: discord.Client, interaction: InteractionRef) -> discord.Message:
    """The first answer to an interaction as it stands, by its token. Raises Gone, Expired."""
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    with map_discord_errors():
        return await webhook.fetch_message(_ORIGINAL)


async def edit_message(
    client: discord.Client,
    message: MessageRef,
    card: MessageContent,
    *,
    uploads: Sequence[FileUpload] | None = None,
) -> None:
    """Edit one of the bot's own messages."""
    change = await _change(card, uploads)
    with map_discord_errors():
        await _partial(client, message).edit(**change)


async def _change(card: MessageContent, uploads: Sequence[FileUpload] | None) -> dict[str, Any]:
    change: dict[str, Any] = {
        "embeds": [to_embed(card)],
        "view": to_view(card.controls),
        "allowed_mentions": NO_MENTIONS,
    }
    if uploads is not None:
        change["attachments"] = await open_files(uploads)
    return change


async def send(
    channel: discord.abc.Messageable,
    card: MessageContent | None,
    *,
    content: str = "",
    uploads: Sequence[FileUpload] = (),
    nonce: str | None = None,
    mentioning: int | None = None,
) -> discord.Message:
    """Post a message; the same ``nonce`` within minutes posts nothing new.

    Only ``mentioning``, a user id, may be called by ``content``. Raises Gone, DeliveryError.
    """
    called = [discord.Object(mentioning)] if mentioning else False
    extra: dict[str, Any] = {}
    if card is not None:
        extra["embed"] = to_embed(card)
        view = to_view(card.controls)
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
                users=called, roles=False, everyone=False, replied_user=False
            ),
            **extra,
        )


async def delete(client: discord.Client, message: MessageRef) -> None:
    """Delete one of the bot's own messages. Raises Gone, DeliveryError."""
    with map_discord_errors():
        await _partial(client, message).delete()


async def fetch(client: discord.Client, message: MessageRef) -> discord.Message:
    """The message as it stands. Raises Gone, DeliveryError."""
    with map_discord_errors():
        return await _partial(client, message).fetch()


def _partial(client: discord.Client, message: MessageRef) -> discord.PartialMessage:
    channel = client.get_partial_messageable(message.channel_id)
    return channel.get_partial_message(message.message_id)
