"""What is left when bash has run the script of a job."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.workflow.bash import to_bash
from tests.unit.domain.workflows import site, workflow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind; ``result`` is None if the script did not write one."""

    code: int
    lines: tuple[str, ...]
    result: str | None
    errors: str
    scratch: bool


def run(folder: Path, *steps: Mapping[str, Any], **rest: object) -> Outcome:
    return run_script(folder, to_bash(workflow(*steps, **rest), site(folder)))


def run_script(folder: Path, script: str) -> Outcome:
    path = folder / "script.sh"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["bash", str(path)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result = folder / "result"
    return Outcome(
        done.returncode,
        tuple(done.stdout.splitlines()),
        result.read_text(encoding="utf-8") if result.exists() else None,
        done.stderr,
        (folder / "scratch").exists(),
    )


def said(outcome: Outcome) -> tuple[str, ...]:
    """What the steps printed, without the script's own first and last line."""
    assert outcome.lines[0] == "--- Job has started ---"
    assert outcome.lines[-1] == "---"
    return outcome.lines[1:-1]
