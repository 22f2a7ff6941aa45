"""Store files and sign their links.

Links have Discord's query parameters: ``ex`` (expires) and ``is`` (issued) are hexadecimal Unix
seconds, ``hm`` is the signature.
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

UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9_.\-]+")


def create_attachment(
    guild: GuildState, upload: Upload, channel_id: int, *, description: str | None, ephemeral: bool
) -> Attachment:
    """Create an attachment from an upload; images are recognised by their bytes, not their name."""
    width, height = image_size(upload.content)
    kind, _ = mimetypes.guess_type(upload.filename)
    return Attachment(
        guild.snowflakes.next_id(),
        channel_id,
        UNSAFE_CHARACTERS.sub("_", upload.filename) or "file",
        upload.content,
        kind or upload.content_type,
        description,
        ephemeral,
        width,
        height,
    )


def image_size(content: bytes) -> tuple[int | None, int | None]:
    """Return width and height in pixels from the image header; None and None if it is no image."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None, None


def attachment_path(attachment: Attachment) -> str:
    """Return the path of the link, ``/attachments/<channel>/<attachment>/<name>``."""
    return f"/attachments/{attachment.channel_id}/{attachment.id}/{quote(attachment.filename)}"


def _signature(guild: GuildState, path: str, expires: str, issued: str) -> str:
    text = f"{path}|{expires}|{issued}".encode()
    return hmac.new(guild.url_secret, text, hashlib.sha256).hexdigest()


def signed_url(guild: GuildState, attachment: Attachment) -> str:
    """Return a new link that is valid for ``guild.url_lifetime``."""
    now = guild.now()
    issued = f"{int(now.timestamp()):x}"
    expires = f"{int((now + guild.url_lifetime).timestamp()):x}"
    path = attachment_path(attachment)
    signature = _signature(guild, path, expires, issued)
    return f"{guild.site}{path}?ex={expires}&is={issued}&hm={signature}&"


def is_valid_link(guild: GuildState, path: str, expires: str, issued: str, signature: str) -> bool:
    """Return whether the signature of a link is valid and not expired. Raises ValueError."""
    expected = _signature(guild, path, expires, issued)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return False
    return int(expires, 16) > guild.now().timestamp()


def find_attachment(guild: GuildState, channel_id: int, attachment_id: int) -> Attachment | None:
    """Return an uploaded file or a message's attachment; None once its message is deleted."""
    if attachment_id in guild.uploads:
        return guild.uploads[attachment_id]
    for message in guild.messages.values():
        for attachment in message.attachments:
            if attachment.id == attachment_id and attachment.channel_id == channel_id:
                return attachment
    return None


def attachment_payload(guild: GuildState, attachment: Attachment) -> Json:
    """Render ``MessageAttachmentResponse`` with a newly signed link."""
    url = signed_url(guild, attachment)
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
