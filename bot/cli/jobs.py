"""``gridbrush jobs``: list jobs and follow the unfinished ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.bootstrap import Application, open_application
from bot.cli.app import ExitCode, errors, load_settings, run_async
from bot.cli.imagine import follow, result_of
from bot.cli.job_runner import FolderDelivery
from bot.cli.progress import TerminalProgress, print_outcome
from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.domain.text import format_credits
from bot.services.budget import JobCost
from bot.settings import Settings

SETTLE_SECONDS = 10.0


def jobs(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(help="Only this job; the start of its id is enough.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Only list; follow nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Copy results here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List jobs, and follow those that a killed `gridbrush imagine` left unfinished.

    A running job is followed, never started again. Jobs from Discord are only listed: the bot
    itself continues them.
    """
    run_async(_jobs(load_settings(context), job, only_list, out, as_json))


async def _jobs(
    settings: Settings, wanted: str | None, only_list: bool, out: Path | None, as_json: bool
) -> ExitCode:
    observer = TerminalProgress(silent=as_json)
    async with open_application(
        settings, transport=FolderDelivery(out), observers=[observer]
    ) as engine:
        await _settle(engine)
        found = await _find(engine, wanted)
        own = [job for job in found if job.request.place.channel_id == 0]
        left = [] if only_list else [job for job in own if not job.state.terminal]
        if not as_json and (only_list or not left):
            _print_table([(job, await engine.queue.jobs.credits(job.id)) for job in found])
        worst = ExitCode.OK
        for job in left:
            try:
                worst = max(worst, await follow(engine, job, observer, out, as_json))
            except RequestError as busy:
                if wanted is not None:
                    raise
                errors.print(f"{job.id}: {busy}")
        if as_json or wanted is not None:
            for job in found:
                if job not in left:
                    status = await _show(engine, job, out, as_json)
                    worst = max(worst, status) if wanted is not None else worst
        return worst


async def _show(engine: Application, job: Job, out: Path | None, as_json: bool) -> ExitCode:
    """Print how a job ended, and copy its result if a folder is given."""
    package = result_of(engine, job, None)
    if package is not None and out is not None:
        await FolderDelivery(out).send("files", job, package, "")
        package = result_of(engine, replace(job, delivery_method="files"), out)
    return print_outcome(job, package, as_json=as_json)


async def _settle(engine: Application) -> None:
    """Save the costs of ended jobs, as far as they are known by now."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            await engine.budget.recover()
            await engine.budget.idle()


async def _find(engine: Application, wanted: str | None) -> tuple[Job, ...]:
    if wanted is None:
        unfinished = await engine.queue.jobs.unfinished()
        recent = await engine.queue.jobs.history(0, limit=25)
        known = {job.id: job for job in (*recent, *unfinished)}
        return tuple(known[key] for key in sorted(known))
    found = await engine.queue.jobs.prefix(wanted, limit=2)
    if len(found) != 1:
        problem = "There is no such job" if not found else "More than one job starts like this"
        raise RequestError(f"{problem}: {json.dumps(wanted)}.")
    return found


_MIN_COLUMN_WIDTHS = {"job": 16, "state": 9, "rows": 5, "made": 11, "credits": 23}


def _print_table(found: list[tuple[Job, JobCost]]) -> None:
    console = Console(highlight=False)
    if not found:
        console.print('No jobs yet. Make one: gridbrush imagine "an astronaut in space"')
        return
    paid = any(credits.price is not None for _, credits in found)
    table = Table(box=None, header_style="bold")
    for title in ("job", "state", "rows", "made", *(["credits"] if paid else [])):
        # In a narrow terminal the prompt is shortened: a shortened id cannot be used.
        table.add_column(title, min_width=_MIN_COLUMN_WIDTHS.get(title), no_wrap=True)
    table.add_column("prompt", overflow="ellipsis", no_wrap=True)
    for job, credits in found:
        rows = f"{len(job.fetched_rows or job.ready_rows)}/{len(job.rows)}"
        made = job.created_at.strftime("%m-%d %H:%M")
        cost = [_format_cost(credits)] if paid else []
        table.add_row(job.id, job.state, rows, made, *cost, escape(job.request.prompt[:60]))
    console.print(table)


def _format_cost(credits: JobCost) -> str:
    """Format a job's cost and refund or, until known, its maximum price."""
    if credits.cost is not None:
        back = f" ({format_credits(credits.refund)} refunded)" if credits.refund else ""
        return format_credits(credits.cost) + back
    return "" if credits.price is None else f"≤ {format_credits(credits.price)}"


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command()(jobs)
