"""Requests that start from a picture: an attachment of a member, or an image of a result.

``bot.frontend.submission`` submits them.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.hosts import is_loopback
from bot.domain.job import Job
from bot.frontend.context import BotContext
from bot.frontend.custom_ids import ComponentAction, custom_id
from bot.frontend.message_content import ActionRow, ButtonSpec
from bot.services.init_images import MAX_BYTES, too_large

log = logging.getLogger(__name__)

CDN_HOSTS: Final = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
DOWNLOAD_SECONDS: Final = 60.0
IMAGES_GONE: Final = "The images of this job are no longer stored. /show offers to make them again."

_GONE: Final = "That picture does not exist any more. Upload it again, and try again."
_FOREIGN: Final = "Only pictures that were uploaded to Discord can be used. Upload it as a file."
_NOT_SENT: Final = "Discord did not send the picture. Please try again in a minute."
_FULL_SIZE: Final = 1 << 40


def require_own_host(attachment: discord.Attachment) -> None:
    """Raise RequestError unless the attachment lies on a host of Discord, or on this machine."""
    parts = urlsplit(attachment.url)
    host = parts.hostname or ""
    if not (parts.scheme == "https" and host in CDN_HOSTS) and not is_loopback(host):
        raise RequestError(_FOREIGN)


async def download(attachment: discord.Attachment) -> bytes:
    """Return the bytes of an attachment. Raises RequestError.

    Only Discord's own hosts are asked, and nothing larger than MAX_BYTES.
    """
    if attachment.size > MAX_BYTES:
        raise too_large(attachment.size)
    require_own_host(attachment)
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            return await attachment.read()
    except (discord.NotFound, discord.Forbidden) as error:
        raise RequestError(_GONE) from error
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        log.warning("an attachment was not downloaded: %s", type(error).__name__)
        raise RequestError(_NOT_SENT) from error


async def image_path(context: BotContext, job: Job, row: int, column: int) -> Path:
    """Return the file of one image of a result. Raises RequestError."""
    try:
        return await context.renditions.image(job, row, column, _FULL_SIZE)
    except ArtifactMissing as error:
        raise RequestError(IMAGES_GONE) from error


async def grid_path(context: BotContext, job: Job) -> Path:
    """Return the file of a result's grid. Raises RequestError."""
    try:
        return await context.renditions.grid(job, _FULL_SIZE)
    except ArtifactMissing as error:
        raise RequestError(IMAGES_GONE) from error


def image_actions(context: BotContext, job: Job, row: int, column: int) -> tuple[ActionRow, ...]:
    """Return the buttons below one image."""
    actions: list[tuple[str, ComponentAction]] = []
    if context.upscaling and job.request.origin is None:
        actions.append(("Upscale", ComponentAction.UPSCALE))
    if _can_vary(context, job):
        actions.append(("Vary (subtle)", ComponentAction.VARY_SUBTLE))
        actions.append(("Vary (strong)", ComponentAction.VARY_STRONG))
    buttons = tuple(ButtonSpec(label, custom_id(verb, job, row, column)) for label, verb in actions)
    return (buttons,) if buttons else ()


def _can_vary(context: BotContext, job: Job) -> bool:
    """Return whether variations of the job's images can be made."""
    limits, request = context.limits, job.request
    spec = limits.table.get(request.model)
    return limits.img2img and request.origin is None and (spec is None or spec.img2img)
