"""Bringing a job's pictures home: rows as they become ready, the grid at the end.

Each file is fetched once, checked by the backend against its marker, and here for being a picture
of the right size. What cannot be had is left out: a grid is composed here from the rows that exist
when the workflow's own is missing. All files of a job lie in ``<pictures>/<job id>/``. A disk that
is full or cannot be written to is waited out; no row is lost because of it.
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
from bot.files import atomic_write, remove_temporary_files
from bot.services import imaging
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import outlast

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.5, 2.0, 5.0)
# Rows exist nowhere else, so half an hour of outage is waited out; a grid can be composed here.
OUTAGE_SECONDS = (*RETRY_SECONDS, 10.0, 30.0, *(60.0,) * 30)
# A file that came damaged is fetched again over some two minutes: the way to it may mend, but a
# file that was published damaged, or has expired, never will.
DAMAGED_SECONDS = (*RETRY_SECONDS, 10.0, 30.0, 60.0)
_PLACE = ".fetching-"


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job's result on disk: the grid, and the strips of the rows that are there."""

    folder: Path
    grid: Path
    rows: tuple[tuple[int, Path], ...]

    @property
    def metadata(self) -> Path:
        """Prompt, seeds, settings, timings and digests, as JSON."""
        return self.folder / "metadata.json"


