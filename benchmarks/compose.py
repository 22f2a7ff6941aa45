"""Compare composing a 4 × 3 grid of 768 px from its rows with ImageMagick."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import compare, show
from bot.domain.grid import GridGeometry
from bot.services import imaging

GEOMETRY = GridGeometry(768, 768, 4, 3)


def _write_strips(folder: Path) -> list[Path]:
    """Write four strips that compress like photographs: gradients with noise."""
    width, height = GEOMETRY.strip_size
    generator = np.random.default_rng(7)
    paths = []
    for row in range(1, GEOMETRY.rows + 1):
        slope = np.linspace(0, 200, width)[None, :, None] + np.arange(3) * 10
        noise = generator.normal(0, 6, (height, width, 3))
        pixels = np.clip(slope + noise, 0, 255).astype(np.uint8)
        path = folder / f"row-{row:02}.png"
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def main() -> None:
    """Print both times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        strips = _write_strips(folder)
        composed, appended = folder / "ours.png", folder / "theirs.png"
        program = _find_imagemagick()
        if program is None:
            show("compose 4 × 3 of 768 px", "ImageMagick is not installed: nothing to compare")
            return
        command = [program, "-append", *map(str, strips), str(appended)]
        result = compare(
            lambda: imaging.stack_rows(strips, composed),
            lambda: subprocess.run(command, check=True),
        )
        with Image.open(composed) as one, Image.open(appended) as other:
            same = one.convert("RGB").tobytes() == other.convert("RGB").tobytes()
        first, second = statistics.median(result.first), statistics.median(result.second)
        figure = f"{result.ratio:.2f} ({first:.2f} s / {second:.2f} s)"
        show("compose 4 × 3 of 768 px / convert -append", figure, "goal ≤ 1.00")
        show("  same pixels", str(same), "goal True")
        size = f"{composed.stat().st_size / 1e6:.1f} MB / {appended.stat().st_size / 1e6:.1f} MB"
        show("  file sizes", size)


def _find_imagemagick() -> str | None:
    """Return the first ``convert`` on the path that is ImageMagick's, if there is one."""
    for folder in os.get_exec_path():
        program = shutil.which("convert", path=folder)
        if program is not None:
            answer = subprocess.run([program, "-version"], capture_output=True, check=False)
            if b"ImageMagick" in answer.stdout:
                return program
    return None


if __name__ == "__main__":
    main()
