"""Store the pictures that requests start from: checked, without metadata, by their SHA-256.

A picture is uploaded by a member, or is one of the bot's own. It is stored before the request is
accepted, because a refusal must charge nothing; it is deleted as soon as no request names it.
Decoding takes place in threads, one picture at a time: a large one needs much memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from bot.domain.errors import ArtifactMissing, InvalidRequest, RequestError, StoreUnavailable
from bot.domain.init_image import DEFAULT_STRENGTH, InitImage
from bot.files import atomic_write, remove_temporary_files
from bot.services.decoding import DECODE_ERRORS, FORMATS, to_rgb, upright_size
from bot.services.png import without_texts
from bot.store import job_queries
from bot.store.database import Database
from bot.store.sqlite_errors import disk_faults

log = logging.getLogger(__name__)

MAX_BYTES: Final = 20 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
"""More than a phone's photo has; decoded, that many take 120 MB."""
MIN_SIDE: Final = 32
MAX_SIDE: Final = 2048
"""Pictures are stored in at most this size: no model makes larger ones at once."""

_FOLDER_MODE = 0o700
_FITTED = ".fitted-"
# Starts of files that members take for pictures, after white space.
_OTHER_KINDS: Final = (
    (b"GIF8", "a GIF"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an SVG drawing"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"%PDF", "a PDF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
)
_BRANDS: Final = {b"heic": "a HEIC photo", b"heix": "a HEIC photo", b"mif1": "a HEIC photo"}
_TAKEN: Final = "Use a PNG, JPEG or WebP picture that is not animated."


@dataclass(frozen=True, slots=True)
class FittedPicture:
    """A stored picture in the size of a request, as a file of its own."""

    path: Path
    sha256: str


class InitImageStore:
    """The pictures below ``folder``, one PNG for each, of which nobody else may read any.

    All methods raise StoreUnavailable if the disk cannot be used.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._held: Counter[str] = Counter()
        # A picture is not deleted between a look at the database and the request that names it.
        self._changing = asyncio.Lock()
        self._decoding = asyncio.Lock()

    @asynccontextmanager
    async def stored(
        self, data: bytes | Path, strength: float = DEFAULT_STRENGTH
    ) -> AsyncIterator[InitImage]:
        """Check and store a picture for the time of the block, in which a request may name it.

        ``data`` are the bytes of a file from anywhere, or the path of one of the bot's own. After
        the block it is deleted if no request names it. Raises InvalidRequest, in words for the
        member, if it cannot be used, and ArtifactMissing for a path that does not exist.
        """
        async with self._decoding:
            png, size = await asyncio.to_thread(normalize, data)
        digest = hashlib.sha256(png).hexdigest()
        self._held[digest] += 1
        try:
            with disk_faults():
                await asyncio.to_thread(self._write, digest, png)
            yield InitImage(digest, *size, strength)
        finally:
            await self._release(digest)

    def path(self, image: InitImage) -> Path:
        """Return the file of a stored picture."""
        return self._path(image.sha256)

    @asynccontextmanager
    async def held(self, image: InitImage | None) -> AsyncIterator[None]:
        """Keep a stored picture for the time of the block, for a further request that names it.

        Raises RequestError if it is deleted already.
        """
        if image is None:
            yield
            return
        self._held[image.sha256] += 1
        try:
            if not await asyncio.to_thread(self._path(image.sha256).is_file):
                raise RequestError(
                    "The picture that this started from was deleted. Use /imagine with a new one."
                )
            yield
        finally:
            await self._release(image.sha256)

    @asynccontextmanager
    async def fitted(
        self, image: InitImage, width: int, height: int
    ) -> AsyncIterator[FittedPicture]:
        """Write the picture cropped and scaled to a size in pixels, for the time of the block.

        The same picture and size give the same bytes. Raises ArtifactMissing if it was deleted.
        """
        source = self._path(image.sha256)
        with disk_faults():
            folder = await asyncio.to_thread(self._make_folder)
        try:
            target = folder / "start.png"
            async with self._decoding:
                with disk_faults():
                    digest = await asyncio.to_thread(
                        _fit, source, image.sha256, (width, height), target
                    )
            yield FittedPicture(target, digest)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def clean(self) -> None:
        """Delete what a process that was killed has left. For the start, before any other use."""
        with disk_faults():
            await asyncio.to_thread(self._remove_temporary)
        await self.delete_unused()

    async def delete_unused(self) -> int:
        """Delete the pictures that no request names (any more); return how many. Idempotent."""
        async with self._changing:
            with disk_faults():
                stored = await asyncio.to_thread(self._list)
                if not stored:
                    return 0
                used = await self._database.read(job_queries.init_images())
                unused = [name for name in stored if name not in used and not self._held[name]]
                await asyncio.to_thread(self._delete, unused)
        return len(unused)

    async def count(self, author_id: int) -> tuple[int, int]:
        """Return the number and the bytes of the pictures that a member's requests name."""
        used = await self._database.read(job_queries.init_images(author_id))

        def measure() -> tuple[int, int]:
            files = [path for path in map(self._path, used) if path.is_file()]
            return len(files), sum(path.stat().st_size for path in files)

        with disk_faults():
            return await asyncio.to_thread(measure)

    async def _release(self, digest: str) -> None:
        async with self._changing:
            self._held[digest] -= 1
            if self._held[digest]:
                return
            del self._held[digest]
            try:
                used = await self._database.read(job_queries.names_init_image(digest))
                if not used:
                    with disk_faults():
                        await asyncio.to_thread(self._delete, [digest])
            except StoreUnavailable as error:
                # The member must not read that the request failed. The next start deletes it.
                log.warning("a picture that no request names was not deleted: %s", error)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.png"

    def _write(self, digest: str, png: bytes) -> None:
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        with atomic_write(self._path(digest)) as part:
            part.write_bytes(png)

    def _make_folder(self) -> Path:
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self._folder, prefix=_FITTED))

    def _remove_temporary(self) -> None:
        remove_temporary_files(self._folder)
        for folder in self._folder.glob(f"{_FITTED}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _list(self) -> tuple[str, ...]:
        return tuple(path.stem for path in self._folder.glob("*.png"))

    def _delete(self, digests: list[str]) -> None:
        for digest in digests:
            self._path(digest).unlink(missing_ok=True)


def normalize(data: bytes | Path) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as an upright PNG without metadata, and its size. Blocking.

    Its sides are at most MAX_SIDE. Raises as ``InitImageStore.stored`` does.
    """
    if isinstance(data, Path):
        try:
            with disk_faults():
                data = data.read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissing("the image does not exist (any more)") from error
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    try:
        with Image.open(io.BytesIO(without_texts(data)), formats=FORMATS) as picture:
            width, height = upright_size(picture)
            _check(picture, width, height)
            picture.draft(None, (MAX_SIDE, MAX_SIDE))  # a photo is decoded no larger than needed
            rgb = to_rgb(picture)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("far too many") from error
    except DECODE_ERRORS as error:
        raise _unusable(data) from error
    if max(rgb.size) > MAX_SIDE:
        rgb = ImageOps.contain(rgb, (MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return _encode(rgb), rgb.size


def _check(picture: Image.Image, width: int, height: int) -> None:
    """Raise InvalidRequest for a picture that must not be decoded."""
    if getattr(picture, "is_animated", False):
        raise InvalidRequest("image", f"The picture is animated. {_TAKEN}")
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width} × {height}")
    if min(width, height) < MIN_SIDE:
        raise InvalidRequest(
            "image",
            f"The picture has only {width} × {height} pixels. Each side needs {MIN_SIDE} or more.",
        )


def _too_many_pixels(count: str) -> InvalidRequest:
    return InvalidRequest(
        "image",
        f"The picture has {count} pixels, and at most {MAX_PIXELS // 1_000_000} million are "
        "allowed. Make it smaller and try again.",
    )


def too_large(size: int) -> InvalidRequest:
    """Return the error for a file of ``size`` bytes, which is above MAX_BYTES."""
    return InvalidRequest(
        "image",
        f"The picture has {size / 2**20:.1f} MB, and at most {MAX_BYTES // 2**20} MB are allowed. "
        "Make it smaller and try again.",
    )


def _unusable(data: bytes) -> InvalidRequest:
    """Return the error for a file that is no complete picture of a format that is taken."""
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = next(
        (name for mark, name in _OTHER_KINDS if start[: len(mark)].lower() == mark.lower()), ""
    )
    if data[4:8] == b"ftyp":
        kind = _BRANDS.get(data[8:12], "a video, or a photo of another format")
    if kind:
        return InvalidRequest("image", f"This file is {kind}. {_TAKEN}")
    return InvalidRequest("image", f"This file is damaged, or it is no picture. {_TAKEN}")


def _fit(source: Path, sha256: str, size: tuple[int, int], target: Path) -> str:
    """Write a stored picture, cropped and scaled, to ``target``; return its digest. Blocking."""
    try:
        data = source.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactMissing("the picture to start from was deleted") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactMissing("the picture to start from was changed on the disk")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        png = _encode(ImageOps.fit(to_rgb(picture), size, Image.Resampling.LANCZOS))
    with atomic_write(target) as part:
        part.write_bytes(png)
    return hashlib.sha256(png).hexdigest()


def _encode(picture: Image.Image) -> bytes:
    bare = picture.copy()
    bare.info = {}
    out = io.BytesIO()
    bare.save(out, "PNG", compress_level=3)
    return out.getvalue()
