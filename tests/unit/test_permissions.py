"""Files of an earlier version that others may read: closed at start, and found by check."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from bot.backends.environment import child_environment, needs_hub
from bot.backends.local import _INHERITED as LOCAL
from bot.backends.slurm.options import SlurmOptions
from bot.bootstrap import close_open_files, find_open_files, open_application
from bot.cli.job_runner import FolderDelivery
from bot.file_modes import private_umask
from bot.settings import Settings
from tests.cli.terminal import CommandLine

OLD = (
    *("gridbrush.sqlite3", "gridbrush.sqlite3-wal", "gridbrush-v1-2026.sqlite3", "commands.json"),
    *("jobs/abc/grid.png", "jobs/abc/metadata.json", "jobs/abc/prints/x.webp", "bot.lock"),
    *("local/jobs/abc/script.sh", "local/jobs/abc/log", "local/bin/python", "local/slots/slot-0"),
    *("scripted/abc/workflow.json", "deepsquare/w-1/jobs/abc.json", "backups/b.sqlite3"),
    *("play/gridbrush.sqlite3", "play/jobs/abc/grid.png"),
)


def lay_out(folder: Path, *names: str) -> None:
    """As a version made it that left modes to the umask."""
    before = os.umask(0o022)
    try:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("private")
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.lstat().st_mode & 0o777
        for path in (folder, *folder.rglob("*"))
    }


def settings(folder: Path, **backend: object) -> Settings:
    return Settings.model_validate({"data": {"dir": folder}, "backend": backend})


def test_what_an_earlier_version_left_open_is_closed_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    lay_out(data, *OLD)
    assert set(modes(data).values()) == {0o755, 0o644}
    with caplog.at_level(logging.WARNING):
        close_open_files(settings(data))
    assert set(modes(data).values()) == {0o700, 0o600}
    (told,) = caplog.messages
    assert f"{len(modes(data))} files and folders in {data} were open" in told
    caplog.clear()
    close_open_files(settings(data))
    assert caplog.messages == []


def test_rights_that_the_owner_has_taken_away_are_not_given_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    lay_out(data, "jobs/abc/grid.png")
    (data / "jobs/abc/grid.png").chmod(0o444)
    close_open_files(settings(data))
    assert modes(data)["jobs/abc/grid.png"] == 0o400


def test_a_folder_of_others_keeps_its_mode_but_nothing_of_ours_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay_out(tmp_path, "jobs/abc/grid.png", "website/index.html")
    tmp_path.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        close_open_files(settings(tmp_path))
    assert modes(tmp_path) == {
        ".": 0o755,
        "jobs": 0o700,
        "jobs/abc": 0o700,
        "jobs/abc/grid.png": 0o600,
        "website": 0o755,
        "website/index.html": 0o644,
    }
    assert "open to other users (0755)" in caplog.messages[-1]


def test_links_lead_nowhere(tmp_path: Path) -> None:
    lay_out(tmp_path / "elsewhere", "file")
    lay_out(tmp_path / "data", "jobs/abc/grid.png")
    (tmp_path / "data" / "jobs" / "link").symlink_to(tmp_path / "elsewhere")
    close_open_files(settings(tmp_path / "data"))
    assert modes(tmp_path / "elsewhere") == {".": 0o755, "file": 0o644}


def test_of_a_shared_folder_only_what_is_ours_is_closed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    lay_out(shared, "jobs/abc/script.sh", "bin/python", "notes.txt")
    chosen = settings(tmp_path / "data", kind="slurm", slurm={"shared_dir": shared})
    ((place, found),) = find_open_files(chosen)
    assert place == shared
    assert len(found) == 5
    close_open_files(chosen)
    assert modes(shared)["jobs/abc/script.sh"] == 0o600
    assert modes(shared)["notes.txt"] == 0o644
    assert modes(shared)["."] == 0o755


async def test_an_engine_makes_nothing_open_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        chosen = settings(tmp_path / "data", kind="local", local={"engine": "sketch"})
        async with open_application(chosen, transport=FolderDelivery(None)):
            made = modes(tmp_path / "data")
        assert os.umask(0) == 0  # it is given back
    finally:
        os.umask(before)
    assert {name: mode for name, mode in made.items() if mode & 0o077} == {}
    assert "gridbrush.sqlite3-wal" in made


@pytest.mark.parametrize("name", ["jobs/abc/metadata.json", "local/jobs/abc/script.sh", "."])
def test_check_finds_what_is_open_and_names_the_command(tmp_path: Path, name: str) -> None:
    command_line = CommandLine.lay(tmp_path / "command_line")
    lay_out(command_line.data, "jobs/abc/metadata.json", "local/jobs/abc/script.sh")
    close_open_files(settings(command_line.data))
    (command_line.data / "gridbrush.sqlite3").touch(0o600)
    command_line.type("restore", "--empty", "--yes")
    found = command_line.type("check")
    assert "bad private files" not in found.stdout
    path = command_line.data / name
    path.chmod(path.stat().st_mode | 0o044)
    found = command_line.type("check")
    assert found.exit_code == 2
    assert "bad private files: open to other users" in found.stdout
    assert f"chmod -R go= {path}" in found.stdout


def test_copies_are_as_open_as_the_folder_they_were_asked_for_in(tmp_path: Path) -> None:
    command_line = CommandLine.lay(tmp_path / "command_line")
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o755)
    assert command_line.scripted("imagine", "a fox", "--out", str(out)).exit_code == 0
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


SECRET_NAMES = (
    *("DISCORD_TOKEN", "DEEPSQUARE_PRIVATE_KEY", "GRIDBRUSH_DISCORD__TOKEN", "HF_TOKEN"),
    *("HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_API_KEY", "HF_PASSWORD"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "GITHUB_TOKEN"),
    *("NVIDIA_API_KEY", "CUDA_SECRET", "OMP_TOKEN", "LC_SECRET", "ROCR_PRIVATE_KEY", "PGPASSWORD"),
    *("SSH_AUTH_SOCK", "HTTPS_PROXY", "SLURM_JWT", "HIP_CREDENTIALS"),
)
NEEDED_NAMES = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "USER", "HF_HOME", "HF_ENDPOINT")


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_no_secret_reaches_a_child(name: str) -> None:
    source = {"PATH": "/bin", name: "canary"}
    assert child_environment(source, LOCAL, hub=False) == {"PATH": "/bin"}
    slurm = SlurmOptions(Path("/shared"), environ=source)
    assert slurm.environment == {"PATH": "/bin"}


@pytest.mark.parametrize("name", NEEDED_NAMES)
def test_what_a_job_needs_reaches_it(name: str) -> None:
    source = {"PATH": "/bin", name: "needed"}
    assert child_environment(source, LOCAL, hub=False) == source
    assert SlurmOptions(Path("/shared"), environ=source).environment == source


@pytest.mark.parametrize(
    ("engine", "model", "expected"),
    [
        ("sketch", "stabilityai/sd-turbo", False),
        ("auto", "", False),
        ("diffusers", "/models/sd", False),
        ("diffusers", "./sd", False),
        ("diffusers", "here", False),
        ("diffusers", "stabilityai/sd-turbo", True),
        ("auto", "gpt2", True),
    ],
)
def test_the_hub_s_token_goes_only_to_an_engine_that_may_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, model: str, expected: bool
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert needs_hub(engine, model) is expected
    source = {"PATH": "/bin", "HF_TOKEN": "canary"}
    chosen = SlurmOptions(Path("/shared"), engine=engine, model=model, environ=source)
    assert ("HF_TOKEN" in chosen.environment) is expected


def test_the_umask_is_given_back(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_umask():
            (tmp_path / "file").touch()
        (tmp_path / "later").touch()
    finally:
        os.umask(before)
    assert modes(tmp_path)["file"] == 0o600
    assert modes(tmp_path)["later"] == 0o644
