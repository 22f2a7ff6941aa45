"""What lies in a folder that a program still works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def paths_below(folder: Path) -> Iterator[Path]:
    """Yield every path below ``folder``; ``rglob`` fails for one that goes while it looks."""
    for inside, folders, files in os.walk(folder):
        yield from (Path(inside) / name for name in (*folders, *files))
