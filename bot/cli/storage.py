"""``gridbrush storage``: show what the bot's files take up, and whose they are."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.bootstrap import DATABASE, EVIDENCE, INPUTS, open_database
from bot.cli.app import ExitCode, load_settings, run_async
from bot.domain.errors import ConfigError
from bot.domain.quota import format_window
from bot.services.storage import StorageReport, measure_storage
from bot.settings import Settings

_SHOWN = 15


def storage(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how much space results, database, backups and work folders use, and by whom.

    Works beside a running bot and removes nothing. The settings keep and keep_gb limit results.
    """
    run_async(_storage(load_settings(context), as_json))


async def _storage(settings: Settings, as_json: bool) -> ExitCode:
    report = await _measure(settings)
    if as_json:
        typer.echo(json.dumps(_to_json(settings, report)))
        return ExitCode.OK
    console = Console(highlight=False)
    kinds = Table(box=None, header_style="bold")
    kinds.add_column("kind", min_width=20)
    kinds.add_column("size", justify="right")
    for kind, size in report.kinds.items():
        kinds.add_row(kind, format_size(size))
    kinds.add_row("all", format_size(report.total), style="bold")
    console.print(kinds)
    count = f"{report.results} result{'' if report.results == 1 else 's'}"
    console.print(f"\n{count} with pictures, {report.favourites} of them favourites")
    if report.unknown:
        console.print(f"{format_size(report.unknown)} of results that the database does not know")
    _print_owners(console, "server", "none", report.servers)
    _print_owners(console, "member", "operator", report.members)
    data = settings.data
    limits = [f'keep = "{format_window(data.keep)}"'] if data.keep else []
    limits += [f"keep_gb = {data.keep_gb:g}"] if data.keep_gb else []
    said = f"removed beyond {' and '.join(limits)}" if limits else "never removed by themselves"
    console.print(f"\nResults are {said}.")
    return ExitCode.OK


async def _measure(settings: Settings) -> StorageReport:
    data, shared = settings.data.dir, settings.backend.slurm.shared_dir
    if not await asyncio.to_thread((data / DATABASE).exists):
        raise ConfigError(str(data / DATABASE), "there is no database yet", "Run the bot once.")
    work = [data / "local" / "jobs", data / "scripted", data / "slurm" / "jobs"]
    places = {
        "database": sorted(data.glob("gridbrush*.sqlite3*")),
        "backups": [data / "backups"],
        "evidence": [data / EVIDENCE],
        "pictures to start from": [data / INPUTS],
        "work folders": [*work, shared / "jobs"] if shared else work,
    }
    async with open_database(data) as database:
        return await measure_storage(database, data, data / "jobs", places)


def _print_owners(console: Console, title: str, nobody: str, sizes: Counter[int]) -> None:
    """Print who uses most; ``nobody`` is what 0 stands for."""
    if not sizes:
        return
    console.print()
    table = Table(box=None, header_style="bold")
    table.add_column(title, min_width=20)
    table.add_column("results", justify="right")
    for owner, size in sizes.most_common(_SHOWN):
        table.add_row(str(owner) if owner else nobody, format_size(size))
    rest = sizes.most_common()[_SHOWN:]
    if rest:
        table.add_row(f"{len(rest)} more", format_size(sum(size for _, size in rest)))
    console.print(table)


def format_size(size: int) -> str:
    """Return bytes as ``0 B``, ``1.5 kB``, ``23.4 MB``."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _to_json(settings: Settings, report: StorageReport) -> dict[str, object]:
    keep = settings.data.keep
    return {
        "bytes": report.kinds,
        "total": report.total,
        "servers": {str(owner): size for owner, size in report.servers.most_common()},
        "members": {str(owner): size for owner, size in report.members.most_common()},
        "results": report.results,
        "favourites": report.favourites,
        "unknown": report.unknown,
        "limits": {
            "keep_seconds": keep.total_seconds() if keep else None,
            "keep_gb": settings.data.keep_gb or None,
        },
    }


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command()(storage)
