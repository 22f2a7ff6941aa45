"""Replay a recorded run: the same log, signed with the job's own key, at the same pace.

For tests, demonstrations and fault injection. Progress follows from the clock and the submission
time, which is on disk, so a replay continues across restarts like a real job.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from bot.backends.base import FinalCost, Health, LifecycleEvent, LogLine, PriceQuote, Submission
from bot.backends.job_folders import copy_verified, put_input, resolve_artifact, write_private
from bot.domain.errors import ConfigError, LogStreamLost, SubmissionRejected, Unavailable
from bot.domain.events import Artifact, BackendJobRef, Cancelled, Exited
from bot.domain.grid import GridGeometry
from bot.domain.json_parser import parse_json
from bot.domain.log_markers import sign_marker
from bot.domain.workflow.document import Workflow


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """One line of the log, ``at`` seconds after submission.

    ``line`` is printed as it is; ``mark`` (``row-done row=1 seed=7``) is signed first. ``file``
    names the image that is published just before, and adds its size, digest and URL to the marker.
    """

    at: float
    line: str = ""
    mark: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded run: its lines in order of time, and its end ``tail`` seconds after the last."""

    lines: tuple[RecordedLine, ...]
    end_event: LifecycleEvent = field(default_factory=lambda: Exited(0))
    tail: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Load a recording: one JSON object a line with RecordedLine's fields, or ``{"exit": n}``.

        Raises ConfigError with file and line number.
        """
        lines: list[RecordedLine] = []
        end_event: LifecycleEvent = Exited(0)
        try:
            texts = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            hint = "Name a readable file."
            raise ConfigError("[backend.scripted] recording", str(error), hint) from error
        for number, text in enumerate(texts, 1):
            try:
                entry = parse_json(text)
                if "exit" in entry:
                    end_event = Exited(int(entry["exit"]))
                else:
                    lines.append(RecordedLine(**entry))
            except (ValueError, TypeError) as error:
                hint = 'Write {"at": seconds, "line" or "mark": text} or {"exit": status}.'
                raise ConfigError(f"{path}:{number}", str(error), hint) from error
        return cls(tuple(lines), end_event)


def synthetic_recording(
    workflow: Workflow,
    *,
    seconds: float = 0.0,
    failing: frozenset[int] = frozenset(),
    steps: int = 4,
    grid: bool = True,
) -> Recording:
    """Return the log that the stock workflow would print if its rows took ``seconds``."""
    env = {variable.key: variable.value for variable in workflow.env}
    rows, base = int(env.get("ROWS", "1")), int(env.get("SEED_BASE", "0"))
    numbers = range(1, rows + 1)
    lines = [
        RecordedLine(0.0, line="--- Job has started ---"),
        RecordedLine(0.0, mark=f"start rows={rows}"),
    ]
    lines += [RecordedLine(0.0, mark=f"row-start row={n} seed={base + n - 1}") for n in numbers]
    for step in range(1, steps + 1):
        percent = 100 * step // steps
        progress = (
            f"DDIM Sampler: {percent:3d}%|{'#' * (percent // 10):10}| {step}/{steps} [00:01<00:01]"
        )
        lines += [
            RecordedLine(seconds * step / steps, line=f"[row {n}] {progress}") for n in numbers
        ]
    for row in numbers:
        if row in failing:
            lines.append(RecordedLine(seconds, mark=f"row-failed row={row} rc=1"))
        else:
            name = f"row-{row:02d}.png"
            mark = f"row-done row={row} seed={base + row - 1}"
            lines.append(RecordedLine(seconds, mark=mark, file=name))
    ready = rows - len(failing)
    if ready and grid:
        lines.append(RecordedLine(seconds, mark=f"grid rows={ready}", file="grid.png"))
    lines.append(RecordedLine(seconds, mark=f"done ok={ready} failed={len(failing)}"))
    return Recording(tuple(lines), Exited(0 if ready else 1))


def synthetic_image(env: Mapping[str, str], name: str) -> bytes:
    """Return a row or grid of the right size, each cell's colour derived from its seed."""
    geometry = GridGeometry(
        width=int(env.get("WIDTH", "64")),
        height=int(env.get("HEIGHT", "64")),
        rows=int(env.get("ROWS", "1")) if name == "grid.png" else 1,
        samples=int(env.get("SAMPLES", "1")),
    )
    first = 1 if name == "grid.png" else int("".join(c for c in name if c.isdigit()) or "1")
    image = Image.new("RGB", geometry.size)
    draw = ImageDraw.Draw(image)
    for row in range(1, geometry.rows + 1):
        for column in range(1, geometry.samples + 1):
            seed = f"{env.get('SEED_BASE', '0')}/{first + row - 1}/{column}"
            colour = tuple(hashlib.sha256(seed.encode()).digest()[:3])
            left, top, right, bottom = geometry.cell_box(row, column)
            draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


NAME = "scripted"


@dataclass(slots=True)
class InjectedFaults:
    """The faults to inject next; each count is used up as it happens."""

    unavailable: int = 0
    lose_log: int = 0
    reject: str = ""
    missing: frozenset[str] = frozenset()


async def open(options: Mapping[str, object]) -> ScriptedBackend:
    """Open the backend. Jobs are kept in ``data_dir/scripted``.

    ``recording`` is a file; ``speed`` is a factor, 0 for no waiting at all.
    """
    recording = options.get("recording")
    return ScriptedBackend(
        Path(str(options["data_dir"])) / NAME,
        recording=Recording.load(Path(str(recording))) if recording else None,
        speed=float(str(options.get("speed", 1.0))),
    )


