"""Define the program: global options, exit codes, and how errors are printed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from bot import __version__, log_config
from bot.domain.errors import BotError, ConfigError, RequestError
from bot.file_modes import private_umask
from bot.settings import Settings


class ExitCode(IntEnum):
    """The exit status of a command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    CANCELLED = 130


program = typer.Typer(
    name="gridbrush",
    help="One parallel Stable Diffusion workflow for each request, one grid for each workflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 partly done, "
    "130 cancelled.",
)
errors = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The options given before the command."""

    config: Path | None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gridbrush {__version__}")
        raise typer.Exit()


@program.callback()
def global_options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The configuration file. [default: config.toml, if there is one]",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Save the options that apply to all commands."""
    del version
    context.with_resource(private_umask())
    context.obj = GlobalOptions(config)


def load_settings(
    context: typer.Context, *, quiet: bool = True, backend: str | None = None
) -> Settings:
    """Load the settings and configure the log on stderr.

    ``backend`` overrides the configured kind. With ``quiet`` only errors are logged unless a level
    is set. Exits the program if the settings are invalid.
    """
    environ = dict(os.environ)
    if backend is not None:
        environ["GRIDBRUSH_BACKEND__KIND"] = backend
    try:
        settings = Settings.load(context.obj.config, environ)
    except ConfigError as error:
        fail(error)
    chosen = {entry.source for entry in settings.describe() if entry.section == "log"}
    level = "error" if quiet and chosen == {"default"} else settings.log.level
    log_config.configure_logging(settings.log.format, level, settings.secrets(), sys.stderr)
    return settings


def run_async(main: Coroutine[Any, Any, ExitCode]) -> NoReturn:
    """Run a command's coroutine and exit with its status; print errors with their hint."""
    try:
        status = asyncio.run(main)
    except BotError as error:
        fail(error)
    except KeyboardInterrupt:
        status = ExitCode.CANCELLED
    raise typer.Exit(status)


def fail(error: BotError) -> NoReturn:
    """Print an error with its hint and exit."""
    if isinstance(error, ConfigError):
        errors.print(
            f"[red]{_escape_markup(error.location)}[/]: {_escape_markup(error.problem)}",
            soft_wrap=True,
        )
        errors.print(f"  {_escape_markup(error.hint)}", soft_wrap=True)
    else:
        errors.print(f"[red]{_escape_markup(str(error))}[/]", soft_wrap=True)
    usage = isinstance(error, ConfigError | RequestError)
    raise typer.Exit(ExitCode.USAGE if usage else ExitCode.FAILED)


def _escape_markup(text: str) -> str:
    return text.replace("[", r"\[")
