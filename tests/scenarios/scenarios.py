"""Recordings for the scripted backend, as files: what a run of some rows says, and when."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

NEVER = 86_400.0
"""Seconds: later than any test; only a cancellation ends what lasts so long."""


def write_play(
    path: Path,
    *,
    rows: int = 2,
    failing: Collection[int] = (),
    steps: int = 4,
    seconds: float = 0.0,
    ends_at: float | None = None,
) -> Path:
    """A run whose rows take ``seconds`` each, side by side; ``path`` for the settings.

    The rows in ``failing`` end without a picture. ``ends_at``: the last row, and so the run, is
    ready only then.
    """
    numbers = range(1, rows + 1)
    end = seconds if ends_at is None else ends_at
    beats: list[dict[str, object]] = [
        {"at": 0.0, "line": "--- Job has started ---"},
        {"at": 0.0, "mark": f"start rows={rows}"},
        *({"at": 0.0, "mark": f"row-start row={row} seed={row}"} for row in numbers),
    ]
    for step in range(1, steps + 1):
        percent = 100 * step // steps
        bar = f"DDIM Sampler: {percent:3d}%|{'#' * (percent // 10):10}| {step}/{steps} [00:01<0:1]"
        at = seconds * step / steps
        beats += [{"at": at, "line": f"[row {row}] {bar}"} for row in numbers]
    for row in numbers:
        at = end if row == rows else seconds
        if row in failing:
            beats.append({"at": at, "mark": f"row-failed row={row} rc=1"})
        else:
            mark = f"row-done row={row} seed={row}"
            beats.append({"at": at, "mark": mark, "file": f"row-{row:02d}.png"})
    ready = rows - len(failing)
    beats.append({"at": end, "mark": f"done ok={ready} failed={len(failing)}"})
    lines = [*beats, {"exit": 0 if ready else 1}]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path
