"""Prints of a job's pictures, made to be shown: the grid in so many bytes, one picture, a preview.

What was made once lies beside the originals and is not made again. Works in threads: nothing here
stops the event loop. Where a print is shown is not its business. A disk that cannot be written to
is waited out, like the database (``bot.store.wait_limits``).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image

from bot.domain.errors import ArtifactMissing
from bot.domain.grid import GridGeometry, file_name, grid_geometry
from bot.domain.job import Job
from bot.files import atomic_write
from bot.services import imaging
from bot.services.decoding import FAULTS, opened, size_of, to_rgb
from bot.services.results import ResultFetcher
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import outlast

Made = TypeVar("Made")

PREVIEW_WIDTH: Final = 640
PREVIEW_HEIGHT: Final = 900
_EMPTY = (43, 45, 49)
_FOLDER = "prints"


class RenditionCache:
    """Makes prints from what the collector has brought home.

    Raises StoreUnavailable where the disk cannot be written to and the caller's waits are limited.
    """

    def __init__(
        self,
        fetcher: ResultFetcher,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._sleep = sleep

    async def grid(self, job: Job, limit: int) -> Path:
        """The grid as a file of at most ``limit`` bytes: itself, or written smaller.

        Raises ArtifactMissing if it is not here (any more).
        """
        return await self._fitted(job, self._fetcher.result(job).grid, limit)

    async def row(self, job: Job, row: int, limit: int) -> Path:
        """One row's strip in at most ``limit`` bytes. Raises ArtifactMissing."""
        return await self._fitted(job, self._fetcher.row_path(job.id, row), limit)

    async def image(self, job: Job, row: int, column: int, limit: int) -> Path:
        """One picture at full size, or as large as ``limit`` bytes allow.

        Raises ArtifactMissing.
        """
        if job.request.origin is not None:
            return await self.row(job, row, limit)
        strip = self._fetcher.row_path(job.id, row)
        target = self._folder(job) / file_name("image", row, column)
        # A strip is its grid's row with nothing above it.
        box = grid_geometry(job.request).cell_box(1, column)
        await self._made(job, lambda: _crop(strip, box, target))
        return await self._fitted(job, target, limit)

    async def preview(self, job: Job) -> Path | None:
        """The rows that are here so far, small, in their places; None while there is none."""
        if job.request.origin is not None:
            return None
        return await self._made(job, lambda: self._preview(job))

    def _preview(self, job: Job) -> Path | None:
        """Blocking."""
        strips = {row.number: self._fetcher.row_path(job.id, row.number) for row in job.rows}
        here = {number: path for number, path in strips.items() if path.exists()}
        if not here:
            return None
        name = "preview-" + "-".join(str(number) for number in here) + ".webp"
        target = self._folder(job) / name
        if target.exists():
            return target
        geometry = grid_geometry(job.request)
        width, height = geometry.size
        scale = min(1.0, PREVIEW_WIDTH / width, PREVIEW_HEIGHT / height)
        strip_size = max(1, int(width * scale)), max(1, int(height * scale / geometry.rows))
        canvas = Image.new("RGB", (strip_size[0], strip_size[1] * geometry.rows), _EMPTY)
        try:
            for number, path in here.items():
                with opened(path) as strip:
                    # Reducing in whole steps first costs a tenth of resampling every pixel.
                    small = to_rgb(strip).resize(strip_size, reducing_gap=2.0)
                canvas.paste(small, (0, (number - 1) * strip_size[1]))
        except FAULTS:
            return None  # a row that is not whole is the collector's to judge, not a preview's
        with disk_faults():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as part:
                canvas.save(part, "WEBP", quality=75, method=2)
        return target

    async def _fitted(self, job: Job, source: Path, limit: int) -> Path:
        return await self._made(job, lambda: _fit(job, source, limit, self._folder(job)))

    async def _made(self, job: Job, make: Callable[[], Made]) -> Made:
        """What ``make``, which blocks, gives; again and again while the disk does not let it."""
        return await outlast(
            "making a print", lambda: asyncio.to_thread(make), sleep=self._sleep, job=job.id
        )

    def _folder(self, job: Job) -> Path:
        return self._fetcher.folder(job.id) / _FOLDER


def _fit(job: Job, source: Path, limit: int, folder: Path) -> Path:
    """Blocking."""
    stem = f"{source.stem}-within-{limit}"
    try:
        with disk_faults():
            with opened(source) as picture:
                width, height = size_of(picture)
            folder.mkdir(parents=True, exist_ok=True)
            for known in folder.glob(f"{stem}.*"):
                return known
            # Made apart and then moved, so that nobody reads what somebody else is still writing.
            with tempfile.TemporaryDirectory(dir=folder) as apart:
                geometry = GridGeometry(width, height, 1, 1)
                fitted = imaging.fit_to_size(source, geometry, limit, Path(apart))
                if fitted == source:
                    return source
                return fitted.replace(folder / f"{stem}{fitted.suffix}")
    except FAULTS as error:
        raise ArtifactMissing(f"{source.name} of job {job.id} is not here: {error}") from error


def _crop(strip: Path, box: tuple[int, int, int, int], target: Path) -> None:
    """Blocking."""
    if target.exists():
        return
    try:
        with disk_faults():
            target.parent.mkdir(parents=True, exist_ok=True)
            imaging.crop(strip, box, target)
    except FAULTS as error:
        raise ArtifactMissing(f"{strip.name} is not here: {error}") from error
