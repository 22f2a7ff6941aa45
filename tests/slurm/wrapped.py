"""Client programs that write down each call, and may misbehave, in front of the real ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.slurm.cluster import SEARCH

_WRAPPER = """\
#!/bin/sh
echo "$@" >> {calls}
{before}
exec {real} "$@"
"""


class Wrapped:
    """A folder to put at the front of the PATH; ``calls`` are the argument lines so far."""

    def __init__(self, folder: Path, program: str, before: str = "") -> None:
        real = shutil.which(program, path=SEARCH)
        folder.mkdir(parents=True, exist_ok=True)
        self._calls = folder / f"{program}.calls"
        wrapper = folder / program
        wrapper.write_text(_WRAPPER.format(calls=self._calls, before=before, real=real))
        wrapper.chmod(0o755)
        self.path = f"{folder}{os.pathsep}{SEARCH}"

    @property
    def calls(self) -> list[str]:
        """What it was called with, one line for each call."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []
