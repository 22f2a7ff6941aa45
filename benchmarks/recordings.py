"""Write recordings for the scripted backend, with a given duration and number of log lines."""

from __future__ import annotations

import json
from pathlib import Path


def write(path: Path, *, seconds: float, rows: int = 1, lines: int = 4, grid: bool = True) -> Path:
    """Write a recording and return its path.

    Each row logs its progress in ``lines`` lines. Rows are published at four fifths of the time,
    the grid and the last marker at ``seconds``.
    """
    numbers = range(1, rows + 1)
    beats: list[dict[str, object]] = [
        {"at": 0.0, "line": "--- Job has started ---"},
        {"at": 0.0, "mark": f"start rows={rows}"},
    ]
    beats += [{"at": 0.0, "mark": f"row-start row={row} seed={row}"} for row in numbers]
    rows_done_at = seconds * 0.8
    for step in range(1, lines + 1):
        bar = f"DDIM Sampler: {100 * step // lines:3d}%|#####     | {step}/{lines} [00:01<00:01]"
        at = rows_done_at * step / lines
        beats += [{"at": at, "line": f"[row {row}] {bar}"} for row in numbers]
    for row in numbers:
        mark = f"row-done row={row} seed={row}"
        beats.append({"at": rows_done_at, "mark": mark, "file": f"row-{row:02d}.png"})
    if grid:
        mark = f"grid rows={rows}"
        beats.append({"at": seconds, "mark": mark, "file": "grid.png"})
    beats.append({"at": seconds, "mark": f"done ok={rows} failed=0"})
    path.write_text("".join(json.dumps(beat) + "\n" for beat in beats), encoding="utf-8")
    return path
