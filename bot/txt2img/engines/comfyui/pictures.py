"""Read the pictures that a server made, and encode one for it, without the texts inside.

ComfyUI writes the whole graph, and with it the prompt, into the text chunks of each PNG.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from bot.txt2img.plan import UsageError

_FORMATS = ("PNG", "JPEG", "WEBP")


def read_pictures(
    files: Sequence[bytes], count: int, size: tuple[int, int]
) -> tuple[Image.Image, ...]:
    """Return the pictures in RGB, nothing but pixels. Raises UsageError unless all are right."""
    if len(files) != count:
        raise UsageError(
            f"The ComfyUI server made {len(files)} pictures and not {count}: the graph has to use "
            "SAMPLES, and its output node has to save what it makes."
        )
    return tuple(_read(file, size) for file in files)


def encode_picture(picture: Image.Image) -> bytes:
    """Return a PNG with nothing but pixels."""
    data = io.BytesIO()
    _strip(picture).save(data, format="PNG", compress_level=1)
    return data.getvalue()


def _read(file: bytes, size: tuple[int, int]) -> Image.Image:
    if not file:
        raise UsageError("The ComfyUI server sent a picture of 0 bytes: is its disk full?")
    try:
        with Image.open(io.BytesIO(file), formats=_FORMATS) as picture:
            if picture.size != size:  # before a single pixel is decoded
                raise UsageError(
                    f"The ComfyUI server made a picture of {picture.width}x{picture.height} and "
                    f"not {size[0]}x{size[1]}: the graph has to use WIDTH and HEIGHT."
                )
            return _strip(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UsageError(
            f"The ComfyUI server sent {len(file)} bytes that are no whole picture."
        ) from error


def _strip(picture: Image.Image) -> Image.Image:
    """Return the pixels alone; a copy would keep the texts."""
    return Image.frombytes("RGB", picture.size, picture.convert("RGB").tobytes())
