"""The stock templates, rendered for every size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.request import InitImage
from bot.domain.workflow.document import Workflow, iter_steps
from bot.domain.workflow.template import redact, render
from tests.stock_jobs import (
    KEY,
    NAMES,
    grids,
    load,
    request,
    ticket,
    upscaling,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_stock_template_says_what_it_makes_and_keeps_its_key(name: str) -> None:
    template = load(name)
    assert template.about
    assert template.supports_negative is (name != "upscale.yaml")
    assert template.ignores_prompt is (name == "upscale.yaml")
    assert template.starts_from_picture is (name == "image-to-image.yaml")
    asked = replace(request(1, 1), init_image=InitImage("0" * 64, 64, 64))
    workflow = render(template, asked, ticket(input_sha256="0" * 64, input_url="https://x"))
    assert KEY.hex() in str(workflow.to_dict())
    assert KEY.hex() not in str(redact(workflow, template).to_dict())


def test_the_grid_calls_the_script_and_the_upscaler_does_not() -> None:
    assert load("stable-diffusion.yaml").calls_script
    assert load("image-to-image.yaml").calls_script
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
