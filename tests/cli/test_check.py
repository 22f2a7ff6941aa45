"""What is missing before the first start: each finding with how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import CommandLine


def test_where_all_is_well_every_line_says_so(command_line: CommandLine) -> None:
    result = command_line.type("check")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for what in ("configuration", "templates", "database", "backend local"):
        assert any(what in line for line in lines)


def test_every_problem_of_the_configuration_is_named_with_its_hint(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path, imagine="stepps = 3\nmax_rows = 1000")
    result = command_line.type("check")
    assert result.exit_code == 2
    assert "stepps" in result.stdout
    assert "steps" in result.stdout
    assert "max_rows" in result.stdout
    assert result.stdout.count("bad configuration") == 2


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path, imagine='template = "')
    result = command_line.type("check")
    assert result.exit_code == 2
    assert "config.toml" in result.stdout


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = CommandLine(tmp_path).type("check")
    assert result.exit_code == 2
    assert "config.toml" in result.stdout


@pytest.mark.parametrize(
    ("imagine", "local", "rest", "said"),
    [
        ('template = "nowhere.yaml"', "", "", ["bad templates", "nowhere.yaml", "Write the path"]),
        ('template = "upscale"', "", "", ["bad templates", "starts from an image"]),
        (
            "",
            'container = "apptainer"',
            "",
            ["bad backend local", "apptainer is not installed", 'container = "none"'],
        ),
        ("", "", '[backend]\nkind = "scripted"', ["[backend.scripted] recording", "Name the file"]),
        (
            "",
            "",
            '[backend]\nkind = "scripted"\n[backend.scripted]\nrecording = "gone"',
            ["bad backend scripted", "gone", "Name a readable file"],
        ),
    ],
)
def test_what_does_not_work_is_named_with_its_hint(
    tmp_path: Path, imagine: str, local: str, rest: str, said: list[str]
) -> None:
    result = CommandLine.lay(tmp_path, imagine=imagine, local=local, rest=rest).type("check")
    assert result.exit_code == 2, result.stdout
    for words in said:
        assert words in result.stdout


@pytest.mark.parametrize("engine", ["auto", "diffusers"])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "there is no folder"),
        (("model/",), "is empty"),
        (("model",), "is a file and not a model's folder"),
        (("model.safetensors",), "there is no folder"),
        (("model/", "model/pytorch_lora_weights.safetensors"), "holds a LoRA"),
        (("model/", "model/v1-5-pruned.ckpt"), "but single files such as v1-5-pruned.ckpt"),
        (("model/", "model/a.png"), "has no model_index.json"),
    ],
)
def test_a_model_that_cannot_be_painted_with_is_found(
    tmp_path: Path, engine: str, files: tuple[str, ...], said: str
) -> None:
    for file in files:
        if file.endswith("/"):
            (tmp_path / file).mkdir()
        else:
            (tmp_path / file).touch()
    model = tmp_path / "model"
    local = f'model = "{model}"'
    command_line = CommandLine.lay(tmp_path / "bot", local=local, engine=f'engine = "{engine}"')
    result = command_line.type("check", env={"COLUMNS": "400"})
    assert result.exit_code == 2, result.stdout
    found = [line for line in result.stdout.splitlines() if line.startswith("bad image engine")]
    assert any(str(model) in line and said in line for line in found), result.stdout


def test_a_model_that_the_backend_cannot_use_is_named_and_the_others_work(tmp_path: Path) -> None:
    table = '[models.quick]\nengine = "sketch"\n[models.far]\nhosted = "sd-2-1"\n'
    result = CommandLine.lay(tmp_path, rest=table).type("check", env={"COLUMNS": "400"})
    assert result.exit_code == 2
    (bad,) = [line for line in result.stdout.splitlines() if line.startswith("bad")]
    assert bad == (
        "bad model far: [models.far] hosted is for Stability's script, which local does not run"
    )
    assert "the bot starts without this model" in result.stdout


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[models.a]\ntitle = 'x'", "[models.a]: does not say where it lies"),
        ("[models.a]\npath = 'x'\nsteps = 500", "max_steps is 150"),
        ("[models.a]\nengine = 'a1111'\ncheckpoint = 'x'", "[backend.local] url: it is required"),
    ],
)
def test_a_wrong_table_of_models_is_told(tmp_path: Path, table: str, said: str) -> None:
    result = CommandLine.lay(tmp_path, rest=table).type("check", env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert said in result.stdout


def test_what_paints_is_said(command_line: CommandLine) -> None:
    assert "ok  image engine: sketch, no model" in command_line.type("check").stdout


@pytest.mark.parametrize(
    ("imagine", "said"),
    [("", "the default is 64 x 64"), ("max_pixels = 4096", "the default is 64 x 64")],
)
def test_a_picture_too_small_for_the_script_is_found_before_anybody_asks(
    tmp_path: Path, imagine: str, said: str
) -> None:
    command_line = CommandLine.lay(tmp_path, imagine=imagine, local='container = "podman"')
    result = command_line.type("check", env={"COLUMNS": "400"})
    assert "bad picture size" in result.stdout
    assert said in result.stdout
    assert "Raise width and height to 256 or more" in result.stdout


def test_a_damaged_database_is_said_and_left_alone(command_line: CommandLine) -> None:
    command_line.data.mkdir()
    file = command_line.data / "gridbrush.sqlite3"
    file.write_bytes(b"this is no database" * 100)
    result = command_line.type("check")
    assert result.exit_code == 2
    assert "bad database" in result.stdout
    assert file.read_bytes() == b"this is no database" * 100


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path, rest='[data]\ndir = "taken/data"')
    (tmp_path / "taken").write_text("a file")
    result = command_line.type("check")
    assert result.exit_code == 2
    assert "[data] dir" in result.stdout
    assert "Name a folder" in result.stdout


def test_settings_are_shown_with_their_source_and_without_secrets(
    command_line: CommandLine,
) -> None:
    token = "no-token-but-secret-enough"
    env = {
        "DISCORD_TOKEN": token,
        "DISCORD_API_BASE": "http://127.0.0.1:9/api/v10",
        "DISCORD_GATEWAY_URL": "ws://127.0.0.1:9/gateway",
        "COLUMNS": "400",
    }
    result = command_line.type("check", "--show", env=env)
    assert result.exit_code == 2
    assert "Discord: is unavailable" in result.stdout
    assert "[imagine] steps" in result.stdout
    assert f"{command_line.folder / 'config.toml'}:5" in result.stdout
    assert "DISCORD_TOKEN" in result.stdout
    assert token not in result.stdout
