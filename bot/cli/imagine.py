"""``gridbrush imagine``: one grid, without Discord, by the same path."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bot.app import Engine, open_engine
from bot.cli import options
from bot.cli.carrying import RUNG, FolderCourier, carry
from bot.cli.program import Exit, load_settings, run
from bot.cli.progress import TerminalReporter, conclude
from bot.domain.job import Job
from bot.domain.request import Author, Options, Place, Request, choose_seed
from bot.engine.collect import Package
from bot.settings import Settings


def imagine(
    context: typer.Context,
    prompt: options.Prompt,
    negative: options.Negative = None,
    aspect: options.Aspect = None,
    rows: options.Rows = None,
    samples: options.Samples = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    model: options.Model = None,
    style: options.Style = None,
    backend: options.BackendKind = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Copy grid, rows and metadata.json here. [default: stay in the data folder]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make one grid and print where it lies.

    Every row is a parallel task. Ctrl-C cancels the job. If this command is killed, the job goes
    on: `gridbrush jobs` finds it and follows it to its end.
    """
    settings = load_settings(context, backend=backend)
    chosen = Options(negative, aspect, rows, samples, steps, seed, model, style)
    run(_imagine(settings, prompt, chosen, out, as_json))


async def _imagine(
    settings: Settings, prompt: str, chosen: Options, out: Path | None, as_json: bool
) -> Exit:
    reporter = TerminalReporter(silent=as_json)
    async with open_engine(settings, courier=FolderCourier(out), reporters=[reporter]) as engine:
        request = read_request(engine, prompt, chosen)
        job = await engine.queue.take(request)
        return await follow(engine, job, reporter, out, as_json)


def read_request(engine: Engine, prompt: str, chosen: Options) -> Request:
    """The request that prompt and options make. Raises RequestError."""
    return Request.parse(
        prompt,
        chosen,
        limits=engine.limits,
        seed=choose_seed(os.urandom(4)),
        author=Author(0, "operator"),
        place=Place(),
    )


async def follow(
    engine: Engine, job: Job, reporter: TerminalReporter, out: Path | None, as_json: bool
) -> Exit:
    """Carry a job to its end under the reporter's eyes, and say how it ended."""
    started = job
    try:
        job = await carry(engine, job, lambda: reporter.show(started))
    finally:
        reporter.close()
    return conclude(job, result_of(engine, job, out), as_json=as_json)


def result_of(engine: Engine, job: Job, out: Path | None) -> Package | None:
    """Where a job's files lie, if it has any."""
    if not job.collected:
        return None
    package = engine.collector.package(job)
    if out is None or job.rung != RUNG:
        return package
    return replace(
        package,
        folder=out,
        grid=out / package.grid.name,
        rows=tuple((number, out / path.name) for number, path in package.rows),
    )


def add_to(target: typer.Typer) -> None:
    """Declare the verb."""
    target.command()(imagine)
