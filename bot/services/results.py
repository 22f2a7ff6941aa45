"""Fetch and verify a job's images: rows as they become ready, the grid at the end.

The backend checks each file against its marker; here it is checked to be an image of the right
size. Missing rows are left out, and a missing grid is composed from the rows. All files of a job
are in ``<images>/<job id>/``. While the disk is full or cannot be written to, it is tried again: no
row is lost because of it.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.backends.base import Backend
from bot.domain.errors import ArtifactDamaged, ArtifactMissing, Unavailable
from bot.domain.events import Artifact
from bot.domain.grid import GridGeometry, file_name, grid_geometry
from bot.domain.job import Job, Row
from bot.domain.request import Request
from bot.files import atomic_write, remove_temporary_files
from bot.services import imaging
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import outlast

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.5, 2.0, 5.0)
# Rows exist nowhere else, so they are tried for half an hour; a grid can be composed here.
OUTAGE_DELAYS_S = (*RETRY_DELAYS_S, 10.0, 30.0, *(60.0,) * 30)
# A damaged file is fetched again for some two minutes: the transfer may have been at fault, but a
# file that was published damaged, or has expired, stays so.
DAMAGED_DELAYS_S = (*RETRY_DELAYS_S, 10.0, 30.0, 60.0)
_TEMP_PREFIX = ".fetching-"


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job's result on disk: the grid, and the strips of the rows that exist."""

    folder: Path
    grid: Path
    rows: tuple[tuple[int, Path], ...]

    @property
    def metadata(self) -> Path:
        """Return the JSON file with prompt, seeds, settings, times and digests."""
        return self.folder / "metadata.json"


class ResultFetcher:
    """Fetch each row as soon as it is announced, and the rest when the run has ended.

    ``root`` holds a folder for each job.
    """

    def __init__(
        self,
        backend: Backend,
        root: Path,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self.root = root
        self._now = now
        self._sleep = sleep
        self._fetching: dict[tuple[str, int], tuple[Artifact, asyncio.Task[Path]]] = {}

    def folder(self, job_id: str) -> Path:
        """Return the folder of the job's images."""
        return self.root / job_id

    def row_path(self, job_id: str, row: int) -> Path:
        """Return the path of a row's strip, fetched or not."""
        return self.folder(job_id) / file_name("row", row)

    def prefetch_row(self, job: Job, row: Row) -> asyncio.Task[Path]:
        """Start to fetch an announced row, unless that has begun, and return the task."""
        assert row.artifact is not None, "only a published row is fetched"
        key = (job.id, row.number)
        artifact, running = self._fetching.get(key, (None, None))
        if running is not None and artifact == row.artifact:
            return running
        if running is not None:
            # The artifact of an earlier run may not exist any more.
            running.cancel()
        fetching = asyncio.get_running_loop().create_task(
            self._fetch_row(job, row.number, row.artifact)
        )
        # ``fetch_all`` reads the exception; a job that is discarded never gets there.
        fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._fetching[key] = row.artifact, fetching
        return fetching

    async def fetch_all(self, job: Job) -> tuple[int, ...]:
        """Fetch the missing rows and the grid, and return the numbers of the fetched rows.

        Idempotent. Raises ArtifactMissing if there is not a single row.
        """
        rows = job.ready_rows
        outcomes = await asyncio.gather(
            *(self.prefetch_row(job, row) for row in rows), return_exceptions=True
        )
        fetched: list[int] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            self._fetching.pop((job.id, row.number), None)
            if isinstance(outcome, Path):
                fetched.append(row.number)
            elif isinstance(outcome, ArtifactMissing | Unavailable):
                log.warning(
                    "row %d could not be fetched: %s", row.number, outcome, extra={"job": job.id}
                )
            else:
                raise outcome
        if not fetched:
            raise ArtifactMissing("none of the announced rows could be fetched")
        await self._write_when_possible(
            job, file_name("grid"), lambda: self._fetch_or_compose_grid(job, fetched)
        )
        await asyncio.to_thread(_remove_temp_files, self.folder(job.id))
        metadata = functools.partial(asyncio.to_thread, self._write_metadata, job, fetched)
        await self._write_when_possible(job, "metadata.json", metadata)
        return tuple(fetched)

    def result(self, job: Job) -> JobResult:
        """Return the files of a job after ``fetch_all``."""
        folder = self.folder(job.id)
        rows = tuple((number, self.row_path(job.id, number)) for number in job.fetched_rows)
        return JobResult(folder, folder / file_name("grid"), rows)

    def discard(self, job_id: str) -> None:
        """Stop fetching for a job; ``fetch_all`` will not be called."""
        for key in [key for key in self._fetching if key[0] == job_id]:
            self._fetching.pop(key)[1].cancel()

    async def _fetch_row(self, job: Job, number: int, artifact: Artifact) -> Path:
        target = self.row_path(job.id, number)
        size = None if job.request.origin else grid_geometry(job.request).strip_size
        await self._write_when_possible(
            job, target.name, lambda: self._fetch_apart(artifact, target, size)
        )
        return target

    async def _fetch_apart(
        self, artifact: Artifact, target: Path, size: tuple[int, int] | None
    ) -> None:
        """Fetch to a temporary folder first, since an earlier fetch may still be writing."""
        if await asyncio.to_thread(_is_announced, target, artifact):
            await self._fetch(artifact, target, size)
            return
        await asyncio.to_thread(target.unlink, missing_ok=True)
        apart = await asyncio.to_thread(_make_temp_folder, target.parent)
        try:
            await self._fetch(artifact, apart / target.name, size)
            await asyncio.to_thread((apart / target.name).replace, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, apart, ignore_errors=True)

    async def _write_when_possible(
        self, job: Job, what: str, write: Callable[[], Awaitable[None]]
    ) -> None:
        """Call ``write``, again while the disk is unavailable. Raises its other errors."""

        async def attempt() -> None:
            with disk_faults():
                await write()

        await outlast(f"writing {what}", attempt, sleep=self._sleep, job=job.id)

    async def _fetch(
        self,
        artifact: Artifact,
        target: Path,
        size: tuple[int, int] | None,
        *,
        decode: bool = True,
        after_outage: tuple[float, ...] = OUTAGE_DELAYS_S,
        after_damage: tuple[float, ...] = DAMAGED_DELAYS_S,
    ) -> None:
        # An existing file may be from an earlier run, or cut off by a crash.
        if not await asyncio.to_thread(_is_announced, target, artifact):
            await asyncio.to_thread(target.unlink, missing_ok=True)
            await self._fetch_with_retries(artifact, target, after_outage, after_damage)
        await asyncio.to_thread(imaging.delete_if_invalid, target, size, decode=decode)

    async def _fetch_with_retries(
        self,
        artifact: Artifact,
        target: Path,
        after_outage: tuple[float, ...],
        after_damage: tuple[float, ...],
    ) -> None:
        """Fetch, again after an outage or when the file is not the one that was announced."""
        outage_delays, damage_delays = iter(after_outage), iter(after_damage)
        while True:
            try:
                await self._backend.fetch(artifact, target)
                return
            except (Unavailable, ArtifactDamaged) as error:
                pause = next(
                    outage_delays if isinstance(error, Unavailable) else damage_delays, None
                )
                if pause is None:
                    raise
                log.warning("fetching %s again in %g s: %s", target.name, pause, error)
            await self._sleep(pause)

    async def _fetch_or_compose_grid(self, job: Job, fetched: list[int]) -> None:
        grid = self.folder(job.id) / file_name("grid")
        geometry = self._geometry(job, fetched)
        if job.grid is not None and len(fetched) == len(job.ready_rows):
            try:
                # Its digest was signed, so it is not decoded: the member is waiting.
                size = geometry.size if geometry else None
                await self._fetch(
                    *(job.grid, grid, size),
                    decode=False,
                    after_outage=RETRY_DELAYS_S,
                    after_damage=RETRY_DELAYS_S,
                )
            except (ArtifactMissing, Unavailable) as error:
                log.warning("the grid is composed from the rows: %s", error, extra={"job": job.id})
            else:
                return
        strips = [self.row_path(job.id, number) for number in fetched]
        await asyncio.to_thread(imaging.stack_rows, strips, grid)

    @staticmethod
    def _geometry(job: Job, fetched: list[int]) -> GridGeometry | None:
        request = job.request
        if request.origin is not None:
            return None
        return GridGeometry(request.width, request.height, len(fetched), request.samples)

    def _write_metadata(self, job: Job, fetched: list[int]) -> None:
        """Write what is needed to make the images again, and their digests. Blocking."""
        folder = self.folder(job.id)
        files = {path.name: _sha256(path) for path in sorted(folder.glob("*.png"))}
        request = job.request
        metadata = {
            "job": job.id,
            "prompt": request.prompt,
            "negative": request.negative,
            "style": request.style,
            **_engine_metadata(job),
            "width": request.width,
            "height": request.height,
            "rows": request.rows,
            "samples": request.samples,
            "seed": request.seed,
            "row_seeds": {row.number: row.seed for row in job.rows if row.number in fetched},
            "missing_rows": [row.number for row in job.rows if row.number not in fetched],
            "init_image": _init_image_metadata(request),
            "show": request.to_prompt(),
            "created_at": job.created_at.isoformat(),
            "started_at": job.started_at.isoformat() if job.started_at else None,
            "collected_at": self._now().isoformat(),
            "sha256": files,
        }
        text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
        with atomic_write(folder / "metadata.json") as part:
            part.write_text(text, encoding="utf-8")


def _is_announced(path: Path, artifact: Artifact) -> bool:
    try:
        return path.stat().st_size == artifact.size and _sha256(path) == artifact.sha256
    except OSError:
        return False


def _engine_metadata(job: Job) -> dict[str, object]:
    """Return the engine, its model and its steps; None where the engine did not report it."""
    generation = job.generation[0] if job.generation else None
    requested = job.request.model
    return {
        "painter": job.made_with,
        "engine": generation.engine if generation else None,
        "model": (generation.model if generation else requested) or None,
        "requested_model": requested or None,
        "guidance": float(generation.guidance) if generation and generation.guidance else None,
        "sampler": (generation.sampler if generation else "") or None,
        "model_sha256": (generation.model_sha256 if generation else "") or None,
        "negative_acts": generation.negative if generation else None,
        "steps": job.request.steps,
        "steps_run": job.steps_run or None,
    }


def _init_image_metadata(request: Request) -> dict[str, object] | None:
    """Return the picture that the images start from, None if there is none."""
    start = request.init_image
    if start is None:
        return None
    return {"sha256": start.sha256, "strength": start.strength}


def _make_temp_folder(folder: Path) -> Path:
    """Make a folder for one fetch. Blocking."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_TEMP_PREFIX, dir=folder))


def _remove_temp_files(folder: Path) -> None:
    """Remove what killed fetches have left. Blocking."""
    for apart in folder.glob(f"{_TEMP_PREFIX}*"):
        shutil.rmtree(apart, ignore_errors=True)
    remove_temporary_files(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
