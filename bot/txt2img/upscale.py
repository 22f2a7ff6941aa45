"""Enlarge pictures four times without a model: ``python -m bot.txt2img.upscale DIR``.

Replaces the ``/opt/Real-ESRGAN/upscale.sh DIR`` of the workflow catalogue: every picture in DIR
becomes ``$STORAGE_PATH/output_frames/<name>_out.png``, interpolated and sharpened. Exit status: 0
success, 1 an error with one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from PIL import Image, ImageFilter, UnidentifiedImageError

from bot.txt2img.engines.base import Report
from bot.txt2img.report import write_report

FACTOR = 4
_MAX_PIXELS = 4096 * 4096
"""Of one input picture; the result has sixteen times as many."""


def upscale_image(image: Image.Image) -> Image.Image:
    """Return the picture four times as wide and high, in RGB."""
    size = (image.width * FACTOR, image.height * FACTOR)
    large = _to_rgb(image).resize(size, Image.Resampling.LANCZOS)
    return large.filter(ImageFilter.UnsharpMask(radius=2.4, percent=60, threshold=2))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB; transparent parts become white."""
    if image.mode.startswith("I"):
        # 16-bit grey: without scaling, every value above 255 would become white.
        image = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image)
        return canvas
    return image.convert("RGB")


def main(argv: Sequence[str], environment: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """Enlarge every picture in the folder ``argv[0]``; return the exit status."""
    storage = environment.get("STORAGE_PATH", "")
    if len(argv) != 1 or not storage:
        print("usage: STORAGE_PATH=FOLDER python -m bot.txt2img.upscale DIR", file=err)
        return 1
    folder = Path(argv[0])
    target = Path(storage) / "output_frames"
    try:
        done = [_upscale_file(path, target, out) for path in sorted(folder.iterdir())]
    except (OSError, Image.DecompressionBombError) as error:
        print(f"upscale: {error}", file=err)
        return 1
    if not any(done):
        print(f"upscale: there is no picture in {str(folder)!r}.", file=err)
        return 1
    report = Report("upscaling", "", 0, guidance=None, negative=True)
    write_report(report, environment.get("PAINTER_REPORT", ""))
    return 0


def _upscale_file(path: Path, target: Path, out: TextIO) -> bool:
    """Upscale ``path``; return False, without an error, if it is not a picture."""
    if not path.is_file():
        return False
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        return False
    with image:
        if image.width * image.height > _MAX_PIXELS:
            raise OSError(f"{path.name!r} has more than {_MAX_PIXELS} pixels.")
        large = upscale_image(image)
        before = f"{image.width}x{image.height}"
    target.mkdir(parents=True, exist_ok=True)
    large.save(target / f"{path.stem}_out.png", format="PNG", compress_level=3)
    print(f"upscaled {path.name} {before} -> {large.width}x{large.height}", file=out, flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ, sys.stdout, sys.stderr))
