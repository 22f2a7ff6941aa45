"""One grid without Discord: as a newcomer runs it, with the sketch painter and real processes."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.terminal import CommandLine, strip_size, told

PROMPT = 'an astronaut – "riding" a [b]horse[/b]'


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CommandLine, subprocess.CompletedProcess[str]]:
    """One real run, looked at from all sides."""
    command_line = CommandLine.lay(tmp_path_factory.mktemp("made"))
    return command_line, command_line.run("imagine", PROMPT, "--seed", "7", "--no", "fog")


def test_the_command_makes_a_grid_and_says_where_it_lies(
    made: tuple[CommandLine, subprocess.CompletedProcess[str]],
) -> None:
    command_line, result = made
    assert result.returncode == 0, result.stderr
    folder = command_line.data / "jobs" / command_line.only_job()
    for name in ("grid.png", "row-01.png", "row-02.png", "metadata.json"):
        assert (folder / name).is_file()
        assert str(folder / name) in result.stdout
    width, height = strip_size()
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == (width, 2 * height)
        for number in (1, 2):
            with Image.open(folder / f"row-0{number}.png") as row:
                assert row.size == (width, height)
                box = (0, (number - 1) * height, width, number * height)
                assert grid.crop(box).tobytes() == row.tobytes()
                assert len(row.getcolors(1 << 20) or ()) > 20, "a picture, not a colour"
    assert "2 × 2 pictures · 64 × 64 px · seed 7 · 2 steps · sketch, no model" in result.stdout
    assert "row 1 ready" in result.stderr
    assert "finished" in result.stderr


def test_metadata_says_what_it_takes_to_make_it_again(
    made: tuple[CommandLine, subprocess.CompletedProcess[str]],
) -> None:
    command_line, _ = made
    folder = command_line.data / "jobs" / command_line.only_job()
    known = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert known["prompt"] == PROMPT
    assert known["negative"] == "fog"
    assert known["row_seeds"] == {"1": 7, "2": 8}
    settings = ("width", "height", "steps", "rows", "samples", "seed", "model")
    assert [known[name] for name in settings] == [64, 64, 2, 2, 2, 7, None]
    assert [known[name] for name in ("painter", "engine", "steps_run")] == [
        *("sketch, no model", "sketch", 2)
    ]
    assert "--model" not in known["show"]
    assert known["created_at"] <= known["started_at"] <= known["collected_at"]
    assert set(known["sha256"]) == {"grid.png", "row-01.png", "row-02.png"}
    for name, digest in known["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_model_of_the_table_brings_its_defaults_and_bounds(tmp_path: Path) -> None:
    table = (
        '[models.big]\ntitle = "Big one"\nengine = "sketch"\nwidth = 128\nheight = 64\n'
        '[models.quick]\nengine = "sketch"\nsteps = 1\nmax_steps = 3\n'
    )
    command_line = CommandLine.lay(tmp_path, rest=table)
    refused = command_line.type("imagine", "a cat", "--model", "quick", "--steps", "4")
    assert refused.exit_code == 2
    assert "from 1 to 3 with quick, not 4" in refused.output
    result = command_line.type("imagine", "a cat", "--rows", "1", "--json")
    assert result.exit_code == 0, result.output
    found = told(result)
    known = json.loads(Path(str(found["metadata"])).read_text(encoding="utf-8"))
    assert [known[name] for name in ("width", "height", "steps", "requested_model", "model")] == [
        *(128, 64, 2, "big", None)
    ]
    # The program that made the row was told which model, and where the table is.
    script = (command_line.data / "local/jobs" / command_line.only_job() / "script.sh").read_text()
    assert "export MODEL=big\n" in script
    assert f"TXT2IMG_CONFIG={command_line.data.resolve()}/local/txt2img.json" in script


def test_rows_are_painted_side_by_side(
    made: tuple[CommandLine, subprocess.CompletedProcess[str]],
) -> None:
    command_line, _ = made
    pattern = r"^\[row (\d)\] (\d{4}-\S+Z) (starts|ends)$"
    moments = {
        (row, word): moment
        for row, moment, word in re.findall(
            pattern, command_line.log(command_line.only_job()), re.MULTILINE
        )
    }
    assert len(moments) == 4
    assert max(moments["1", "starts"], moments["2", "starts"]) < min(
        moments["1", "ends"], moments["2", "ends"]
    )


def test_the_same_seed_makes_the_same_bytes_and_json_is_one_object(
    made: tuple[CommandLine, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    command_line, _ = made
    first = command_line.data / "jobs" / command_line.only_job()
    again = CommandLine.lay(tmp_path / "again")
    out = tmp_path / "out" / "deep"
    words = ("--seed", "7", "--no", "fog", "--json", "--out", str(out))
    result = again.type("imagine", PROMPT, *words)
    assert result.exit_code == 0, result.stderr
    answer = told(result)
    assert answer["state"] == "finished"
    assert answer["exit"] == 0
    assert answer["seed"] == 7
    assert answer["images"] == 4
    assert answer["grid"] == str(out / "grid.png")
    assert answer["rows"] == {"1": str(out / "row-01.png"), "2": str(out / "row-02.png")}
    assert answer["metadata"] == str(out / "metadata.json")
    for name in ("grid.png", "row-01.png", "row-02.png"):
        assert (out / name).read_bytes() == (first / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [
        "grid.png",
        "metadata.json",
        "row-01.png",
        "row-02.png",
    ]


def test_a_row_of_one_picture_is_delivered_too(command_line: CommandLine) -> None:
    result = command_line.type("imagine", "a fox", "--rows", "1", "--samples", "1")
    assert result.exit_code == 0, result.stderr
    (grid,) = (command_line.data / "jobs").glob("*/grid.png")
    with Image.open(grid) as picture:
        # torchvision's make_grid puts no border around a lone picture.
        assert picture.size == (64, 64)


def test_a_row_that_fails_leaves_a_grid_of_the_others_and_status_3(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path)
    line = command_line.template("second-fails", '[ "$index" -ne 2 ] || give_up 3')
    command_line = CommandLine.lay(tmp_path, imagine=line)
    result = command_line.type("imagine", "a fox")
    assert result.exit_code == 3, result.stderr
    assert "row 2 failed" in result.stderr
    assert "row 2 failed (3)" in result.stderr
    (folder,) = (command_line.data / "jobs").iterdir()
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == strip_size()
    assert not (folder / "row-02.png").exists()
    known = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert known["missing_rows"] == [2]


def test_a_job_without_any_row_is_status_1_and_a_plain_sentence(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path)
    command_line = CommandLine.lay(tmp_path, imagine=command_line.template("all-fail", "give_up 3"))
    result = command_line.type("imagine", "a fox")
    assert result.exit_code == 1
    assert "No row could be made." in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_cannot_be_written_to_keeps_the_result_and_says_where(
    command_line: CommandLine, tmp_path: Path
) -> None:
    blocker = tmp_path / "a-file"
    blocker.write_text("in the way")
    result = command_line.scripted("imagine", "a fox", "--out", str(blocker / "below"), "--json")
    answer = told(result)
    assert result.exit_code == 0
    assert Path(str(answer["grid"])).is_file()
    assert str(blocker) not in str(answer["grid"])


def test_on_a_terminal_every_row_has_a_bar(command_line: CommandLine) -> None:
    env = {"GRIDBRUSH_BACKEND__KIND": "scripted", "FORCE_COLOR": "1", "COLUMNS": "120"}
    result = command_line.type("imagine", "a fox", "--seed", "7", env=env)
    assert result.exit_code == 0
    assert "row 1  seed 7" in result.stderr
    assert "row 2  seed 8" in result.stderr
    assert "100 %" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a fox", "--rows", "99"], "1 to 8"),
        (["a fox --steps many"], "--steps"),
        (["a fox --ckpt=/x"], "--ckpt"),
        (["   "], "The prompt is empty"),
        (["a fox", "--aspect", "tall"], "aspect"),
        (["a fox", "--style", "no-such"], "no-such"),
        (["a fox", "--backend", "abacus"], "abacus"),
        (["a fox", "--no-such-option"], "No such option"),
        (["a fox", "--rows", "two"], "--rows"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_status_2_and_says_what_is_allowed(
    command_line: CommandLine, words: list[str], said: str
) -> None:
    result = command_line.type("imagine", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (command_line.data / "jobs").exists() or not any(
        (command_line.data / "jobs").iterdir()
    )
