"""Send, edit, fetch and delete messages.

Errors of Discord and of the network become DeliveryErrors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

import discord

from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import MessageRef
from bot.frontend.discord_errors import InteractionExpired, ThreadArchived, map_discord_errors
from bot.frontend.message_content import (
    ActionRow,
    ButtonSpec,
    FileUpload,
    MessageContent,
    SelectSpec,
)
from bot.services.delivery import InteractionRef, StatusMessage

log = logging.getLogger(__name__)


T = TypeVar("T")

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""By so much Discord's clock, which numbers messages, may be behind this machine's."""
NO_MENTIONS: Final = discord.AllowedMentions.none()

# An edit with the token names the answer like this, as Discord's documents do.
_ORIGINAL: Final = cast("int", "@original")


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
