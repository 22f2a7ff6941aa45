"""``gridbrush check``: what is missing before the first start, each with how to mend it."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.cli.program import Exit, run
from bot.domain.findings import Finding
from bot.examination import examine
from bot.settings import Settings


def check(
    context: typer.Context,
    show: Annotated[
        bool, typer.Option("--show", help="Also print every setting and where it comes from.")
    ] = False,
) -> None:
    """Check configuration, templates, data folder, backend and, if a token is set, Discord.

    Exit status 2 if something is wrong; each finding says how to mend it.
    """
    run(_check(context, show))


async def _check(context: typer.Context, show: bool) -> Exit:
    settings, problems = Settings.examine(context.obj.config, dict(os.environ))
    console = Console(highlight=False)
    findings = [
        Finding("configuration", False, f"{problem.where}: {problem.problem}", problem.mend)
        for problem in problems
    ]
    if settings is not None:
        findings.append(Finding("configuration", True, "read and understood"))
        findings += await examine(settings)
        if settings.discord.token:
            # Discord's library is dear to load, and not every verb needs it.
            from bot.service import examine_discord

            findings += await examine_discord(settings)
        else:
            findings.append(Finding("Discord", True, "no token set: needed for `gridbrush run`"))
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]bad[/] "
        console.print(f"{mark}{finding.what}: {escape(finding.detail)}", soft_wrap=True)
        if not finding.ok and finding.mend:
            console.print(f"     [bold]{escape(finding.mend)}[/]", soft_wrap=True)
    if show and settings is not None:
        table = Table("setting", "value", "from", box=None, header_style="bold")
        for entry in settings.describe():
            name = escape(f"[{entry.section}] {entry.key}")
            table.add_row(name, escape(entry.value), escape(entry.source))
        console.print(table)
    return Exit.OK if all(finding.ok for finding in findings) else Exit.USAGE


def add_to(target: typer.Typer) -> None:
    """Declare the verb."""
    target.command()(check)
