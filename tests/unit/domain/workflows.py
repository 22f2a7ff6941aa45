"""Workflows of a few steps, and the site that their script is made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.domain.workflow.bash import ContainerStubs, ExecutionEnvironment, ProcessLauncher
from bot.domain.workflow.document import Workflow

RESOURCES = {"tasks": 2, "cpusPerTask": 3, "memPerCpu": 100, "gpus": 1}
IMAGE = "library/stable-diffusion:latest"
STAND_INS = ContainerStubs({"library/stable-diffusion": {"STOOD_IN": "yes it is"}})


def workflow(*steps: Mapping[str, Any], **rest: object) -> Workflow:
    return Workflow.from_dict({"resources": RESOURCES, "steps": list(steps), **rest})


def command(text: str, **rest: object) -> dict[str, Any]:
    return {"run": {"command": text, **rest}}


def site(folder: Path, **rest: Any) -> ExecutionEnvironment:
    given = {"launcher": ProcessLauncher(), "containers": STAND_INS, **rest}
    storage, caches, result = (str(folder / name) for name in ("scratch", "caches", "result"))
    return ExecutionEnvironment(storage=storage, caches=caches, result=result, **given)
