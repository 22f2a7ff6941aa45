"""Local programs in place of the stock templates' container images: they run ``bot.txt2img``.

Three small programs in one folder (``python``, ``txt2img.py``, ``upscale``) and the environment in
which a step finds them. Shared by the backends that start steps as plain processes.
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
"""The folder that contains the package ``bot``."""

_TXT2IMG = """\
# Replaces Stability's scripts/txt2img.py; accepts --from-file and reads NEGATIVE_PROMPT itself.
import runpy

runpy.run_module("bot.txt2img", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Txt2ImgConfig:
    """The image engine and its device, passed to ``bot.txt2img`` in its environment.

    ``device`` is ``cpu`` or ``cuda``; ``step_seconds`` is how long one step of the sketch engine
    takes. ``config_file`` is its configuration file (``bot.backends.txt2img_config``), if any.
    """

    engine: str
    model: str
    device: str
    step_seconds: float
    config_file: str = ""


def container_stubs(
    programs: Path, config: Txt2ImgConfig, *, path: str, package_root: str = PACKAGE_ROOT
) -> ContainerStubs:
    """Return the stubs in the folder ``programs``; ``path`` is the PATH appended after it.

    ``package_root`` is empty where the interpreter has Gridbrush installed.
    """
    shared: Mapping[str, str] = {
        "PATH": f"{programs}{os.pathsep}{path}",
        **({"PYTHONPATH": package_root} if package_root else {}),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    engine = {
        "PAINTER_ENGINE": config.engine,
        "PAINTER_MODEL": config.model,
        "PAINTER_STEP_SECONDS": str(config.step_seconds),
        "DEVICE": config.device,
        **({"TXT2IMG_CONFIG": config.config_file} if config.config_file else {}),
    }
    return ContainerStubs(
        {
            "library/stable-diffusion": {
                **shared,
                **engine,
                "TXT2IMG": str(programs / "txt2img.py"),
            },
            "library/upscaling": {**shared, **engine, "UPSCALE": str(programs / "upscale")},
        }
    )


def write_container_stubs(programs: Path, interpreter: str) -> None:
    """Write the stub programs atomically; they run in ``interpreter``. Blocking."""
    programs.mkdir(mode=0o700, parents=True, exist_ok=True)
    python = shlex.quote(interpreter)
    files = {
        "python": f'#!/bin/sh\nexec {python} "$@"\n',
        "upscale": f'#!/bin/sh\nexec {python} -m bot.txt2img.upscale "$@"\n',
        "txt2img.py": _TXT2IMG,
    }
    for name, text in files.items():
        # Two bots may start at once: each writes a file of its own and moves it into place.
        with atomic_write(programs / name, mode=PRIVATE_PROGRAM) as part:
            part.write_text(text, encoding="utf-8")
