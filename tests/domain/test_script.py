"""Commands, conditions and loops as bash scripts, really run by bash."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.domain.workflow.bash import ProcessLauncher, to_bash
from tests.domain.scripts import Outcome, run, run_script, said
from tests.unit.domain.workflows import IMAGE, command, site, workflow

# One command, its environment, and the end.


def test_a_command_runs_between_the_fixed_lines_and_leaves_its_status(tmp_path: Path) -> None:
    outcome = run(tmp_path, {"name": "it's one", **command("pwd -P; echo two")})
    here = os.path.realpath(tmp_path / "scratch")
    assert said(outcome) == ("Running: it's one", here, "two")
    assert outcome == Outcome(0, outcome.lines, "0\n", "", False)


def test_a_failing_command_ends_the_job_with_its_status(tmp_path: Path) -> None:
    outcome = run(tmp_path, command("exit 7"), command("echo never"))
    assert said(outcome) == ()
    assert (outcome.code, outcome.result, outcome.scratch) == (7, "7\n", False)


def test_a_job_that_cannot_make_its_folder_still_leaves_a_result(tmp_path: Path) -> None:
    (tmp_path / "caches").write_text("in the way")
    outcome = run(tmp_path, command("echo never"))
    assert (outcome.code, outcome.result, outcome.lines) == (1, "1\n", ("---",))


def test_a_job_whose_log_is_gone_still_leaves_a_result(tmp_path: Path) -> None:
    script = to_bash(workflow(command(":")), site(tmp_path))
    (tmp_path / "script.sh").write_text(script)
    closed = ["bash", "-c", "exec bash script.sh >&-"]
    subprocess.run(closed, cwd=tmp_path, stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert (tmp_path / "result").read_text() == "1\n"
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_job_says_so_in_its_result(tmp_path: Path, number: int, code: int) -> None:
    # The step signals the script itself, which hears of it when the step is over.
    script = to_bash(workflow(command(f'kill -{number:d} "$SCRIPT"')), site(tmp_path))
    script = script.replace("set -e\n", "set -e\nexport SCRIPT=$$\n", 1)
    outcome = run_script(tmp_path, script)
    assert (outcome.code, outcome.result, outcome.scratch) == (code, f"{code}\n", False)


def test_a_step_sees_the_resources_and_folders_of_the_platform(tmp_path: Path) -> None:
    names = "NTASKS CPUS_PER_TASK MEM_PER_CPU GPUS CPUS MEM"
    show = f'for name in {names}; do eval "echo \\$$name"; done'
    folders = 'test -d "$DEEPSQUARE_INPUT" && test -d "$DEEPSQUARE_OUTPUT" && echo folders'
    cache = 'echo kept > "$DEEPSQUARE_SHARED_TMP/file"'
    outcome = run(tmp_path, command(show), command(folders), command(cache))
    assert said(outcome) == ("2", "3", "100", "1", "6", "600", "folders")
    assert (tmp_path / "caches" / "file").read_text() == "kept\n"


def test_environments_win_from_the_site_over_the_job_to_the_step(tmp_path: Path) -> None:
    three = dict.fromkeys(("ONE", "TWO", "THREE"), "site")
    job = [{"key": "TWO", "value": "job"}, {"key": "THREE", "value": "job"}]
    own = [{"key": "THREE", "value": "it's a step"}]
    flow = workflow(command('echo "$ONE $TWO $THREE"', env=own), env=job)
    outcome = run_script(tmp_path, to_bash(flow, site(tmp_path, environment=three)))
    assert said(outcome) == ("site job it's a step",)


def test_a_working_directory_is_entered_where_the_command_runs(tmp_path: Path) -> None:
    there = tmp_path / "it's there"
    there.mkdir()
    shown = run(
        tmp_path,
        command("pwd -P", workDir=str(there)),
        command("[[ -d . ]] && pwd -P", workDir="/", shell="/bin/bash", container={"image": IMAGE}),
    )
    assert said(shown) == (os.path.realpath(there), "/")
    missing = run(tmp_path, command("echo never", workDir="/nowhere/at/all"))
    assert (said(missing), missing.code != 0) == ((), True)


def test_a_container_is_stood_in_for_by_an_environment(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        command(
            '[[ -n "$STOOD_IN" ]] && echo "$STOOD_IN"',
            shell="/bin/bash",
            container={"image": IMAGE},
        ),
        command('echo "${STOOD_IN:-no container}"'),
    )
    assert said(outcome) == ("yes it is", "no container")


def test_the_launchers_words_come_first(tmp_path: Path) -> None:
    slot = ProcessLauncher(("env", "SLOT=taken"))
    outcome = run_script(
        tmp_path, to_bash(workflow(command('echo "$SLOT"')), site(tmp_path, launcher=slot))
    )
    assert said(outcome) == ("taken",)


# Values from step to step.


def test_lines_for_later_steps_are_variables_if_they_look_like_some(tmp_path: Path) -> None:
    write = r"""printf 'A=one = 1\nno line\n# B=comment\n=empty\n9=nine\nC=$(x) "y"\n' \
        >> "$DEEPSQUARE_ENV"; printf 'A=two\nLAST=no newline' >> "$DEEPSQUARE_ENV" """
    show = 'printf "%s\\n" "$A" "${B:-none}" "$C" "$LAST"'
    outcome = run(tmp_path, command(write), command(show))
    assert said(outcome) == ("two", "none", '$(x) "y"', "no newline")


def test_a_condition_does_not_see_what_steps_have_written(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        command('echo A=1 >> "$DEEPSQUARE_ENV"'),
        {"if": '-n "$A"', **command("echo condition saw it")},
        command('echo "$A"'),
    )
    assert said(outcome) == ("1",)


def test_no_variable_of_the_workflow_is_changed_by_the_script(tmp_path: Path) -> None:
    names = ("line", "code", "branch", "branches", "failed", "outcome", "child", "children")
    env = [{"key": name, "value": f"my {name}"} for name in names]
    show = command("; ".join(f'echo "${name}"' for name in names))
    loop = {"for": {"parallel": True, "range": {"begin": 1, "end": 2}, "steps": [command(":")]}}
    caught = {**command("exit 3"), "catch": [command(":")], "finally": [command(":")]}
    outcome = run(tmp_path, command('echo X=1 >> "$DEEPSQUARE_ENV"'), loop, caught, show, env=env)
    assert said(outcome) == tuple(f"my {name}" for name in names)


# Conditions, groups and loops.


def test_a_step_runs_only_if_its_condition_holds(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {"if": '"$KIND" == grid', "name": "taken", **command("echo yes")},
        {"if": '"$KIND" != grid', "name": "left out", **command("echo no")},
        {"if": "1 -eq 1", "steps": [{"steps": [command("echo in a group")]}]},
        env=[{"key": "KIND", "value": "grid"}],
    )
    shown = ("Running: taken", "yes", "Running: left out", "in a group")
    assert said(outcome) == shown


def test_a_failure_inside_a_condition_still_ends_the_job(tmp_path: Path) -> None:
    outcome = run(tmp_path, {"if": "1 -eq 1", "steps": [command("exit 4"), command("echo no")]})
    assert (said(outcome), outcome.code) == ((), 4)


def test_a_sequential_loop_counts_up_down_and_in_strides(tmp_path: Path) -> None:
    def loop(begin: int, end: int, increment: int) -> dict[str, Any]:
        numbers = {"begin": begin, "end": end, "increment": increment}
        steps = [command('printf "%s\\n" "$index"')]
        return {"for": {"parallel": False, "range": numbers, "steps": steps}}

    outcome = run(tmp_path, loop(1, 3, 0), loop(2, -2, -2), loop(5, 9, 3))
    assert said(outcome) == ("1", "2", "3", "2", "0", "-2", "5", "8")


def test_a_loop_over_items_takes_every_item_as_it_is(tmp_path: Path) -> None:
    items = ["plain", "", "two words", "it's $HOME `x` * \\", "-n"]
    for parallel in (False, True):
        steps = [command('printf "<%s>\\n" "$item" >> "$DEEPSQUARE_TMP/items"')]
        outcome = run(tmp_path, {"for": {"parallel": parallel, "items": items, "steps": steps}})
        shown = (tmp_path / "caches" / "items").read_text().splitlines()
        (tmp_path / "caches" / "items").unlink()
        assert sorted(shown) == sorted(f"<{item}>" for item in items)
        assert (outcome.code, outcome.errors) == (0, "")


def test_a_sequential_loop_stops_at_its_first_failure(tmp_path: Path) -> None:
    steps = [command('echo "$index"; [ "$index" -lt 2 ] || exit 9')]
    loop = {"for": {"parallel": False, "range": {"begin": 1, "end": 4}, "steps": steps}}
    outcome = run(tmp_path, loop)
    assert (said(outcome), outcome.code) == (("1", "2"), 9)


def test_parallel_turns_run_at_the_same_time(tmp_path: Path) -> None:
    # Each turn waits until all three have begun: one after the other they would never end.
    meet = """: > "here-$index"
        until [ -e here-1 ] && [ -e here-2 ] && [ -e here-3 ]; do sleep 0.01; done"""
    loop = {"parallel": True, "range": {"begin": 1, "end": 3}, "steps": [command(meet)]}
    assert run(tmp_path, {"for": loop}).code == 0


def test_a_failed_parallel_turn_fails_the_job_when_all_have_ended(tmp_path: Path) -> None:
    turn = """case "$index" in
        2) exit 5 ;;
        3) exit 6 ;;
        *) until [ -e failed ]; do sleep 0.01; done; echo "$index ended" ;;
        esac"""
    # The first turn ends only after the second has failed, and its scratch folder is still there.
    fail = {**command(turn), "finally": [command('[ "$index" -ne 2 ] || : > failed')]}
    loop = {"parallel": True, "range": {"begin": 1, "end": 3}, "steps": [fail]}
    outcome = run(tmp_path, {"for": loop}, command("echo never"))
    assert (said(outcome), outcome.code, outcome.result) == (("1 ended",), 5, "5\n")
