"""``gridbrush backup`` and ``gridbrush restore``: back up the database and restore it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bot.backups import find_backup, list_backups, make_backup
from bot.cli.app import ExitCode, load_settings, run_async
from bot.clock import utc_now
from bot.domain.errors import RequestError
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.restore import Restoring


def backup(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A new file or a folder. [default: backups in the data folder]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Back up the database, even while the bot runs. The copy is checked and readable only by you.

    Images are not included: copy the folder jobs for those.
    """
    run_async(_backup(load_settings(context), file))


async def _backup(settings: Settings, file: Path | None) -> ExitCode:
    made, summary = await asyncio.to_thread(make_backup, settings.data.dir, file, utc_now())
    console = Console(highlight=False)
    console.print(f"[bold]{escape(str(made.path))}[/]", soft_wrap=True)
    console.print(f"{made.size:,} bytes, {summary.jobs} requests, checked")
    console.print(f"to restore it: gridbrush restore {escape(str(made.path))}", soft_wrap=True)
    return ExitCode.OK


def restore(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="The backup. [default: list them]", show_default=False),
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="Start with an empty database instead.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the backup and print what would happen.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Restore a backup of the database, or list the backups.

    Stop the bot first. The current database is kept under another name. Before anything changes,
    this prints what has happened since the backup. Nothing is computed, paid or posted twice.
    """
    settings = load_settings(context)
    if empty and file is not None:
        raise typer.BadParameter("--empty takes no backup")
    run_async(_restore(settings, file, dry_run, yes) if file or empty else _list(settings))


async def _list(settings: Settings) -> ExitCode:
    found = await asyncio.to_thread(list_backups, settings.data.dir)
    console = Console(highlight=False)
    for one in found:
        moment = f"{one.made_at:%Y-%m-%d %H:%M} UTC"
        console.print(f"{moment}  {one.size:>12,} bytes  {escape(str(one.path))}", soft_wrap=True)
    if found:
        console.print("to restore one: stop the bot, then run gridbrush restore FILE")
    else:
        folder = escape(str(settings.data.dir))
        console.print(f"There are no backups in {folder}; gridbrush backup makes one.")
    return ExitCode.OK


async def _restore(settings: Settings, file: Path | None, dry_run: bool, yes: bool) -> ExitCode:
    # In this thread: nothing else runs here, and the prompt waits for a person.
    return _replace(_prepare(settings, file), dry_run, yes)


def _prepare(settings: Settings, file: Path | None) -> AbstractContextManager[Restoring]:
    # It imports discord.py, which is slow to load.
    from bot.restore import restoring, starting_afresh

    if file is None:
        return starting_afresh(settings)
    return restoring(settings, find_backup(settings.data.dir, file))


def _replace(prepared: AbstractContextManager[Restoring], dry_run: bool, yes: bool) -> ExitCode:
    console = Console(highlight=False)
    with prepared as ready:
        for line in ready.report:
            console.print(escape(line), soft_wrap=True)
        if dry_run:
            console.print("Nothing was changed.")
            return ExitCode.OK
        if not yes:
            if not sys.stdin.isatty():
                raise RequestError("Nothing was changed: pass --yes when there is no terminal.")
            if not typer.confirm("Restore it?", err=True):
                console.print("Nothing was changed.")
                return ExitCode.CANCELLED
        aside = ready.carry_out(utc_now())
        console.print(f"[bold]{escape(str(ready.path))}[/] is in place.", soft_wrap=True)
        for path in aside:
            console.print(f"the old file is now {escape(str(path))}", soft_wrap=True)
    return ExitCode.OK


def add_to(target: typer.Typer) -> None:
    """Add the commands to the program."""
    target.command()(backup)
    target.command()(restore)
