"""Enlarge pictures four times: ``python -m bot.txt2img.upscale DIR``.

Replaces the ``/opt/Real-ESRGAN/upscale.sh DIR`` of the workflow catalogue: every picture in DIR
becomes ``$STORAGE_PATH/output_frames/<name>_out.png``, by an upscale model of the image server if
the configuration names one that has any, else interpolated and sharpened without a model. Exit
status: 0 success, 1 an error with one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from PIL import Image, ImageFilter, UnidentifiedImageError

from bot.txt2img.config import read_config
from bot.txt2img.engines import COMFYUI
from bot.txt2img.engines.base import Report
from bot.txt2img.plan import UsageError
from bot.txt2img.report import write_report

FACTOR = 4
_MAX_PIXELS = 4096 * 4096
"""Of one input picture; the result has sixteen times as many."""


class Upscaler(Protocol):
    """An image server that can enlarge pictures."""

    def upscale(self, picture: Image.Image, factor: int) -> Image.Image | None:
        """Return the picture enlarged; None if the server has no model. Raises UsageError."""
        ...

    @property
    def report(self) -> Report:
        """Return the report of the last picture."""
        ...


class _Fallback:
    """Enlarge by the server, or without a model where it has none and where there is no server."""

    def __init__(self, server: Upscaler | None) -> None:
        self._server = server
        self.report = Report("upscaling", "", 0, guidance=None, negative=True)

    def upscale(self, picture: Image.Image) -> Image.Image:
        if self._server is not None:
            large = self._server.upscale(to_rgb(picture), FACTOR)
            if large is not None:
                self.report = self._server.report
                return large
        return upscale_image(picture)


def select_upscaler(environment: Mapping[str, str]) -> Upscaler | None:
    """Return the image server of the configuration, if it has one. Raises UsageError."""
    config = read_config(environment)
    if config.engine == COMFYUI:
        from bot.txt2img.engines.comfyui import ComfyUIEngine

        return ComfyUIEngine(config.comfyui, None, environment)
    return None


def upscale_image(image: Image.Image) -> Image.Image:
    """Return the picture four times as wide and high, in RGB."""
    size = (image.width * FACTOR, image.height * FACTOR)
    large = to_rgb(image).resize(size, Image.Resampling.LANCZOS)
    return large.filter(ImageFilter.UnsharpMask(radius=2.4, percent=60, threshold=2))


def to_rgb(image: Image.Image) -> Image.Image:
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
        upscaler = _Fallback(select_upscaler(environment))
        done = [_upscale_file(path, target, upscaler, out) for path in sorted(folder.iterdir())]
    except (OSError, UsageError, Image.DecompressionBombError) as error:
        print(f"upscale: {error}", file=err)
        return 1
    if not any(done):
        print(f"upscale: there is no picture in {str(folder)!r}.", file=err)
        return 1
    write_report(upscaler.report, environment.get("PAINTER_REPORT", ""))
    return 0


def _upscale_file(path: Path, target: Path, upscaler: _Fallback, out: TextIO) -> bool:
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
        large = upscaler.upscale(image)
        before = f"{image.width}x{image.height}"
    target.mkdir(parents=True, exist_ok=True)
    large.save(target / f"{path.stem}_out.png", format="PNG", compress_level=3)
    print(f"upscaled {path.name} {before} -> {large.width}x{large.height}", file=out, flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ, sys.stdout, sys.stderr))
