"""Hostile text in scripts, and what other programs say of a script."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.workflow.bash import to_bash
from tests.domain.scripts import run, said
from tests.unit.domain.workflows import IMAGE, command, site, workflow

# Hostile text.

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
HOSTILE = (
    *("'", '"', "\\", "$(touch owned)", "`touch owned`", "$HOME", "; exit 1", "EOF\n", "%s", "\n"),
    *("\r", "\t", "\x1b", "\\n", "!", "*", "-n", "=", "{a,b}", "~", "#", "é", "😀", " ", "&", "|"),
)
TEXT = st.text(CHARACTERS, max_size=60) | st.lists(st.sampled_from(HOSTILE), max_size=12).map(
    "".join
)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=6))
def test_no_text_is_anything_but_itself(texts: list[tuple[str, str, str]]) -> None:
    """Values of the job and of a step, items, names and commands arrive byte for byte."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show = 'printf "%s" "$1" | base64 | tr -d "\\n"; echo'
        steps: list[Mapping[str, Any]] = []
        env = []
        expected = []
        for number, (job_value, step_value, item) in enumerate(texts):
            env.append({"key": f"JOB_{number}", "value": job_value})
            own = [{"key": "OWN", "value": step_value}]
            both = show.replace("$1", f"$JOB_{number}") + "\n" + show.replace("$1", "$OWN")
            steps.append(command(both, env=own))
            loop = {
                "parallel": False,
                "items": [item],
                "steps": [command(show.replace("$1", "$item"))],
            }
            steps.append({"for": loop})
            # The command's own text: a here-document whose end nothing generated can be.
            literal = f"base64 <<'a_long_word_that_ends_it' | tr -d '\\n'; echo\n{item}\n"
            steps.append(command(f"{literal}a_long_word_that_ends_it\n"))
            expected += [job_value, step_value, item, f"{item}\n"]
        outcome = run(folder, *steps, env=env)
        assert (outcome.code, outcome.errors) == (0, "")
        shown = [base64.b64decode(line).decode() for line in said(outcome)]
        assert shown == expected
        assert {path.name for path in folder.iterdir()} == {"script.sh", "result", "caches"}


def test_paths_of_the_site_may_hold_anything(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s $HOME RESULT STORAGE `x`; "y"'
    folder.mkdir()
    outcome = run(folder, command('echo "$STORAGE_PATH"'))
    assert said(outcome) == (str(folder / "scratch"),)
    assert (outcome.result, outcome.scratch, outcome.errors) == ("0\n", False, "")


# Checked by others.

EVERYTHING: tuple[Mapping[str, Any], ...] = (
    {"name": "run", **command("echo 'quoted'", env=[{"key": "A", "value": "it's"}], workDir="/")},
    {"if": "-n $HOME", "steps": [command(":"), {"if": "1 -eq 1", **command("x")}]},
    {"for": {"parallel": True, "range": {"begin": 1, "end": 2}, "steps": [command(":")]}},
    {"for": {"parallel": False, "items": ["a", "it's", ""], "steps": [command(":")]}},
    {"for": {"parallel": True, "items": ["a"], "steps": []}},
    {"name": "bg", "launch": {"handleName": "bg", "steps": [command("sleep 1")]}},
    {"dependsOn": ["bg"], **command(":"), "catch": [command(":")], "finally": [command(":")]},
    {"launch": {"steps": [command(":")], "signalOnParentStepExit": 0}, "catch": [command(":")]},
    {"if": "1 -eq 1", "launch": {"steps": [command(":")]}, "finally": [command(":")]},
    command("echo contained", shell="/bin/bash", container={"image": IMAGE}),
)


def test_every_construct_is_good_bash(tmp_path: Path) -> None:
    script = to_bash(workflow(*EVERYTHING), site(tmp_path))
    done = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"^\s*$\n\s*fi", script, re.MULTILINE)


@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing_in_any_construct(tmp_path: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=warning", "-"],
        input=to_bash(workflow(*EVERYTHING), site(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
