"""The program as a whole: help, version, exit codes, and how errors are said."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from bot import __main__ as entrance
from bot import __version__
from bot.cli import program
from bot.cli.app import ExitCode, fail, run_async
from bot.cli.run import _settings_for as play_settings
from bot.domain.errors import BackendError, BotError, ConfigError, RequestError
from bot.playground.server import Playground
from tests.cli.terminal import CommandLine

VERBS = {command.name or command.callback.__name__ for command in program.registered_commands
         if command.callback is not None}  # fmt: skip


def test_the_verbs_are_all_there() -> None:
    assert {"imagine", "jobs", "render", "check"} <= VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_of_every_verb_lists_its_options_with_a_word_on_each(
    command_line: CommandLine, verb: str
) -> None:
    result = command_line.type(verb, "--help", env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert f"gridbrush {verb}" in result.stdout
    assert "--help" in result.stdout
    described = [line for line in result.stdout.splitlines() if "--" in line and "│" in line]
    for line in described:
        words = line.strip(" │").split("  ")
        assert len(words[-1].strip()) > 3, line
        assert words[-1].strip()[0].isupper() or "[default" in line, line


def test_help_of_imagine_names_what_can_be_chosen(command_line: CommandLine) -> None:
    said = command_line.type("imagine", "--help", env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    options = ("--negative", "--aspect", "--rows", "--samples", "--steps", "--seed", "--model")
    for option in (*options, "--style", "--backend", "--out", "--json"):
        assert option in said
    assert "[imagine.styles]" in said


def test_help_of_the_program_says_what_the_exit_status_means(command_line: CommandLine) -> None:
    said = command_line.type("--help", env={"COLUMNS": "200"}).stdout
    assert "130 cancelled" in said
    assert "--config" in said


def test_the_version_is_the_packages(command_line: CommandLine) -> None:
    result = command_line.type("--version")
    assert result.exit_code == 0
    assert result.stdout == f"gridbrush {__version__}\n"


@pytest.mark.parametrize("words", [["paint"], ["--nonsense"], ["jobs", "--nonsense"]])
def test_wrong_usage_is_status_2(command_line: CommandLine, words: list[str]) -> None:
    assert command_line.type(*words).exit_code == 2


def test_a_wrong_setting_is_status_2_with_place_and_hint(tmp_path: Path) -> None:
    result = CommandLine.lay(tmp_path, imagine="stepps = 3").type("imagine", "a fox")
    assert result.exit_code == 2
    assert "config.toml" in result.stderr
    assert "stepps" in result.stderr
    assert "steps" in result.stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://user:secret@127.0.0.1"])
def test_play_refuses_a_wrong_address_of_comfyui(command_line: CommandLine, url: str) -> None:
    result = command_line.type("play", "--no-browser", "--port", "0", "--comfyui", url)
    assert result.exit_code == 2
    assert "--comfyui" in result.stderr
    assert "http://127.0.0.1:8188" in result.stderr
    assert "secret" not in result.stderr


async def test_play_generates_with_a_comfyui_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDBRUSH_BACKEND__KIND", "slurm")
    playground = Playground()
    await playground.start("127.0.0.1", 0)
    try:
        context = SimpleNamespace(obj=SimpleNamespace(config=None))
        settings = play_settings(playground, context, "http://127.0.0.1:8188/")  # type: ignore[arg-type]
    finally:
        await playground.aclose()
    assert (settings.backend.kind, settings.backend.local.engine) == ("local", "comfyui")
    assert settings.backend_options()["comfyui"]["urls"] == ("http://127.0.0.1:8188",)  # type: ignore[index]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("[a] b", "is [red]wrong[/]", "Mend it."), ExitCode.USAGE),
        (RequestError("Not [bold]so[/]."), ExitCode.USAGE),
        (BackendError("away"), ExitCode.FAILED),
        (BotError("odd"), ExitCode.FAILED),
    ],
)
def test_errors_are_said_as_they_are_with_a_status(
    capsys: pytest.CaptureFixture[str], error: BotError, status: ExitCode
) -> None:
    async def fail() -> ExitCode:
        raise error

    with pytest.raises(typer.Exit) as caught:
        run_async(fail())
    assert caught.value.exit_code == status
    said = capsys.readouterr().err
    for part in (error.problem, error.hint) if isinstance(error, ConfigError) else (str(error),):
        assert part in said


def test_an_interrupt_before_anything_began_is_status_130() -> None:
    async def interrupted() -> ExitCode:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        run_async(interrupted())
    assert caught.value.exit_code == ExitCode.CANCELLED
    asyncio.set_event_loop(None)


def test_giving_up_never_returns() -> None:
    with pytest.raises(typer.Exit):
        fail(RequestError("No."))


def test_the_command_is_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.argv
    sys.argv = ["gridbrush", "--version"]
    try:
        with pytest.raises(SystemExit) as caught:
            entrance.main()
    finally:
        sys.argv = before
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"gridbrush {__version__}\n"
