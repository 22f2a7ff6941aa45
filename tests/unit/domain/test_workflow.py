"""The job document as a type: reading it, its traps, and walking its steps."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError

import pytest

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import (
    Container,
    For,
    Http,
    Launch,
    Mount,
    Range,
    Resources,
    Run,
    RunResources,
    Step,
    Transport,
    Workflow,
    iter_steps,
)
from tests.unit.domain.job_documents import RUN, SMALL, small


def problem(document: object) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_dict(document)
    return caught.value


def test_a_document_is_read_into_types() -> None:
    workflow = Workflow.from_dict(SMALL)
    assert workflow.resources == Resources(2, 8, 8000, 2)
    assert workflow.resources.gpus == 2
    assert workflow.input == Transport(http=Http("https://transfer.example.org/get/a/b"))
    rows, launched, waiting, module, items = workflow.steps
    assert rows.loop is not None
    assert rows.loop.range == Range(1, 2)
    run = rows.loop.steps[0].run
    assert run is not None
    assert run.container == Container(
        "library/stable-diffusion:latest",
        registry="registry-1.deepsquare.run",
        deepsquare_hosted=True,
        read_only_root_fs=True,
        mounts=(Mount("/opt", "/models", "ro"),),
    )
    assert run.resources == RunResources(gpus_per_task=1)
    assert launched.launch == Launch((Step(run=Run("sleep 1")),), "bg")
    assert waiting.condition == "-f x"
    assert module.finally_ == (Step(run=Run("true")),)
    assert items.loop == For(False, (), items=("a", ""))


def test_a_document_is_written_as_it_was_read() -> None:
    assert Workflow.from_dict(SMALL).to_dict() == SMALL


def test_null_is_the_same_as_leaving_a_key_out() -> None:
    nulls = small(((*RUN, "shell"), None), (("output",), None), (("virtualNetworks",), None))
    absent = small()
    del absent["output"], absent["virtualNetworks"]
    del absent["steps"][0]["for"]["steps"][0]["run"]["shell"]  # type: ignore[index]
    assert Workflow.from_dict(nulls) == Workflow.from_dict(absent)
    assert Workflow.from_dict(nulls).to_dict() == absent


def test_a_workflow_cannot_be_changed() -> None:
    workflow = Workflow.from_dict(SMALL)
    with pytest.raises(FrozenInstanceError):
        workflow.enable_logging = False  # type: ignore[misc]
    assert hash(workflow) == hash(Workflow.from_dict(copy.deepcopy(SMALL)))


def test_no_value_of_the_environment_and_no_password_stands_in_a_repr() -> None:
    access = {"username": "me", "password": "hush"}
    document = small(((*RUN, "container"), {"image": "a", **access}))
    shown = repr(Workflow.from_dict(document))
    assert "hush" not in shown
    assert "a cat" not in shown
    assert "PROMPT" in shown


@pytest.mark.parametrize("document", [None, [], "job", 7])
def test_a_document_that_is_no_mapping_is_refused(document: object) -> None:
    assert problem(document).location == "the document"


def test_the_first_problem_in_the_documents_own_order_is_told() -> None:
    late = {"steps": [{"run": {"command": 1}}], "resources": {"tasks": 0}}
    assert problem(late).location == "steps[0].run.command"
    early = {"resources": {"tasks": 0}, "steps": [{"run": {"command": 1}}]}
    assert problem(early).location == "resources.tasks"


def test_a_loop_in_a_sequential_loop_is_refused_at_any_depth() -> None:
    inner = {"for": {"parallel": True, "items": ["a"], "steps": []}}
    wrapped = {"launch": {"steps": [{"use": {"source": "h/o/r", "steps": [inner]}}]}}
    outer = {"parallel": False, "items": ["b"], "steps": [{"run": {"command": ""}}, wrapped]}
    error = problem(small((("steps",), [{"for": outer}])))
    assert error.location == "steps[0].for.steps[1].launch.steps[0].use.steps[0].for"
    Workflow.from_dict(small((("steps",), [{"for": {**outer, "parallel": True}}])))


def test_a_document_that_is_nested_without_end_is_refused() -> None:
    step: dict[str, object] = {"run": {"command": ""}}
    for _ in range(5_000):
        step = {"steps": [step]}
    assert "nested too deeply" in problem(small((("steps",), [step]))).problem


def test_a_part_that_is_passed_through_must_not_hold_itself() -> None:
    knot: list[object] = []
    knot.append(knot)
    assert problem(small((("virtualNetworks",), [knot]))).location == "virtualNetworks[0]"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (Range(1, 4), [1, 2, 3, 4]),
        (Range(3, 3), [3]),
        (Range(0, 5, 2), [0, 2, 4]),
        (Range(3, 1, -1), [3, 2, 1]),
    ],
)
def test_a_range_includes_its_end(numbers: Range, expected: list[int]) -> None:
    assert list(numbers.numbers) == expected


def test_enroot_is_what_runs_a_container_that_says_nothing_else() -> None:
    assert Container("x").enroot
    assert not Container("x", apptainer=True).enroot
    assert not Container("x", deepsquare_hosted=True).enroot


def test_walking_finds_every_step_with_its_path() -> None:
    found = {
        where: step.run.command
        for where, step in iter_steps(Workflow.from_dict(SMALL).steps)
        if step.run
    }
    assert found == {
        ("steps", 0, "for", "steps", 0): "paint",
        ("steps", 0, "for", "steps", 0, "catch", 0): "true",
        ("steps", 1, "launch", "steps", 0): "sleep 1",
        ("steps", 2, "steps", 0): "",
        ("steps", 3, "finally", 0): "true",
    }