class ResultFetcher:
    """Fetches and checks; ``begin`` as soon as a row is announced, ``collect`` when all are."""

    def __init__(
        self,
        backend: Backend,
        root: Path,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._root = root
        self._now = now
        self._sleep = sleep
        self._fetching: dict[tuple[str, int], tuple[Artifact, asyncio.Task[Path]]] = {}

    def folder(self, job_id: str) -> Path:
        """Where the job's pictures lie."""
        return self._root / job_id

    def row_path(self, job_id: str, row: int) -> Path:
        """Where a row's strip lies once it is here."""
        return self.folder(job_id) / file_name("row", row)

    def prefetch_row(self, job: Job, row: Row) -> asyncio.Task[Path]:
        """Start fetching a row that was announced, if that has not begun; never raises here."""
        assert row.artifact is not None, "only a published row is fetched"
        key = (job.id, row.number)
        artifact, before = self._fetching.get(key, (None, None))
        if before is not None and artifact == row.artifact:
            return before
        if before is not None:
            # What an earlier run announced is not waited for: it may be gone for good.
            before.cancel()
        fetching = asyncio.get_running_loop().create_task(self._row(job, row.number, row.artifact))
        # Whoever collects the job reads the outcome; until then nobody may have to.
        fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._fetching[key] = row.artifact, fetching
        return fetching

    async def fetch_all(self, job: Job) -> tuple[int, ...]:
        """Fetch what is still missing, make the grid; the numbers of the rows that are here.

        Raises ArtifactMissing when not a single row is.
        """
        rows = job.ready_rows
        outcomes = await asyncio.gather(
            *(self.prefetch_row(job, row) for row in rows), return_exceptions=True
        )
        here: list[int] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            self._fetching.pop((job.id, row.number), None)
            if isinstance(outcome, Path):
                here.append(row.number)
            elif isinstance(outcome, ArtifactMissing | Unavailable):
                log.warning("row %d is lost: %s", row.number, outcome, extra={"job": job.id})
            else:
                raise outcome
        if not here:
            raise ArtifactMissing("none of the announced rows could be fetched")
        await self._written(job, file_name("grid"), lambda: self._grid(job, here))
        await asyncio.to_thread(_remove_places, self.folder(job.id))
        metadata = functools.partial(asyncio.to_thread, self._write_metadata, job, here)
        await self._written(job, "metadata.json", metadata)
        return tuple(here)

    def result(self, job: Job) -> JobResult:
        """The files of a job that was collected."""
        folder = self.folder(job.id)
        rows = tuple((number, self.row_path(job.id, number)) for number in job.fetched_rows)
        return JobResult(folder, folder / file_name("grid"), rows)

    def discard(self, job_id: str) -> None:
        """Stop fetching for a job that will not be collected."""
        for key in [key for key in self._fetching if key[0] == job_id]:
            self._fetching.pop(key)[1].cancel()

    async def _row(self, job: Job, number: int, artifact: Artifact) -> Path:
        target = self.row_path(job.id, number)
        size = None if job.request.origin else grid_geometry(job.request).strip_size
        await self._written(job, target.name, lambda: self._bring(artifact, target, size))
        return target

    async def _bring(self, artifact: Artifact, target: Path, size: tuple[int, int] | None) -> None:
        """Fetch to a place of its own first: what an earlier fetch still writes lies elsewhere."""
        if await asyncio.to_thread(_is_announced, target, artifact):
            await self._fetch(artifact, target, size)
            return
        await asyncio.to_thread(target.unlink, missing_ok=True)
        place = await asyncio.to_thread(_make_place, target.parent)
        try:
            await self._fetch(artifact, place / target.name, size)
            await asyncio.to_thread((place / target.name).replace, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _written(self, job: Job, what: str, write: Callable[[], Awaitable[None]]) -> None:
        """Write a file, again and again while the disk does not take it; errors are raised."""

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
        outages: tuple[float, ...] = OUTAGE_SECONDS,
        damages: tuple[float, ...] = DAMAGED_SECONDS,
    ) -> None:
        # What lies here already may be an earlier run's, or have been cut short by a crash.
        if not await asyncio.to_thread(_is_announced, target, artifact):
            await asyncio.to_thread(target.unlink, missing_ok=True)
            await self._fetch_patiently(artifact, target, outages, damages)
        await asyncio.to_thread(imaging.delete_if_invalid, target, size, decode=decode)

    async def _fetch_patiently(
        self,
        artifact: Artifact,
        target: Path,
        outages: tuple[float, ...],
        damages: tuple[float, ...],
    ) -> None:
        """Fetch; again after an outage, or when something else came than was announced."""
        away, damaged = iter(outages), iter(damages)
        while True:
            try:
                await self._backend.fetch(artifact, target)
                return
            except (Unavailable, ArtifactDamaged) as error:
                pause = next(away if isinstance(error, Unavailable) else damaged, None)
                if pause is None:
                    raise
                log.warning("fetching %s again in %g s: %s", target.name, pause, error)
            await self._sleep(pause)

    async def _grid(self, job: Job, here: list[int]) -> None:
        grid = self.folder(job.id) / file_name("grid")
        geometry = self._geometry(job, here)
        if job.grid is not None and len(here) == len(job.ready_rows):
            try:
                # Its digest was signed, and everybody waits for it: it is not decoded to be sure.
                size = geometry.size if geometry else None
                await self._fetch(
                    *(job.grid, grid, size),
                    decode=False,
                    outages=RETRY_SECONDS,
                    damages=RETRY_SECONDS,
                )
            except (ArtifactMissing, Unavailable) as error:
                log.warning("the grid is composed here: %s", error, extra={"job": job.id})
            else:
                return
        strips = [self.row_path(job.id, number) for number in here]
        await asyncio.to_thread(imaging.stack_rows, strips, grid)

    @staticmethod
    def _geometry(job: Job, here: list[int]) -> GridGeometry | None:
        request = job.request
        if request.origin is not None:
            return None
        return GridGeometry(request.width, request.height, len(here), request.samples)

    def _write_metadata(self, job: Job, here: list[int]) -> None:
        """Blocking. What a picture needs to be made again, and what tells that it is the same."""
        folder = self.folder(job.id)
        files = {path.name: _sha256(path) for path in sorted(folder.glob("*.png"))}
        request = job.request
        metadata = {
            "job": job.id,
            "prompt": request.prompt,
            "negative": request.negative,
            "style": request.style,
            **_painter(job),
            "width": request.width,
            "height": request.height,
            "rows": request.rows,
            "samples": request.samples,
            "seed": request.seed,
            "row_seeds": {row.number: row.seed for row in job.rows if row.number in here},
            "missing_rows": [row.number for row in job.rows if row.number not in here],
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


def _painter(job: Job) -> dict[str, object]:
    """What painted, and with how many steps; null where no painter has said it."""
    said = job.painted[0] if job.painted else None
    asked = job.request.model
    return {
        "painter": job.painter,
        "engine": said.engine if said else None,
        "model": (said.model if said else asked) or None,
        "guidance": float(said.guidance) if said and said.guidance else None,
        "negative_acts": said.negative if said else None,
        "steps": job.request.steps,
        "steps_run": job.steps_run or None,
    }


def _make_place(folder: Path) -> Path:
    """Blocking. A new folder for one fetch, which nobody else uses."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_PLACE, dir=folder))


def _remove_places(folder: Path) -> None:
    """Blocking. Remove what fetches have left that were killed."""
    for place in folder.glob(f"{_PLACE}*"):
        shutil.rmtree(place, ignore_errors=True)
    remove_temporary_files(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
