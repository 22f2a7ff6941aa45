"""The stock templates: rendered for every size, and checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bot.domain.workflow.bash import to_bash
from bot.domain.workflow.document import Workflow, iter_steps
from bot.domain.workflow.template import redact, render
from tests.stock_jobs import (
    KEY,
    NAMES,
    grids,
    load,
    request,
    site,
    ticket,
    upscaling,
)


def shellcheck(script: str, *options: str) -> str:
    """What shellcheck says; skips where it is not installed, save in CI."""
    if shutil.which("shellcheck") is None:
        assert os.environ.get("CI") != "true", "CI must install shellcheck"
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=warning", *options, "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


# What the templates render to.


@pytest.mark.parametrize("name", NAMES)
def test_a_stock_template_says_what_it_makes_and_keeps_its_key(name: str) -> None:
    template = load(name)
    assert template.about
    assert template.supports_negative is (name == "stable-diffusion.yaml")
    assert template.ignores_prompt is (name == "upscale.yaml")
    workflow = render(template, request(1, 1), ticket(input_sha256="0" * 64, input_url="https://x"))
    assert KEY.hex() in str(workflow.to_dict())
    assert KEY.hex() not in str(redact(workflow, template).to_dict())


def test_the_grid_calls_the_script_and_the_upscaler_does_not() -> None:
    assert load("stable-diffusion.yaml").calls_script
    assert not load("upscale.yaml").calls_script


def test_every_size_of_grid_takes_one_task_and_one_gpu_for_a_row() -> None:
    for workflow, rows, samples in grids():
        loops = [step.loop for _, step in iter_steps(workflow.steps) if step.loop is not None]
        (loop,) = loops
        assert loop.parallel
        assert loop.range is not None
        assert list(loop.range.numbers) == list(range(1, rows + 1))
        assert workflow.resources.tasks == workflow.resources.gpus == rows
        (row,) = loop.steps
        assert row.run is not None
        assert (row.run.resources.tasks, row.run.resources.gpus_per_task) == (1, 1)
        env = {variable.key: variable.value for variable in workflow.env}
        assert (env["ROWS"], env["SAMPLES"]) == (str(rows), str(samples))


def test_a_task_takes_at_most_16_gigabytes() -> None:
    for workflow in (*(workflow for workflow, _, _ in grids()), upscaling()):
        resources = workflow.resources
        assert resources.cpus_per_task * resources.mem_per_cpu <= 16_000


def test_every_rendering_is_a_valid_document() -> None:
    for workflow in (*(workflow for workflow, _, _ in grids()), upscaling()):
        assert Workflow.from_dict(workflow.to_dict()) == workflow


def test_every_script_is_good_bash(tmp_path: Path) -> None:
    for workflow in (*(workflow for workflow, _, _ in grids()), upscaling()):
        script = to_bash(workflow, site(tmp_path))
        done = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_finds_nothing_in_the_scripts(tmp_path: Path) -> None:
    for rows in (1, 8):
        workflow = render(load("stable-diffusion.yaml"), request(rows), ticket())
        assert shellcheck(to_bash(workflow, site(tmp_path))) == ""
    assert shellcheck(to_bash(upscaling(), site(tmp_path))) == ""


@pytest.mark.parametrize("name", NAMES)
def test_shellcheck_finds_nothing_in_the_commands(name: str) -> None:
    workflow = upscaling() if name == "upscale.yaml" else next(grids())[0]
    commands = [step.run.command for _, step in iter_steps(workflow.steps) if step.run is not None]
    assert commands
    for command in commands:
        # SC2154: variables that nothing in the command sets are those of the job.
        assert shellcheck(command, "--exclude=SC2154") == ""
