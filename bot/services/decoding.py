"""Decode untrusted image files to one form: upright 8-bit sRGB. Blocking.

Only the formats below are read. Metadata is used where it changes what the eye sees (colour
profile, gamma, transparency, orientation), and skipped otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from PIL import ExifTags, Image, ImageCms, ImageOps

from bot.domain.grid import Size
from bot.services.png import without_texts

FORMATS: Final = ("PNG", "JPEG", "WEBP")

DECODE_ERRORS: Final = (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError)
"""What Pillow can raise when it opens or decodes a file that is not a complete image."""

BACKGROUND: Final = (255, 255, 255)
"""Shown through transparent parts: Discord's clients differ, and JPEG has no transparency."""

_TURNED_ORIENTATIONS = frozenset({5, 6, 7, 8})
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_SRGB_GAMMA = 1 / 2.2


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; the texts in a PNG are not unpacked.

    Raises one of DECODE_ERRORS.
    """
    with Image.open(io.BytesIO(without_texts(path.read_bytes())), formats=FORMATS) as picture:
        yield picture


def upright_size(picture: Image.Image) -> Size:
    """Return width and height as the image is shown, after its EXIF orientation."""
    return picture.size[::-1] if _orientation(picture) in _TURNED_ORIENTATIONS else picture.size


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return the first frame in 8-bit sRGB, upright; transparent parts show BACKGROUND.

    Decodes the image. A plain RGB image is returned as it is. Raises one of DECODE_ERRORS.
    """
    turned = _orientation(picture) != 1
    picture.load()
    info = dict(picture.info)
    if turned:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        # 16 bits of grey: converting them clips everything above 255 to white.
        picture = picture.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        info.pop("transparency", None)
    alpha = None
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in info:
        alpha = picture.convert("RGBA").getchannel("A")
    picture = _to_srgb(_drop_alpha(picture), info)
    if alpha is None:
        return picture
    canvas = Image.new("RGB", picture.size, BACKGROUND)
    canvas.paste(picture, mask=alpha)
    return canvas


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 for upright. EXIF behind the pixels of a PNG is not read."""
    if "exif" not in picture.info:
        return 1
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODE_ERRORS:
        return 1  # unreadable EXIF is ignored


def _drop_alpha(picture: Image.Image) -> Image.Image:
    """Return the colours alone, in a mode that a colour profile can apply to: L, RGB or CMYK."""
    if picture.mode in _GREY_MODES:
        return picture.convert("L")
    if picture.mode in ("RGB", "CMYK"):
        return picture
    # By way of RGBA: converted at once, a palette's transparent entries would lose their colour.
    return picture.convert("RGBA").convert("RGB")


def _to_srgb(picture: Image.Image, info: dict[Any, Any]) -> Image.Image:
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if profile:
        if (converted := _apply_profile(picture, profile)) is not None:
            return converted
    elif gamma and "srgb" not in info and picture.mode != "CMYK":
        exponent = _SRGB_GAMMA / gamma
        if not 0.95 < exponent < 1.05:
            table = [round(255 * (value / 255) ** exponent) for value in range(256)]
            picture = picture.point(table * len(picture.getbands()))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _apply_profile(picture: Image.Image, data: bytes) -> Image.Image | None:
    """Return the image in sRGB, or None if the profile is broken or is for another mode.

    The caller then takes the numbers as they are, as browsers do.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if picture.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(profile):
            return picture  # a conversion would only round
        return ImageCms.profileToProfile(picture, profile, _srgb_profile(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
