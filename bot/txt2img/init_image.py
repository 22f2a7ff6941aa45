"""Read the picture that an image-to-image run starts from."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from bot.txt2img.plan import UsageError

_MAX_PIXELS = 8192 * 8192


def read_init_image(path: Path, width: int, height: int) -> Image.Image:
    """Return the picture upright, in RGB, scaled and cropped to the size in pixels.

    Transparent parts become white. Raises UsageError.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise UsageError(f"--init-img has more than {_MAX_PIXELS} pixels.")
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            rgb = upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow raises SyntaxError for some damaged PNG files.
        raise UsageError(f"--init-img {str(path)!r} cannot be read as a picture.") from error
    return ImageOps.fit(rgb, (width, height), Image.Resampling.LANCZOS)
