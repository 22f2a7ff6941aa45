"""Picture files of any painter, opened with care and brought to one form: upright 8-bit sRGB.

Blocking. Only the formats below are read. What a file says beside its pixels is used where it
changes what the eye sees (profile, gamma, transparency, orientation) and skipped otherwise.
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

FAULTS: Final = (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError)
"""What opening or decoding a file that is no whole picture can raise."""

BACKGROUND: Final = (255, 255, 255)
"""Seen through transparent parts: neither Discord's clients nor JPEG agree on anything better."""

_SIDEWAYS = frozenset({5, 6, 7, 8})
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_USUAL_GAMMA = 1 / 2.2


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture without decoding it; texts inside a PNG are not even unpacked.

    Raises one of FAULTS.
    """
    with Image.open(io.BytesIO(without_texts(path.read_bytes())), formats=FORMATS) as picture:
        yield picture


def size_of(picture: Image.Image) -> Size:
    """Return width and height as the picture is to be seen, turned if it says so."""
    return picture.size[::-1] if _orientation(picture) in _SIDEWAYS else picture.size


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return the first frame in 8-bit sRGB, upright; transparent parts show BACKGROUND.

    Decodes; raises one of FAULTS. A plain RGB picture comes back as it is.
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
    picture = _in_srgb(_opaque(picture), info)
    if alpha is None:
        return picture
    canvas = Image.new("RGB", picture.size, BACKGROUND)
    canvas.paste(picture, mask=alpha)
    return canvas


def _orientation(picture: Image.Image) -> int:
    """1 for upright. What stands behind the pixels of a PNG does not count: nobody has read it."""
    if "exif" not in picture.info:
        return 1
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except FAULTS:
        return 1  # EXIF that nobody can read turns nothing


def _opaque(picture: Image.Image) -> Image.Image:
    """The colours alone, in a mode that a colour profile can speak of: L, RGB or CMYK."""
    if picture.mode in _GREY_MODES:
        return picture.convert("L")
    if picture.mode in ("RGB", "CMYK"):
        return picture
    # By way of RGBA: converted at once, a palette's transparent entries would lose their colour.
    return picture.convert("RGBA").convert("RGB")


def _in_srgb(picture: Image.Image, info: dict[Any, Any]) -> Image.Image:
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if profile:
        if (converted := _by_profile(picture, profile)) is not None:
            return converted
    elif gamma and "srgb" not in info and picture.mode != "CMYK":
        exponent = _USUAL_GAMMA / gamma
        if not 0.95 < exponent < 1.05:
            table = [round(255 * (value / 255) ** exponent) for value in range(256)]
            picture = picture.point(table * len(picture.getbands()))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _by_profile(picture: Image.Image, data: bytes) -> Image.Image | None:
    """The picture in sRGB; None where the profile is broken, or speaks of another kind of picture.

    Then its numbers are taken as they are, as browsers do.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if picture.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(profile):
            return picture  # a conversion would only round
        return ImageCms.profileToProfile(picture, profile, _srgb(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