class ScriptedBackend:
    """Jobs are folders below ``root`` that hold the submission time and the published files."""

    name = NAME

    def __init__(
        self,
        root: Path,
        *,
        recording: Recording | Callable[[Submission], Recording] | None = None,
        speed: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root = root.resolve()
        self._recording = recording
        self._speed = speed or math.inf
        self._now = now
        self._wakeup = asyncio.Event()
        self._taken: dict[str, Submission] = {}
        self.faults = InjectedFaults()
        self.submitted: list[str] = []

    def upload_url(self, job_id: str) -> str:
        """Return the job's ``published`` folder as a ``file://`` URL."""
        return (self._root / job_id / "published").as_uri()

    async def put_input(self, job_id: str, source: Path) -> str:
        """Copy the file into the job's folder and return a ``file://`` URL."""
        self._raise_injected_faults()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await asyncio.to_thread(put_input, self._root / job_id, source)

    async def price(self, workflow: Workflow) -> PriceQuote:
        """Return no price: replays cost nothing."""
        return PriceQuote()

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Save the submission time and the workflow, unless the job was submitted before."""
        self._raise_injected_faults()
        if self.faults.reject:
            raise SubmissionRejected(self.faults.reject)
        folder = self._root / submission.job_id
        if not (folder / "taken").exists():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            document = json.dumps(submission.workflow.to_dict())
            write_private(folder / "workflow.json", document)
            (folder / "taken").write_text(repr(self._now()))
            self.submitted.append(submission.job_id)
        return BackendJobRef(NAME, submission.job_id)

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the job's handle if it was submitted."""
        self._raise_injected_faults()
        return BackendJobRef(NAME, job_id) if (self._root / job_id / "taken").exists() else None

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield the recording's lines when they are due; the cursor counts lines."""
        folder = self._root / handle.id
        submitted_at, submission = _read_job(folder)
        recording = self._select_recording(submission)
        for number, line in enumerate(recording.lines):
            if number < int(cursor or 0):
                continue
            if await self._cancelled_by(submitted_at + line.at / self._speed, folder):
                yield Cancelled(by=0)
                return
            if self.faults.lose_log:
                self.faults.lose_log -= 1
                raise LogStreamLost("the recording was cut")
            text = await asyncio.to_thread(self._render_line, line, submission)
            yield LogLine(text.encode() + b"\n", str(number + 1))
        if await self._cancelled_by(submitted_at + self._duration(recording), folder):
            yield Cancelled(by=0)
        else:
            yield recording.end_event

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Copy and verify a published file."""
        self._raise_injected_faults()
        source = resolve_artifact(artifact, self._root)
        if source.name in self.faults.missing:
            source.unlink()
            source = resolve_artifact(artifact, self._root)
        await asyncio.to_thread(copy_verified, source, artifact, target)

    async def cancel(self, handle: BackendJobRef) -> None:
        """End the replay at once, unless it has ended."""
        folder = self._root / handle.id
        submitted_at, submission = _read_job(folder)
        if self._now() >= submitted_at + self._duration(self._select_recording(submission)):
            return
        (folder / "cancelled").touch()
        self._wakeup.set()
        self._wakeup = asyncio.Event()

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Return None: replays cost nothing."""
        return None

    async def delete_job_data(self, job_id: str) -> None:
        """Delete the job's folder, unless its replay goes on."""
        folder = self._root / job_id
        if await self.find(job_id) is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # an input at most
            return
        submitted_at, submission = _read_job(folder)
        over = self._now() >= submitted_at + self._duration(self._select_recording(submission))
        if over or (folder / "cancelled").exists():
            await asyncio.to_thread(shutil.rmtree, folder)

    async def health(self) -> Health:
        """Return healthy unless a fault is injected."""
        if self.faults.unavailable:
            return Health(False, "unavailable by injected fault", "Wait.")
        return Health(True, "replays a recording")

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""

    def _raise_injected_faults(self) -> None:
        if self.faults.unavailable:
            self.faults.unavailable -= 1
            raise Unavailable("unavailable by injected fault")

    def _duration(self, recording: Recording) -> float:
        last = recording.lines[-1].at if recording.lines else 0.0
        return (last + recording.tail) / self._speed

    def _select_recording(self, submission: Submission) -> Recording:
        if callable(self._recording):
            return self._recording(submission)
        return self._recording or synthetic_recording(submission.workflow)

    async def _cancelled_by(self, moment: float, folder: Path) -> bool:
        while not (folder / "cancelled").exists():
            left = moment - self._now()
            if left <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wakeup.wait()
        return True

    def _render_line(self, line: RecordedLine, submission: Submission) -> str:
        env = {variable.key: variable.value for variable in submission.workflow.env}
        if not line.mark:
            return line.line
        kind, _, pairs = line.mark.partition(" ")
        fields = ["@@sd1", str(int(line.at * 1000)), kind, *pairs.split()]
        if line.file:
            path = self._root / submission.job_id / "published" / line.file
            data = synthetic_image(env, line.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            fields += [f"size={len(data)}", f"sha256={hashlib.sha256(data).hexdigest()}"]
            fields += [f"url={_base64(path.as_uri())}"]
        return sign_marker(bytes.fromhex(env["MAC_KEY"]), " ".join(fields))


def _read_job(folder: Path) -> tuple[float, Submission]:
    submitted_at = float((folder / "taken").read_text())
    document = parse_json((folder / "workflow.json").read_text(encoding="utf-8"))
    return submitted_at, Submission(folder.name, Workflow.from_dict(document))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
