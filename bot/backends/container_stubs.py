"""Stand-ins for the container images of the stock templates: ``bot.txt2img`` behind their names.

Three small programs in one folder (``python``, ``txt2img.py``, ``upscale``), and the environment
that makes a step find them. Shared by the backends that start steps on ordinary machines; it knows
nothing of jobs.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.domain.workflow.bash import ContainerStubs
from bot.files import PRIVATE_PROGRAM, atomic_write

PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
"""The folder that holds the package ``bot``."""

_TXT2IMG = """\
# Stands in for Stability's scripts/txt2img.py; takes --from-file, and reads NEGATIVE_PROMPT itself.
import runpy

runpy.run_module("bot.txt2img", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Txt2ImgConfig:
    """What paints, and where: the options that ``bot.txt2img`` reads from its environment.

    ``device`` is ``cpu`` or ``cuda``; ``step_seconds`` is what a step of the sketch pretends to
    need.
    """

    engine: str
    model: str
    device: str
    step_seconds: float


def container_stubs(
    programs: Path, painting: Txt2ImgConfig, *, path: str, package_root: str = PACKAGE_ROOT
) -> ContainerStubs:
    """The stand-ins in the folder ``programs``; ``path`` is the PATH that goes on behind it.

    ``package_root`` is empty where the interpreter has Gridbrush installed.
    """
    shared: Mapping[str, str] = {
        "PATH": f"{programs}{os.pathsep}{path}",
        **({"PYTHONPATH": package_root} if package_root else {}),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    painter = {
        "TXT2IMG": str(programs / "txt2img.py"),
        "PAINTER_ENGINE": painting.engine,
        "PAINTER_MODEL": painting.model,
        "PAINTER_STEP_SECONDS": str(painting.step_seconds),
        "DEVICE": painting.device,
    }
    return ContainerStubs(
        {
            "library/stable-diffusion": {**shared, **painter},
            "library/upscaling": {**shared, "UPSCALE": str(programs / "upscale")},
        }
    )


def write_container_stubs(programs: Path, interpreter: str) -> None:
    """Write the programs, each whole or not at all; they run in ``interpreter``. Blocking."""
    programs.mkdir(mode=0o700, parents=True, exist_ok=True)
    python = shlex.quote(interpreter)
    files = {
        "python": f'#!/bin/sh\nexec {python} "$@"\n',
        "upscale": f'#!/bin/sh\nexec {python} -m bot.painter.upscale "$@"\n',
        "txt2img.py": _TXT2IMG,
    }
    for name, text in files.items():
        # Two bots may start at once: each writes a file of its own and moves it into place.
        with atomic_write(programs / name, mode=PRIVATE_PROGRAM) as part:
            part.write_text(text, encoding="utf-8")
