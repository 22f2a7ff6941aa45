"""Recorded runs: what a job's log says and when, and the pictures that go with it.

Read from a file, or made up for a job of any size. Nothing is played here, and nothing signed:
that is the scripted backend's.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from bot.backends.base import LifecycleEvent
from bot.domain.errors import ConfigError
from bot.domain.events import Exited
from bot.domain.grid import GridGeometry
from bot.domain.workflow import Workflow


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """One line of the log, ``at`` seconds after the job was taken.

    ``line`` is said as it is; ``mark`` (``row-done row=1 seed=7``) is signed first. ``file`` names
    the picture that is published just before, and adds its size, digest and address to the marker.
    """

    at: float
    line: str = ""
    mark: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A run: its lines in order of time, and how it ends ``tail`` seconds after the last."""

    lines: tuple[RecordedLine, ...]
    end_event: LifecycleEvent = field(default_factory=lambda: Exited(0))
    tail: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read a recording: one JSON object a line with the fields of Beat, or ``{"exit": n}``.

        Raises ConfigError with the line.
        """
        beats: list[RecordedLine] = []
        ending: LifecycleEvent = Exited(0)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            mend = "Name a readable file."
            raise ConfigError("[backend.scripted] recording", str(error), mend) from error
        for number, text in enumerate(lines, 1):
            try:
                entry = json.loads(text)
                if "exit" in entry:
                    ending = Exited(int(entry["exit"]))
                else:
                    beats.append(RecordedLine(**entry))
            except (ValueError, TypeError) as error:
                mend = 'Write {"at": seconds, "line" or "mark": text} or {"exit": status}.'
                raise ConfigError(f"{path}:{number}", str(error), mend) from error
        return cls(tuple(beats), ending)


def synthetic_recording(
    workflow: Workflow,
    *,
    seconds: float = 0.0,
    failing: frozenset[int] = frozenset(),
    steps: int = 4,
    grid: bool = True,
) -> Recording:
    """What the stock workflow would say for this job if its rows took ``seconds``."""
    env = {variable.key: variable.value for variable in workflow.env}
    rows, base = int(env.get("ROWS", "1")), int(env.get("SEED_BASE", "0"))
    numbers = range(1, rows + 1)
    beats = [
        RecordedLine(0.0, line="--- Job has started ---"),
        RecordedLine(0.0, mark=f"start rows={rows}"),
    ]
    beats += [RecordedLine(0.0, mark=f"row-start row={n} seed={base + n - 1}") for n in numbers]
    for step in range(1, steps + 1):
        percent = 100 * step // steps
        bar = (
            f"DDIM Sampler: {percent:3d}%|{'#' * (percent // 10):10}| {step}/{steps} [00:01<00:01]"
        )
        beats += [RecordedLine(seconds * step / steps, line=f"[row {n}] {bar}") for n in numbers]
    for row in numbers:
        if row in failing:
            beats.append(RecordedLine(seconds, mark=f"row-failed row={row} rc=1"))
        else:
            name = f"row-{row:02d}.png"
            mark = f"row-done row={row} seed={base + row - 1}"
            beats.append(RecordedLine(seconds, mark=mark, file=name))
    ready = rows - len(failing)
    if ready and grid:
        beats.append(RecordedLine(seconds, mark=f"grid rows={ready}", file="grid.png"))
    beats.append(RecordedLine(seconds, mark=f"done ok={ready} failed={len(failing)}"))
    return Recording(tuple(beats), Exited(0 if ready else 1))


def synthetic_image(env: Mapping[str, str], name: str) -> bytes:
    """A strip or grid of the right size: each cell one colour that follows from seed and place."""
    geometry = GridGeometry(
        width=int(env.get("WIDTH", "64")),
        height=int(env.get("HEIGHT", "64")),
        rows=int(env.get("ROWS", "1")) if name == "grid.png" else 1,
        samples=int(env.get("SAMPLES", "1")),
    )
    first = 1 if name == "grid.png" else int("".join(c for c in name if c.isdigit()) or "1")
    picture = Image.new("RGB", geometry.size)
    pen = ImageDraw.Draw(picture)
    for row in range(1, geometry.rows + 1):
        for column in range(1, geometry.samples + 1):
            seed = f"{env.get('SEED_BASE', '0')}/{first + row - 1}/{column}"
            colour = tuple(hashlib.sha256(seed.encode()).digest()[:3])
            left, top, right, bottom = geometry.cell_box(row, column)
            pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
