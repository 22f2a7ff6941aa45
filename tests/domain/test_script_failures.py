"""Background steps, and failures that are handled: really run by bash."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.domain.scripts import run, said
from tests.unit.domain.workflows import command

# Background steps.


def test_an_awaited_background_step_has_ended_before_the_next(tmp_path: Path) -> None:
    wait = "until [ -e go ]; do sleep 0.01; done; echo launched"
    outcome = run(
        tmp_path,
        {"name": "start", "launch": {"handleName": "one", "steps": [command(wait)]}},
        command("echo meanwhile; : > go"),
        {"name": "after", "dependsOn": ["one"], **command("echo next")},
    )
    shown = ("Running: start", "meanwhile", "Running: after", "Waiting for: ONE.", "launched")
    assert sorted(said(outcome)[:-1]) == sorted(shown)
    assert said(outcome)[-1] == "next"
    assert said(outcome).index("launched") > said(outcome).index("meanwhile")


def test_a_failed_background_step_fails_whoever_waits_for_it(tmp_path: Path) -> None:
    launch = {"launch": {"handleName": "one", "steps": [command("exit 8")]}}
    awaited = run(tmp_path, launch, {"dependsOn": ["one"], **command("echo never")})
    assert (said(awaited), awaited.code) == (("Waiting for: ONE.",), 8)
    assert run(tmp_path, launch, command(":")).code == 0


def test_a_background_step_that_was_left_out_cannot_be_awaited(tmp_path: Path) -> None:
    launch = {"launch": {"handleName": "one", "steps": [command(":")]}, "if": "1 -eq 2"}
    outcome = run(tmp_path, launch, {"dependsOn": ["one"], **command("echo never")})
    undefined = "Cannot await: ONE is undefined. Exiting to avoid undefined behavior."
    assert said(outcome) == ("Waiting for: ONE.", undefined)
    assert outcome.code == 1


def test_a_handle_means_the_step_of_its_own_list(tmp_path: Path) -> None:
    def launch(text: str) -> dict[str, Any]:
        return {"launch": {"handleName": "one", "steps": [command(text)]}}

    group = [launch("echo inner"), {"dependsOn": ["one"], **command("echo after inner")}]
    wait = "until [ -e go ]; do sleep 0.01; done; echo outer"
    outcome = run(
        tmp_path,
        launch(wait),
        {"steps": group},
        command(": > go"),
        {"dependsOn": ["one"], **command("echo after outer")},
    )
    spoken = tuple(line for line in said(outcome) if not line.startswith("Waiting"))
    assert spoken == ("inner", "after inner", "outer", "after outer")


def test_a_caught_background_step_is_awaited_like_another(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {
            "launch": {"handleName": "one", "steps": [command("exit 8")]},
            "catch": [command('echo "caught $DEEPSQUARE_ERROR_CODE"')],
        },
        {"dependsOn": ["one"], **command("echo next")},
    )
    assert said(outcome) == ("Waiting for: ONE.", "caught 8", "next")


# A process writes its number, so that the test can see whether it lives.
STAY = 'echo "$$" > "$DEEPSQUARE_TMP/pid"; : > here; exec sleep 600'
STAYS = command("until [ -e here ]; do sleep 0.01; done")


def gone(folder: Path) -> bool:
    """Whether the process of STAY has ended, or is about to be forgotten by its parent."""
    pid = int((folder / "caches" / "pid").read_text())
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    alive = bool(shown) and not shown.startswith("Z")
    if alive:
        os.kill(pid, signal.SIGKILL)
    return not alive


@pytest.mark.needs("ps")
@pytest.mark.parametrize(
    "around",
    [
        pytest.param(lambda steps: [{"steps": steps}], id="scope ends"),
        pytest.param(lambda steps: [*steps, command("exit 3")], id="job fails"),
        pytest.param(
            lambda steps: [{"steps": [*steps, command("exit 3")], "catch": [command(":")]}],
            id="caught failure",
        ),
    ],
)
def test_what_was_launched_ends_with_what_is_around_it(tmp_path: Path, around: Any) -> None:
    outcome = run(tmp_path, *around([{"launch": {"steps": [command(STAY)]}}, STAYS]))
    assert outcome.code in (0, 3)
    assert gone(tmp_path)


@pytest.mark.needs("ps")
def test_what_was_launched_ends_before_the_steps_after_its_list(tmp_path: Path) -> None:
    # A signal takes its time; the step gives it ten seconds.
    wait = """for turn in $(seq 1000); do
        case "$(ps -o stat= -p "$(cat "$DEEPSQUARE_TMP/pid")")" in
        "" | Z*) echo gone; break ;;
        esac
        sleep 0.01
    done"""
    outcome = run(
        tmp_path, {"steps": [{"launch": {"steps": [command(STAY)]}}, STAYS]}, command(wait)
    )
    assert said(outcome) == ("gone",)


@pytest.mark.needs("ps")
def test_what_is_launched_without_a_signal_lives_as_long_as_the_job(tmp_path: Path) -> None:
    launch = {"launch": {"steps": [command(STAY)], "signalOnParentStepExit": 0}}
    alive = command('kill -0 "$(cat "$DEEPSQUARE_TMP/pid")" && echo alive')
    outcome = run(tmp_path, {"steps": [launch, STAYS]}, alive)
    assert said(outcome) == ("alive",)
    assert gone(tmp_path)


# Failures that are handled.


def test_catch_swallows_a_failure_and_knows_its_status(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {**command("exit 3"), "catch": [command('echo "caught $DEEPSQUARE_ERROR_CODE"')]},
        {**command("echo fine"), "catch": [command("echo never")]},
        command('echo "${DEEPSQUARE_ERROR_CODE:-forgotten}"'),
    )
    assert said(outcome) == ("caught 3", "fine", "forgotten")
    assert (outcome.code, outcome.result) == (0, "0\n")


def test_a_group_stops_at_its_failure_before_it_is_caught(tmp_path: Path) -> None:
    group = [command("echo one"), command("exit 3"), command("echo never")]
    outcome = run(tmp_path, {"steps": group, "catch": [command("echo caught")]})
    assert (said(outcome), outcome.code) == (("one", "caught"), 0)


def test_a_failing_catch_fails_the_job_with_its_own_status(tmp_path: Path) -> None:
    step = {**command("exit 3"), "catch": [command("exit 4"), command("echo never")]}
    outcome = run(tmp_path, step, command("echo never"))
    assert (said(outcome), outcome.code) == ((), 4)


@pytest.mark.parametrize(
    ("body", "catch", "last", "shown", "code"),
    [
        ("echo fine", None, "true", ("fine", "finally 0"), 0),
        ("exit 3", None, "true", ("finally 3",), 3),
        ("exit 3", "echo caught", "true", ("caught", "finally 0"), 0),
        ("exit 3", "exit 4", "true", ("finally 4",), 4),
        ("echo fine", None, "exit 5", ("fine", "finally 0"), 5),
        ("exit 3", None, "exit 5", ("finally 3",), 3),
    ],
)
def test_finally_runs_in_any_case_and_the_first_failure_counts(
    tmp_path: Path, body: str, catch: str | None, last: str, shown: tuple[str, ...], code: int
) -> None:
    step: dict[str, Any] = command(body)
    if catch is not None:
        step["catch"] = [command(catch)]
    step["finally"] = [command(f'echo "finally $DEEPSQUARE_ERROR_CODE"; {last}')]
    outcome = run(tmp_path, step)
    assert (said(outcome), outcome.code, outcome.result) == (shown, code, f"{code}\n")


def test_a_handled_failure_in_a_parallel_turn_leaves_the_others_alone(tmp_path: Path) -> None:
    step = {**command("exit $index"), "catch": [command('echo "$index"')]}
    loop = {"parallel": True, "range": {"begin": 1, "end": 3}, "steps": [step]}
    outcome = run(tmp_path, {"for": loop}, command("echo next"))
    assert sorted(said(outcome)) == ["1", "2", "3", "next"]
    assert said(outcome)[-1] == "next"
