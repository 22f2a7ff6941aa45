"""Verify, stack, crop and shrink image files. Blocking: callers run it in a thread.

The time is in proportion to the pixels. Downloaded files are not trusted: size and format are read
before a pixel is decoded.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bot.domain.errors import ArtifactMissing
from bot.domain.grid import Encoding, GridGeometry, Size, encodings_within
from bot.files import atomic_write
from bot.services.decoding import DECODE_ERRORS, open_image, to_rgb, upright_size
from bot.store.sqlite_errors import disk_faults, explain_disk

MAX_PIXELS = 150_000_000
"""More than the largest grid that can be requested, and less than Pillow's own limit."""


def verify_image(
    path: Path, size: tuple[int, int] | None = None, *, decode: bool = True
) -> tuple[int, int]:
    """Return the image's width and height, once it is known to be complete and of ``size``.

    Without ``decode`` only a PNG's structure and checksums are read, in a fiftieth of the time.
    Raises ArtifactMissing for any other file, StoreUnavailable if the disk cannot be read.
    """
    return _verify(path, size, decode=decode)[0]


def _verify(path: Path, size: tuple[int, int] | None, *, decode: bool) -> tuple[Size, str]:
    """Return the image's size and format. Raises as ``verify_image`` does."""
    try:
        with open_image(path) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ArtifactMissing(f"{path.name} has {width} × {height} pixels, too many")
            if decode or picture.format != "PNG":
                picture.load()  # the other formats have no checksums
            else:
                picture.verify()
            found = upright_size(picture)
            if size is not None and found != size:
                raise ArtifactMissing(
                    f"{path.name} is {found[0]} × {found[1]}, not {size[0]} × {size[1]}"
                )
            return found, picture.format or ""
    except DECODE_ERRORS as error:
        if isinstance(error, OSError) and (fault := explain_disk(error)) is not None:
            raise fault from error
        raise ArtifactMissing(f"{path.name} is no readable picture: {error}") from error


def delete_if_invalid(path: Path, size: tuple[int, int] | None, *, decode: bool = True) -> None:
    """Verify a fetched image, and delete it if it is not valid, so that it is fetched again.

    Files are named .png whatever the workflow published: other formats are converted to PNG.
    Raises as ``verify_image`` does.
    """
    try:
        _, form = _verify(path, size, decode=decode)
    except ArtifactMissing:
        path.unlink(missing_ok=True)
        raise
    if form != "PNG":
        with disk_faults(), open_image(path) as picture:
            _save_png(to_rgb(picture), path, compress_level=1)


def stack_rows(strips: Sequence[Path], target: Path) -> None:
    """Write one PNG with the strips from top to bottom, at full size. ``target`` appears whole.

    The strips are decoded one after the other into the grid's memory, so that only one of them is
    held beside it. Compression is light, because a grid is usually sent once.
    """
    sizes = []
    for strip in strips:
        with open_image(strip) as picture:
            sizes.append(upright_size(picture))
    grid = Image.new("RGB", (max(w for w, _ in sizes), sum(h for _, h in sizes)))
    top = 0
    for strip, (_, height) in zip(strips, sizes, strict=True):
        with open_image(strip) as picture:
            grid.paste(to_rgb(picture), (0, top))
        top += height
    # Run lengths alone: as small as zlib's own matching at this level, and a quarter faster.
    _save_png(grid, target, compress_level=1, compress_type=zlib.Z_RLE)


def crop(source: Path, box: tuple[int, int, int, int], target: Path) -> None:
    """Write ``box`` (left, top, right, bottom) of an image as PNG. ``target`` appears whole."""
    with open_image(source) as picture:
        _save_png(to_rgb(picture).crop(box), target, compress_level=6)


def _save_png(picture: Image.Image, target: Path, **how: int) -> None:
    """Write a PNG without metadata. ``target`` appears whole."""
    bare = picture.copy() if picture.info else picture
    bare.info = {}
    with atomic_write(target) as part:
        bare.save(part, "PNG", **how)


def fit_to_size(source: Path, geometry: GridGeometry, limit: int, folder: Path) -> Path:
    """Return a file of at most ``limit`` bytes that shows ``source``: itself, or a smaller copy.

    The copy is written to ``folder``, in the best of the domain's encodings that fits. Raises
    ArtifactMissing if not even the smallest does.
    """
    weight = source.stat().st_size
    with open_image(source) as original:
        full = upright_size(original)
        attempts = encodings_within(geometry, limit, png_bytes=weight)
        if attempts[0].format == "png" and attempts[0].size(full) == full and weight <= limit:
            return source
        picture = to_rgb(original)
    for number, encoding in enumerate(attempts):
        target = folder / f"{source.stem}-{number}.{encoding.format}"
        _encode(picture, encoding, target)
        if target.stat().st_size <= limit:
            return target
        target.unlink()
    raise ArtifactMissing(f"{source.name} cannot be written in {limit} bytes")


def _encode(picture: Image.Image, encoding: Encoding, target: Path) -> None:
    size = encoding.size(picture.size)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    # Into memory first: what Pillow writes itself loses the reason when the disk is full.
    out = io.BytesIO()
    match encoding.format:
        case "png":
            picture.save(out, "PNG", compress_level=6)
        case "jpeg":
            picture.save(out, "JPEG", quality=encoding.quality, subsampling=0)
        case "webp":
            # The member waits for this: more effort takes four times as long for the same size.
            picture.save(out, "WEBP", quality=encoding.quality, method=0)
    target.write_bytes(out.getbuffer())
