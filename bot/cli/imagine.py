"""``gridbrush imagine``: make one grid without Discord, by the same path."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bot.bootstrap import Application, open_application
from bot.cli import options
from bot.cli.app import ExitCode, load_settings, run_async
from bot.cli.job_runner import METHOD, FolderDelivery, run_job
from bot.cli.progress import TerminalProgress, print_outcome
from bot.domain.job import Job
from bot.domain.prompt_tags import describe_removed
from bot.domain.request import Author, ChannelRef, InitImage, Request, RequestOptions, random_seed
from bot.services.results import JobResult
from bot.settings import Settings


@options.request_options
def imagine(
    context: typer.Context,
    prompt: options.Prompt,
    chosen: RequestOptions,
    image: options.StartImage = None,
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
    """Make one grid and print its path.

    Every row is a parallel task. Ctrl-C cancels the job. If this command is killed, the job
    continues: `gridbrush jobs` finds it and follows it to its end.
    """
    settings = load_settings(context, backend=backend)
    run_async(_imagine(settings, prompt, chosen, image, out, as_json))


async def _imagine(
    settings: Settings,
    prompt: str,
    chosen: RequestOptions,
    image: Path | None,
    out: Path | None,
    as_json: bool,
) -> ExitCode:
    observer = TerminalProgress(silent=as_json)
    async with open_application(
        settings, transport=FolderDelivery(out), observers=[observer]
    ) as engine:
        async with AsyncExitStack() as stack:
            start = None
            if image is not None:
                stored = engine.init_images.stored(image, engine.limits.strength)
                start = await stack.enter_async_context(stored)
            request = read_request(engine, prompt, chosen, start)
            job = await engine.queue.submit_immediate(request)
        return await follow(engine, job, observer, out, as_json)


def read_request(
    engine: Application, prompt: str, chosen: RequestOptions, start: InitImage | None = None
) -> Request:
    """Parse prompt and options into a request; print the tags removed. Raises RequestError.

    ``start`` is the picture to start from.
    """
    removed: list[str] = []
    request = Request.parse(
        prompt,
        chosen,
        limits=engine.limits,
        seed=random_seed(os.urandom(4)),
        author=Author(0, "operator"),
        place=ChannelRef(),
        removed_tags=removed,
        init_image=start,
    )
    if removed:
        print(describe_removed(removed), file=sys.stderr)
    return request


async def follow(
    engine: Application, job: Job, observer: TerminalProgress, out: Path | None, as_json: bool
) -> ExitCode:
    """Run a job to its end, show its progress, and print the outcome."""
    started = job
    try:
        job = await run_job(engine, job, lambda: observer.show(started))
    finally:
        observer.close()
    return print_outcome(job, result_of(engine, job, out), as_json=as_json)


def result_of(engine: Application, job: Job, out: Path | None) -> JobResult | None:
    """Return the paths of a job's files, None if it has none."""
    if not job.fetched_rows:
        return None
    package = engine.results.result(job)
    if out is None or job.delivery_method != METHOD:
        return package
    return replace(
        package,
        folder=out,
        grid=out / package.grid.name,
        rows=tuple((number, out / path.name) for number, path in package.rows),
    )


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command()(imagine)
