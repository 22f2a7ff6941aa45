"""``gridbrush check``: check the installation and print a hint for each problem."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.checks import run_checks
from bot.cli.app import ExitCode, run_async
from bot.domain.checks import CheckResult
from bot.settings import Settings


def check(
    context: typer.Context,
    show: Annotated[
        bool, typer.Option("--show", help="Also print every setting and where it comes from.")
    ] = False,
) -> None:
    """Check configuration, templates, data folder, backend and, if a token is set, Discord.

    Exit status 2 if something is wrong; each problem comes with a hint.
    """
    run_async(_check(context, show))


async def _check(context: typer.Context, show: bool) -> ExitCode:
    settings, problems = Settings.validate_files(context.obj.config, dict(os.environ))
    console = Console(highlight=False)
    findings = [
        CheckResult("configuration", False, f"{problem.location}: {problem.problem}", problem.hint)
        for problem in problems
    ]
    if settings is not None:
        findings.append(CheckResult("configuration", True, "valid"))
        findings += await run_checks(settings)
        if settings.discord.token:
            # discord.py is slow to load, and not every command needs it.
            from bot.runtime import check_discord

            findings += await check_discord(settings)
        else:
            findings.append(
                CheckResult("Discord", True, "no token set: required for `gridbrush run`")
            )
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]bad[/] "
        console.print(f"{mark}{finding.name}: {escape(finding.detail)}", soft_wrap=True)
        if not finding.ok and finding.hint:
            console.print(f"     [bold]{escape(finding.hint)}[/]", soft_wrap=True)
    if show and settings is not None:
        table = Table("setting", "value", "from", box=None, header_style="bold")
        for entry in settings.describe():
            name = escape(f"[{entry.section}] {entry.key}")
            table.add_row(name, escape(entry.value), escape(entry.source))
        console.print(table)
    return ExitCode.OK if all(finding.ok for finding in findings) else ExitCode.USAGE


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command()(check)
