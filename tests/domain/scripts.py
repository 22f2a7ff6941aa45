"""Jobs of a few steps, and what is left when bash has run their script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.workflow.bash import ContainerStubs, ExecutionEnvironment, ProcessLauncher, to_bash
from bot.domain.workflow.document import Workflow

RESOURCES = {"tasks": 2, "cpusPerTask": 3, "memPerCpu": 100, "gpus": 1}
IMAGE = "library/stable-diffusion:latest"
STAND_INS = ContainerStubs({"library/stable-diffusion": {"STOOD_IN": "yes it is"}})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind; ``result`` is None if the script did not write one."""

    code: int
    lines: tuple[str, ...]
    result: str | None
    errors: str
    scratch: bool


def workflow(*steps: Mapping[str, Any], **rest: object) -> Workflow:
    return Workflow.from_dict({"resources": RESOURCES, "steps": list(steps), **rest})


def command(text: str, **rest: object) -> dict[str, Any]:
    return {"run": {"command": text, **rest}}


def site(folder: Path, **rest: Any) -> ExecutionEnvironment:
    given = {"launcher": ProcessLauncher(), "containers": STAND_INS, **rest}
    storage, caches, result = (str(folder / name) for name in ("scratch", "caches", "result"))
    return ExecutionEnvironment(storage=storage, caches=caches, result=result, **given)


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
