"""A container runtime without containers: notes how it is called, and starts the command here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_IMAGE = "/opt/software/registry-1.deepsquare.run/library/stable-diffusion:latest"

_APPTAINER = f"""\
#!/bin/bash
printf '%s\\n' "$@" > {{calls}}
while [ "$1" != {_IMAGE} ]; do
  bound=${{{{1#--bind=}}}}
  case $bound in *:/deepsquare:rw) export STORAGE_PATH=${{{{bound%%:*}}}} ;; esac
  shift
done
shift
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class PretendedRuntime:
    """``apptainer`` in a folder of its own, and the ``python`` that the image would have."""

    folder: Path

    @property
    def programs(self) -> Path:
        """To be the first folder of the PATH."""
        return self.folder / "bin"

    @property
    def bound(self) -> set[str]:
        """The folders that the last container was given, ``host:container:options``."""
        words = (self.folder / "calls").read_text(encoding="utf-8").splitlines()
        return {word.removeprefix("--bind=") for word in words if word.startswith("--bind=")}

    def write(self) -> None:
        """Put the programs there."""
        self.programs.mkdir(parents=True)
        texts = {
            "apptainer": _APPTAINER.format(calls=self.folder / "calls"),
            "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        }
        for name, text in texts.items():
            (self.programs / name).write_text(text, encoding="utf-8")
            (self.programs / name).chmod(0o755)
