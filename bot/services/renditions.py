"""Renditions of a job's images: the grid within a size limit, one image, a preview.

They are cached on disk beside the originals. The work is done in threads. While the disk cannot be
written to, it is tried again, as with the database (``bot.store.wait_limits``).
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
from bot.services.decoding import DECODE_ERRORS, open_image, to_rgb, upright_size
from bot.services.results import ResultFetcher
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import outlast

Result = TypeVar("Result")

MAX_PREVIEW_WIDTH: Final = 640
MAX_PREVIEW_HEIGHT: Final = 900
_BACKGROUND = (43, 45, 49)
RENDITIONS: Final = "prints"
"""The folder with renditions, in that of a job."""


class RenditionCache:
    """Make and cache renditions of fetched images.

    All methods raise StoreUnavailable if the disk cannot be written to and the caller's waits are
    limited.
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
        """Return the grid as a file of at most ``limit`` bytes: itself, or a smaller copy.

        Raises ArtifactMissing if it does not exist (any more).
        """
        return await self._fit_to_limit(job, self._fetcher.result(job).grid, limit)

    async def row(self, job: Job, row: int, limit: int) -> Path:
        """Return a row's strip in at most ``limit`` bytes. Raises ArtifactMissing."""
        return await self._fit_to_limit(job, self._fetcher.row_path(job.id, row), limit)

    async def image(self, job: Job, row: int, column: int, limit: int) -> Path:
        """Return one image at full size, or as large as ``limit`` bytes allow.

        Raises ArtifactMissing.
        """
        if job.request.origin is not None:
            return await self.row(job, row, limit)
        strip = self._fetcher.row_path(job.id, row)
        target = self._folder(job) / file_name("image", row, column)
        # The strip is one row, so the box is that of the cell in a grid of one row.
        box = grid_geometry(job.request).cell_box(1, column)
        await self._run_when_possible(job, lambda: _crop_file(strip, box, target))
        return await self._fit_to_limit(job, target, limit)

    async def preview(self, job: Job) -> Path | None:
        """Return a small grid of the rows fetched so far, in their places; None without any."""
        if job.request.origin is not None:
            return None
        return await self._run_when_possible(job, lambda: self._write_preview(job))

    def _write_preview(self, job: Job) -> Path | None:
        """Write the preview and return its path. Blocking."""
        strips = {row.number: self._fetcher.row_path(job.id, row.number) for row in job.rows}
        strips_here = {number: path for number, path in strips.items() if path.exists()}
        if not strips_here:
            return None
        name = "preview-" + "-".join(str(number) for number in strips_here) + ".webp"
        target = self._folder(job) / name
        if target.exists():
            return target
        geometry = grid_geometry(job.request)
        width, height = geometry.size
        scale = min(1.0, MAX_PREVIEW_WIDTH / width, MAX_PREVIEW_HEIGHT / height)
        small_size = max(1, int(width * scale)), max(1, int(height * scale / geometry.rows))
        canvas = Image.new("RGB", (small_size[0], small_size[1] * geometry.rows), _BACKGROUND)
        try:
            for number, path in strips_here.items():
                with open_image(path) as strip:
                    # Reducing in whole steps first takes a tenth of the time.
                    small = to_rgb(strip).resize(small_size, reducing_gap=2.0)
                canvas.paste(small, (0, (number - 1) * small_size[1]))
        except DECODE_ERRORS:
            return None  # ``ResultFetcher`` judges rows that are damaged
        with disk_faults():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as part:
                canvas.save(part, "WEBP", quality=75, method=2)
        return target

    async def _fit_to_limit(self, job: Job, source: Path, limit: int) -> Path:
        return await self._run_when_possible(
            job, lambda: _fit_file(job, source, limit, self._folder(job))
        )

    async def _run_when_possible(self, job: Job, make: Callable[[], Result]) -> Result:
        """Return the result of the blocking ``make``, run again while the disk is unavailable."""
        return await outlast(
            "making a rendition", lambda: asyncio.to_thread(make), sleep=self._sleep, job=job.id
        )

    def _folder(self, job: Job) -> Path:
        return self._fetcher.folder(job.id) / RENDITIONS


def _fit_file(job: Job, source: Path, limit: int, folder: Path) -> Path:
    """Return ``source`` or a smaller copy of it in ``folder``. Blocking."""
    stem = f"{source.stem}-within-{limit}"
    try:
        with disk_faults():
            with open_image(source) as picture:
                width, height = upright_size(picture)
            folder.mkdir(parents=True, exist_ok=True)
            for known in folder.glob(f"{stem}.*"):
                return known
            # Written apart and then moved, so that nobody reads a file that is being written.
            with tempfile.TemporaryDirectory(dir=folder) as apart:
                geometry = GridGeometry(width, height, 1, 1)
                fitted = imaging.fit_to_size(source, geometry, limit, Path(apart))
                if fitted == source:
                    return source
                return fitted.replace(folder / f"{stem}{fitted.suffix}")
    except DECODE_ERRORS as error:
        raise ArtifactMissing(f"{source.name} of job {job.id} is missing: {error}") from error


def _crop_file(strip: Path, box: tuple[int, int, int, int], target: Path) -> None:
    """Write the box of a strip to ``target`` unless that exists. Blocking."""
    if target.exists():
        return
    try:
        with disk_faults():
            target.parent.mkdir(parents=True, exist_ok=True)
            imaging.crop(strip, box, target)
    except DECODE_ERRORS as error:
        raise ArtifactMissing(f"{strip.name} is missing: {error}") from error
