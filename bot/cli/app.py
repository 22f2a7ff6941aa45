"""The program itself: its options before the verb, exit codes, and how errors are shown."""

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
    """What the exit status says."""

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
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 done in part, "
    "130 cancelled.",
)
errors = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The options given before the verb."""

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
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Take the options that hold for all verbs."""
    del version
    context.with_resource(private_umask())
    context.obj = GlobalOptions(config)


def load_settings(
    context: typer.Context, *, quiet: bool = True, backend: str | None = None
) -> Settings:
    """The settings of file and environment; ``backend`` is a kind that wins over both.

    Also sets up the log, on stderr; with ``quiet`` only errors are said unless a level is set.
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
    """Run a verb's coroutine and leave with its status; errors become a sentence and a mend."""
    try:
        status = asyncio.run(main)
    except BotError as error:
        fail(error)
    except KeyboardInterrupt:
        status = ExitCode.CANCELLED
    raise typer.Exit(status)


def fail(error: BotError) -> NoReturn:
    """Say what is wrong and how to mend it, and leave."""
    if isinstance(error, ConfigError):
        errors.print(f"[red]{_safe(error.location)}[/]: {_safe(error.problem)}", soft_wrap=True)
        errors.print(f"  {_safe(error.hint)}", soft_wrap=True)
    else:
        errors.print(f"[red]{_safe(str(error))}[/]", soft_wrap=True)
    usage = isinstance(error, ConfigError | RequestError)
    raise typer.Exit(ExitCode.USAGE if usage else ExitCode.FAILED)


def _safe(text: str) -> str:
    return text.replace("[", r"\[")
