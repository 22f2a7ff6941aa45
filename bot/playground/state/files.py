"""Stored files and their signed, expiring links.

It knows how Discord signs a link (``ex`` and ``is`` in hexadecimal seconds, ``hm``) and how large a
picture is; it knows no message.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import mimetypes
import re
from urllib.parse import quote

from PIL import Image, UnidentifiedImageError

from bot.playground.state.guild import GuildState
from bot.playground.state.models import Attachment, Json, Upload

UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")


def store(
    guild: GuildState, upload: Upload, channel_id: int, *, description: str | None, ephemeral: bool
) -> Attachment:
    """Keep an uploaded file; pictures are recognised by their bytes, never by their name."""
    width, height = measure(upload.content)
    kind, _ = mimetypes.guess_type(upload.filename)
    return Attachment(
        guild.mint.next_id(),
        channel_id,
        UNSAFE.sub("_", upload.filename) or "file",
        upload.content,
        kind or upload.content_type,
        description,
        ephemeral,
        width,
        height,
    )


def measure(content: bytes) -> tuple[int | None, int | None]:
    """Return width and height in pixels, read from the picture's header, or Nones."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None, None


def path_of(attachment: Attachment) -> str:
    """Return the link's path, ``/attachments/<channel>/<attachment>/<name>``."""
    return f"/attachments/{attachment.channel_id}/{attachment.id}/{quote(attachment.filename)}"


def _signature(guild: GuildState, path: str, expires: str, issued: str) -> str:
    text = f"{path}|{expires}|{issued}".encode()
    return hmac.new(guild.url_secret, text, hashlib.sha256).hexdigest()


def sign(guild: GuildState, attachment: Attachment) -> str:
    """Return a fresh link, good for ``realm.url_life`` from now."""
    now = guild.now()
    issued = f"{int(now.timestamp()):x}"
    expires = f"{int((now + guild.url_life).timestamp()):x}"
    path = path_of(attachment)
    mark = _signature(guild, path, expires, issued)
    return f"{guild.site}{path}?ex={expires}&is={issued}&hm={mark}&"


def valid(guild: GuildState, path: str, expires: str, issued: str, mark: str) -> bool:
    """Whether a link is one of ours and not yet expired."""
    expected = _signature(guild, path, expires, issued)
    if not hmac.compare_digest(mark.encode(), expected.encode()):
        return False
    return int(expires, 16) > guild.now().timestamp()


def find(guild: GuildState, channel_id: int, attachment_id: int) -> Attachment | None:
    """Return a file that still hangs on a message, or None: deleting the message deletes it."""
    if attachment_id in guild.stash:
        return guild.stash[attachment_id]
    for message in guild.messages.values():
        for attachment in message.attachments:
            if attachment.id == attachment_id and attachment.channel_id == channel_id:
                return attachment
    return None


def attachment_payload(guild: GuildState, attachment: Attachment) -> Json:
    """Render ``MessageAttachmentResponse`` with a freshly signed link."""
    url = sign(guild, attachment)
    body: Json = {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": len(attachment.content),
        "url": url,
        "proxy_url": url,
    }
    if attachment.content_type is not None:
        body["content_type"] = attachment.content_type
    if attachment.description is not None:
        body["description"] = attachment.description
    if attachment.width is not None:
        body |= {"width": attachment.width, "height": attachment.height}
    if attachment.ephemeral:
        body["ephemeral"] = True
    return body
