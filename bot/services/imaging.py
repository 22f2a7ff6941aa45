"""Pictures on disk: checked, stacked into a grid, and written small enough for a limit. Blocking.

Everything here takes time in proportion to pixels; callers run it in a thread. Downloaded files
are not trusted: size and format are read before a pixel is decoded. What the pixels of a file mean
is told by ``bot.services.decoding``.
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
from bot.services.decoding import FAULTS, opened, size_of, to_rgb
from bot.store.sqlite_errors import disk_faults, explain_disk

MAX_PIXELS = 150_000_000
"""More than the largest grid that can be asked for, and less than Pillow refuses by itself."""


def verify_image(
    path: Path, size: tuple[int, int] | None = None, *, decode: bool = True
) -> tuple[int, int]:
    """The picture's width and height. Raises ArtifactMissing if it is no whole one of ``size``.

    Without ``decode`` only a PNG's structure and checksums are read, in a fiftieth of the time.
    Raises StoreUnavailable if the disk does not give it.
    """
    return _checked(path, size, decode=decode)[0]


def _checked(path: Path, size: tuple[int, int] | None, *, decode: bool) -> tuple[Size, str]:
    """The picture's size and format; raises ArtifactMissing."""
    try:
        with opened(path) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ArtifactMissing(f"{path.name} has {width} × {height} pixels, too many")
            if decode or picture.format != "PNG":
                picture.load()  # the other formats have no checksums
            else:
                picture.verify()
            found = size_of(picture)
            if size is not None and found != size:
                raise ArtifactMissing(
                    f"{path.name} is {found[0]} × {found[1]}, not {size[0]} × {size[1]}"
                )
            return found, picture.format or ""
    except FAULTS as error:
        if isinstance(error, OSError) and (fault := explain_disk(error)) is not None:
            raise fault from error
        raise ArtifactMissing(f"{path.name} is no readable picture: {error}") from error


def delete_if_invalid(path: Path, size: tuple[int, int] | None, *, decode: bool = True) -> None:
    """Check a fetched picture; one that is not good is removed, so that it is fetched anew.

    Files are named .png whatever a workflow published: another format is written anew as PNG.
    """
    try:
        _, form = _checked(path, size, decode=decode)
    except ArtifactMissing:
        path.unlink(missing_ok=True)
        raise
    if form != "PNG":
        with disk_faults(), opened(path) as picture:
            _save(to_rgb(picture), path, compress_level=1)


def stack_rows(strips: Sequence[Path], target: Path) -> None:
    """One PNG, the strips from top to bottom at full resolution; ``target`` appears whole.

    The strips are decoded one after the other into the grid's own memory, so that no more than one
    of them is held beside it. Compression is light: a grid is looked at once and then sent on.
    """
    sizes = []
    for strip in strips:
        with opened(strip) as picture:
            sizes.append(size_of(picture))
    grid = Image.new("RGB", (max(w for w, _ in sizes), sum(h for _, h in sizes)))
    top = 0
    for strip, (_, height) in zip(strips, sizes, strict=True):
        with opened(strip) as picture:
            grid.paste(to_rgb(picture), (0, top))
        top += height
    # Run lengths alone: as small as zlib's own matching at this level, and a quarter faster.
    _save(grid, target, compress_level=1, compress_type=zlib.Z_RLE)


def crop(source: Path, box: tuple[int, int, int, int], target: Path) -> None:
    """Cut ``box`` (left, top, right, bottom) out of a picture, losslessly."""
    with opened(source) as picture:
        _save(to_rgb(picture).crop(box), target, compress_level=6)


def _save(picture: Image.Image, target: Path, **how: int) -> None:
    """Write a PNG of pixels alone; ``target`` appears whole."""
    bare = picture.copy() if picture.info else picture
    bare.info = {}
    with atomic_write(target) as part:
        bare.save(part, "PNG", **how)


def fit_to_size(source: Path, geometry: GridGeometry, limit: int, folder: Path) -> Path:
    """A file of at most ``limit`` bytes that shows ``source``: itself, or written smaller.

    Tries the domain's encodings from the best to the smallest. Raises ArtifactMissing if not even
    the smallest fits.
    """
    weight = source.stat().st_size
    with opened(source) as original:
        full = size_of(original)
        attempts = encodings_within(geometry, limit, png_bytes=weight)
        if attempts[0].format == "png" and attempts[0].size(full) == full and weight <= limit:
            return source
        picture = to_rgb(original)
    for number, encoding in enumerate(attempts):
        target = folder / f"{source.stem}-{number}.{encoding.format}"
        _write(picture, encoding, target)
        if target.stat().st_size <= limit:
            return target
        target.unlink()
    raise ArtifactMissing(f"{source.name} cannot be written in {limit} bytes")


def _write(picture: Image.Image, encoding: Encoding, target: Path) -> None:
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
