"""The scripts of the stock templates, checked by bash and shellcheck."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.request import InitImage
from bot.domain.workflow.bash import to_bash
from bot.domain.workflow.document import iter_steps
from bot.domain.workflow.template import render
from tests.stock_jobs import NAMES, grids, load, request, site, ticket, upscaling


def shellcheck(script: str, *options: str) -> str:
    """What shellcheck says."""
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=warning", *options, "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_every_script_is_good_bash(tmp_path: Path) -> None:
    for workflow in (*(workflow for workflow, _, _ in grids()), upscaling()):
        script = to_bash(workflow, site(tmp_path))
        done = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing_in_the_scripts(tmp_path: Path) -> None:
    for rows in (1, 8):
        workflow = render(load("stable-diffusion.yaml"), request(rows), ticket())
        assert shellcheck(to_bash(workflow, site(tmp_path))) == ""
    assert shellcheck(to_bash(upscaling(), site(tmp_path))) == ""


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("name", NAMES)
def test_shellcheck_finds_nothing_in_the_commands(name: str) -> None:
    asked = replace(request(), init_image=InitImage("0" * 64, 64, 64))
    where = ticket(input_url="https://example.org/x.png", input_sha256="0" * 64)
    workflow = render(load(name), asked, where)
    commands = [step.run.command for _, step in iter_steps(workflow.steps) if step.run is not None]
    assert commands
    for command in commands:
        # SC2154: variables that nothing in the command sets are those of the job.
        assert shellcheck(command, "--exclude=SC2154") == ""
