"""Show a job's progress in a terminal and print its outcome."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bot.cli.app import ExitCode, errors
from bot.domain.events import JobEvent, RowFailed, RowReady
from bot.domain.grid import caption
from bot.domain.job import Job, JobState, made_images
from bot.services.results import JobResult

STATE_TEXTS = {
    JobState.SUBMITTING: "submitting",
    JobState.PENDING: "waiting for the backend",
    JobState.RUNNING: "running",
    JobState.COLLECTING: "fetching the results",
    JobState.DELIVERING: "delivering the results",
    JobState.FINISHED: "finished",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class TerminalProgress:
    """Observer that shows a bar per row on a terminal, or else prints a line per change."""

    def __init__(self, *, silent: bool = False) -> None:
        self._console = Console(stderr=True, quiet=silent, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[word]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bars: dict[int, TaskID] = {}
        self._state: JobState | None = None

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Show the job's current state."""
        self.show(job)
        if not self._console.is_terminal and isinstance(event, RowReady | RowFailed):
            word = "ready" if isinstance(event, RowReady) else f"failed ({event.code})"
            self._console.print(f"row {event.row} {word}")

    def show(self, job: Job) -> None:
        """Show the job's current state; start the display first if needed."""
        if not self._bars:
            self._progress.start()
            for row in job.rows:
                name = f"row {row.number}  seed {row.seed}"
                self._bars[row.number] = self._progress.add_task(name, total=100, word="")
        for row in job.rows:
            word = "ready" if row.is_ready else "failed" if row.is_done else ""
            self._progress.update(self._bars[row.number], completed=row.percent, word=word)
        if job.state is not self._state:
            self._state = job.state
            self._console.print(f"{job.id}: {STATE_TEXTS.get(job.state, job.state)}")

    def close(self) -> None:
        """Stop the display and reset it for another job."""
        self._progress.stop()
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._bars.clear()
        self._state = None


def print_outcome(job: Job, package: JobResult | None, *, as_json: bool) -> ExitCode:
    """Print how the job ended on stdout and return the exit status."""
    status = exit_code(job)
    if as_json:
        print(json.dumps(_summary(job, package, status), ensure_ascii=False))
        return status
    console = Console(highlight=False)
    if package is not None:
        console.print(f"[bold]{escape(str(package.grid))}[/]", soft_wrap=True)
        for number, path in package.rows:
            console.print(f"  row {number}  {escape(str(path))}", soft_wrap=True)
        console.print(f"  {escape(str(package.metadata))}", soft_wrap=True)
        console.print(escape(caption(job)))
    if status is ExitCode.PARTLY:
        lost = ", ".join(str(row.number) for row in job.rows if row.number not in job.fetched_rows)
        errors.print(f"[yellow]Incomplete: row {lost} failed.[/]")
    elif job.state is JobState.FAILED:
        errors.print(f"[red]{escape(job.failure_message)}[/]")
    elif job.state is JobState.CANCELLED:
        errors.print("Cancelled.")
    return status


def exit_code(job: Job) -> ExitCode:
    """Return the exit status for an ended job."""
    if job.state is JobState.CANCELLED:
        return ExitCode.CANCELLED
    if job.state is not JobState.FINISHED:
        return ExitCode.FAILED
    return ExitCode.PARTLY if job.is_partial else ExitCode.OK


def _summary(job: Job, package: JobResult | None, status: ExitCode) -> dict[str, object]:
    def name(path: Path) -> str:
        return str(path)

    return {
        "job": job.id,
        "state": job.state,
        "exit": int(status),
        "sentence": job.failure_message,
        "seed": job.request.seed,
        "images": made_images(job),
        "grid": name(package.grid) if package else None,
        "rows": {number: name(path) for number, path in package.rows} if package else {},
        "metadata": name(package.metadata) if package else None,
    }
