"""Cards on their way to Discord: as discord.py's objects, sent and edited, with errors mapped.

The only place that knows how a card becomes an embed with components. Views are never kept by the
library: a press is recognised by its custom id, so nothing grows with the number of messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import discord

from bot.domain.errors import DeliveryError
from bot.domain.events import MessageRef
from bot.engine.posts import InteractionRef, Post
from bot.surface.card import Button, Card, ControlRow, Menu

NO_MENTIONS: Final = discord.AllowedMentions.none()

# An edit with the token names the answer like this, as Discord's documents do.
_ORIGINAL: Final = cast("int", "@original")
_EXPIRED: Final = {50027, 10015, 10062}
_TOO_LARGE: Final = {40005, 50045}


class Gone(DeliveryError):
    """The message, its channel, or the right to write there does not exist (any more)."""


class TooLarge(DeliveryError):
    """Discord, or a proxy before it, takes no files of this size here; smaller ones it may take."""


class Expired(DeliveryError):
    """The interaction's token is no longer good; the bot's own may be."""


class Unheard(DeliveryError):
    """No answer, or Discord's own trouble: it may have been carried out all the same."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to attach: ``alt`` is what it shows, for who cannot see it."""

    path: Path
    name: str
    alt: str = ""


@contextmanager
def border() -> Iterator[None]:
    """What Discord and the network raise inside becomes a DeliveryError outside."""
    try:
        yield
    except (discord.NotFound, discord.Forbidden) as error:
        if error.code in _EXPIRED:
            raise Expired(f"Discord says {error.code}: {error.text}") from error
        raise Gone(f"Discord says {error.code}: {error.text}") from error
    except discord.HTTPException as error:
        if error.status == 413 or error.code in _TOO_LARGE:
            raise TooLarge(f"Discord says {error.status}/{error.code}: too large") from error
        if error.status == 401 or error.code in _EXPIRED:
            raise Expired(f"Discord says {error.code}: {error.text}") from error
        kind = Unheard if error.status >= 500 else DeliveryError
        raise kind(f"Discord says {error.status}/{error.code}: {error.text}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unheard(f"{type(error).__name__}: {error}") from error
    except discord.DiscordException as error:
        raise DeliveryError(f"{type(error).__name__}: {error}") from error


def embed_of(card: Card) -> discord.Embed:
    """The card's embed, its image by reference to an attached file."""
    embed = discord.Embed(title=card.title, description=card.description, colour=card.colour)
    for field in card.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if card.footer:
        embed.set_footer(text=card.footer)
    if card.image:
        embed.set_image(url=f"attachment://{card.image}")
    return embed


def view_of(controls: Sequence[ControlRow]) -> discord.ui.View | None:
    """The controls; None if there are none. The view is stopped, so the library lets it go."""
    if not controls:
        return None
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(controls):
        for control in row:
            view.add_item(_item(control, number))
    view.stop()
    return view


def _item(control: Button | Menu, row: int) -> discord.ui.Item[Any]:
    if isinstance(control, Menu):
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


async def opened(uploads: Sequence[Upload]) -> list[discord.File]:
    """The files, opened in a thread. Raises DeliveryError if one is not there."""

    def open_all() -> list[discord.File]:
        return [
            discord.File(upload.path, filename=upload.name, description=upload.alt or None)
            for upload in uploads
        ]

    try:
        return await asyncio.to_thread(open_all)
    except OSError as error:
        raise DeliveryError(f"a file cannot be read: {error}") from error


async def edit(
    client: discord.Client,
    post: Post,
    card: Card,
    at: datetime,
    *,
    uploads: Sequence[Upload] | None = None,
) -> None:
    """Put ``card`` in the place of what the message shows; its text above the embed stays.

    ``uploads`` replace all attached files; None leaves them. By token while it lives, then by the
    bot's own right. Raises Gone, Expired, DeliveryError.
    """
    if post.interaction is not None and post.token_lives(at):
        await edit_answer(client, post.interaction, card, uploads=uploads)
    else:
        await edit_message(client, post.message, card, uploads=uploads)


async def edit_answer(
    client: discord.Client,
    interaction: InteractionRef,
    card: Card,
    *,
    uploads: Sequence[Upload] | None = None,
) -> MessageRef:
    """Edit the first answer to an interaction by its token."""
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    change = await _change(card, uploads)
    with border():
        message = await webhook.edit_message(_ORIGINAL, **change)
    return MessageRef(message.channel.id, message.id)


async def edit_message(
    client: discord.Client,
    message: MessageRef,
    card: Card,
    *,
    uploads: Sequence[Upload] | None = None,
) -> None:
    """Edit one of the bot's own messages."""
    change = await _change(card, uploads)
    with border():
        await _partial(client, message).edit(**change)


async def _change(card: Card, uploads: Sequence[Upload] | None) -> dict[str, Any]:
    change: dict[str, Any] = {
        "embeds": [embed_of(card)],
        "view": view_of(card.controls),
        "allowed_mentions": NO_MENTIONS,
    }
    if uploads is not None:
        change["attachments"] = await opened(uploads)
    return change


async def send(
    channel: discord.abc.Messageable,
    card: Card | None,
    *,
    content: str = "",
    uploads: Sequence[Upload] = (),
    nonce: str | None = None,
    mentioning: int | None = None,
) -> discord.Message:
    """Post a message; the same ``nonce`` within minutes posts nothing new.

    Only ``mentioning``, a user id, may be called by ``content``. Raises Gone, DeliveryError.
    """
    called = [discord.Object(mentioning)] if mentioning else False
    extra: dict[str, Any] = {}
    if card is not None:
        extra["embed"] = embed_of(card)
        view = view_of(card.controls)
        if view is not None:
            extra["view"] = view
    if nonce is not None:
        extra["nonce"] = nonce
    files = await opened(uploads)
    with border():
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
    with border():
        await _partial(client, message).delete()


async def fetch(client: discord.Client, message: MessageRef) -> discord.Message:
    """The message as it stands. Raises Gone, DeliveryError."""
    with border():
        return await _partial(client, message).fetch()


def _partial(client: discord.Client, message: MessageRef) -> discord.PartialMessage:
    channel = client.get_partial_messageable(message.channel_id)
    return channel.get_partial_message(message.message_id)
