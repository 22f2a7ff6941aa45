"""Measure the image check: what one image costs, and how late the event loop is meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import show
from bot.domain.errors import ImageCheckFailed
from bot.domain.grid import GridGeometry
from bot.domain.image_check import NUDENET_LABELS
from bot.services import imaging
from bot.services.image_detector import ImageDetector, load_model
from tests.image_check_component import MODEL, landscape

GEOMETRY = GridGeometry(768, 768, 1, 3)
ROWS = 20
COLOURS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def main() -> None:
    """Print the time for an image, for the first one, and the memory."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_measure(Path(name)))


async def _measure(folder: Path) -> None:
    labels = folder / "labels.txt"
    labels.write_text("\n".join(NUDENET_LABELS), "utf-8")
    row = folder / "row-01.png"
    picture = landscape(GEOMETRY.width)
    strip = picture.resize(GEOMETRY.strip_size)
    strip.save(row)
    imaging.verify_image(row)
    boxes = [GEOMETRY.cell_box(1, column) for column in range(1, GEOMETRY.samples + 1)]
    detector = ImageDetector(
        partial(load_model, MODEL, labels, 0, *COLOURS), NUDENET_LABELS[:1], timeout_s=60
    )
    stalls: list[float] = []
    watching = asyncio.create_task(_watch(stalls))
    try:
        began = time.perf_counter()
        await detector.start()
        started = time.perf_counter() - began
        assert detector.pid is not None
        times, cpu_before = [], _cpu_seconds(detector.pid)
        for _ in range(ROWS):
            began = time.perf_counter()
            await detector.scores(row, boxes)
            times.append((time.perf_counter() - began) / len(boxes))
        cpu = (_cpu_seconds(detector.pid) - cpu_before) / ROWS / len(boxes)
        resident = _resident_mb(detector.pid)
    except ImageCheckFailed as error:
        show("image check", f"{error}: run scripts/components")
        return
    finally:
        watching.cancel()
        await detector.aclose()
    size = f"{GEOMETRY.width} × {GEOMETRY.height} px"
    middle, worst = statistics.median(times), max(times)
    show(f"image check, one image of {size}", f"{middle * 1e3:.0f} ms (worst {worst * 1e3:.0f} ms)")
    show("  of a processor", f"{cpu * 1e3:.0f} ms")
    show("  process start → model loaded", f"{started:.2f} s")
    show("  resident memory of the process", f"{resident:.0f} MB")
    show("  longest stall of the event loop", f"{max(stalls) * 1e3:.0f} ms", "goal < 50 ms")


async def _watch(stalls: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.002)
        stalls.append(time.perf_counter() - began - 0.002)


def _cpu_seconds(pid: int) -> float:
    """Return what a process has used of a processor, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
