"""What would be submitted, for people and for machines to read."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

from bot.domain.workflow.document import Workflow
from tests.cli.terminal import CommandLine

PROMPT = "a fox; rm -rf $HOME `id` 'quoted' \"twice\""


def _env(document: dict[str, object]) -> dict[str, str]:
    return {variable.key: variable.value for variable in Workflow.from_dict(document).env}


def test_yaml_is_the_default_and_a_valid_job_document(command_line: CommandLine) -> None:
    result = command_line.type("render", PROMPT, "--seed", "7", "--no", "fog")
    assert result.exit_code == 0
    env = _env(yaml.safe_load(result.stdout))
    assert env["PROMPT"] == PROMPT
    assert env["NEGATIVE_PROMPT"] == "fog"
    assert env["SEED_BASE"] == "7"
    assert "&" not in re.sub(r'".*"|&&|2>&1|&$', "", result.stdout.split("steps:")[0])


def test_the_key_is_masked_in_documents(command_line: CommandLine) -> None:
    for form in ("yaml", "json"):
        result = command_line.type("render", "a fox", "--format", form)
        assert not re.search(r"MAC_KEY\W+value\W+[0-9a-f]{64}", result.stdout)
        assert not re.search(r"\b[0-9a-f]{64}\b", result.stdout)


def test_json_is_the_same_document(command_line: CommandLine) -> None:
    result = command_line.type("render", PROMPT, "--rows", "3", "--format", "json")
    document = json.loads(result.stdout)
    assert _env(document)["ROWS"] == "3"
    assert document["resources"]["tasks"] == 3
    assert document["resources"]["gpus"] == 3


def test_the_script_is_sound_bash_and_can_be_run(command_line: CommandLine) -> None:
    result = command_line.type("render", PROMPT, "--seed", "7", "--format", "bash")
    assert result.exit_code == 0
    script = command_line.folder / "job.sh"
    script.write_text(result.stdout, encoding="utf-8")
    subprocess.run(["bash", "-n", script], check=True)
    assert re.search(r"\b[0-9a-f]{64}\b", result.stdout), "it could not sign without its key"


def test_rendering_submits_and_stores_nothing(command_line: CommandLine) -> None:
    command_line.type("render", "a fox")
    assert not (command_line.data / "gridbrush.sqlite3").exists()
    assert not list(command_line.folder.rglob("jobs/*"))


@pytest.mark.parametrize("words", [["a fox", "--format", "xml"], ["a fox", "--rows", "0"], [""]])
def test_what_cannot_be_rendered_is_status_2(command_line: CommandLine, words: list[str]) -> None:
    result = command_line.type("render", *words)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_a_broken_template_is_named_with_its_place_and_hint(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(
        "gridbrush: 1\nabout: nothing\nparameters: [1]\njob: {}\n"
    )
    command_line = CommandLine.lay(tmp_path, imagine='template = "broken.yaml"')
    result = command_line.type("render", "a fox")
    assert result.exit_code == 2
    assert "broken.yaml" in result.stderr
    assert "parameters" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_grid_that_starts_from_a_picture_names_it_where_it_lies(
    command_line: CommandLine, tmp_path: Path
) -> None:
    picture = tmp_path / "my photo.png"
    Image.new("RGB", (200, 100), "red").save(picture)
    asked = ("render", "a fox", "--image", str(picture), "--strength", "0.5", "--format")
    document = json.loads(command_line.type(*asked, "json").stdout)
    env = {variable["key"]: variable["value"] for variable in document["env"]}
    assert env["INPUT_URL"] == picture.resolve().as_uri()
    assert env["INPUT_SHA256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert (env["STRENGTH"], env["WIDTH"], env["HEIGHT"]) == ("0.5", "128", "64")
    assert "img2img.py" in command_line.type(*asked, "bash").stdout
    # Made, the job has a copy of its own, and one is kept with the request.
    made = command_line.scripted("imagine", *asked[1:-1])
    assert made.exit_code == 0, made.stderr
    assert len(list((command_line.data / "inputs").glob("*.png"))) == 1
    (copy,) = (command_line.data / "scripted").glob("*/input/start.png")
    with Image.open(copy) as given:
        assert given.size == (128, 64)


@pytest.mark.parametrize(
    ("content", "words", "sentence"),
    [
        (b"<html></html>", [], "is a web page"),
        (b"", ["--strength", "7"], "no picture"),
    ],
)
def test_a_picture_that_cannot_be_used_is_said(
    command_line: CommandLine, tmp_path: Path, content: bytes, words: list[str], sentence: str
) -> None:
    (tmp_path / "x.png").write_bytes(content)
    for command in ("render", "imagine"):
        result = command_line.type(command, "a fox", "--image", str(tmp_path / "x.png"), *words)
        assert result.exit_code == 2
        assert sentence in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr
