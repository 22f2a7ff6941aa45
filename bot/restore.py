"""Restore a backup of the database so that nothing is computed or posted twice.

Jobs were made, ended and posted since the backup. The backup is copied, the copy is updated with
what is known (``_reconcile``), and only then replaces the database, which is kept under another
name. Discord is searched at the next start (``settle_posted``), before anything is submitted or
posted. Everything else here blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from bot.bootstrap import DATABASE, Application, ensure_data_dir, evidence_of_jobs
from bot.clock import utc_now
from bot.domain.errors import BackendError, ConfigError, DeliveryError
from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Delivered,
    Finished,
    JobEvent,
    MessageRef,
    ResultsFetched,
    RowFailed,
    RowReady,
    Scheduled,
)
from bot.domain.grid import file_name
from bot.domain.job import ACTIVE_STATES, TERMINAL, Job, JobState
from bot.domain.json_parser import parse_json
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.services import lifecycle
from bot.services.delivery import DeliveryTransport
from bot.settings import Settings
from bot.store import backups, deliveries, identity
from bot.store import jobs as job_table
from bot.store.database import create
from bot.store.lock import FolderInUse, bot_lock, database_lock
from bot.store.outdated import Present, all_ids, read_present, rewriting, unfinished

log = logging.getLogger(__name__)

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_NAMED_IDS = 5


@dataclass(slots=True)
class Restoring:
    """A prepared backup. ``report`` tells the operator what will change, line by line."""

    path: Path
    prepared: Path
    report: list[str] = field(default_factory=list)

    def carry_out(self, at: datetime) -> tuple[Path, ...]:
        """Replace the database and return the new paths of the old files."""
        return backups.exchange(self.path, self.prepared, at)


@contextlib.contextmanager
def restoring(settings: Settings, source: Path) -> Iterator[Restoring]:
    """Lock the data folder and prepare the restore of ``source``.

    Nothing changes until ``carry_out``; the prepared copy is deleted at the end. Raises ConfigError
    if a bot or another command uses the database, or if the backup cannot be used.
    """
    folder = settings.data.dir
    path = folder / DATABASE
    if source.exists() and path.exists() and source.samefile(path):
        raise ConfigError(str(source), "this is the database itself", "Name a backup of it.")
    with _lock_folder(folder):
        prepared = path.with_name(f"{path.stem}-restoring{path.suffix}")
        summary = backups.prepare(source, prepared, utc_now)
        try:
            yield Restoring(path, prepared, _reconcile(settings, source, prepared, summary))
        finally:
            backups.discard(prepared)


@contextlib.contextmanager
def starting_afresh(settings: Settings) -> Iterator[Restoring]:
    """Prepare like ``restoring``, but an empty database instead of a backup."""
    path = settings.data.dir / DATABASE
    with _lock_folder(settings.data.dir):
        prepared = path.with_name(f"{path.stem}-restoring{path.suffix}")
        backups.discard(prepared)
        try:
            create(prepared, utc_now)
            identity.beside(prepared).unlink(missing_ok=True)
            report = ["An empty database: no requests, no quota used, no rules of moderators."]
            report += [
                f"{place} stays as it is; the bot will not know its contents."
                for place in evidence_of_jobs(settings.data.dir)
            ]
            yield Restoring(path, prepared, report)
        finally:
            backups.discard(prepared)


async def settle_posted(engine: Application, transport: DeliveryTransport) -> None:
    """Finish every restored job whose result Discord already shows. Call it after sign-in.

    Nothing is computed, fetched or posted for such a job: its images may be gone.
    """
    reader = deliveries.DeliveryRepository(engine.database)
    for job_id in await reader.perhaps_posted():
        job = await engine.queue.jobs.get(job_id)
        if job is None:
            continue
        for method in (INTERACTION, CHANNEL, DIRECT):
            try:
                message = await transport.find_sent(method, job, f"job-{job.id}", job.created_at)
                handle = job.handle or (await engine.backend.find(job.id) if message else None)
            except (DeliveryError, BackendError, OSError) as error:
                log.warning("cannot look for an earlier post: %s", error, extra={"job": job.id})
                continue
            if message is not None:
                handle = handle or BackendJobRef(engine.backend.name, job.id)
                end = partial(
                    _finish_as_posted, job=job, handle=handle, method=method, message=message
                )
                folder = engine.results.folder(job.id)
                await engine.database.write(partial(end, folder=folder, at=utc_now()))
                log.info("it was posted before the restore", extra={"job": job.id})
                break


def _finish_as_posted(
    link: sqlite3.Connection,
    job: Job,
    handle: BackendJobRef,
    method: str,
    message: MessageRef,
    folder: Path,
    at: datetime,
) -> None:
    rows = {
        row.number: row.artifact
        or Artifact((folder / file_name("row", row.number)).as_uri(), 0, "")
        for row in job.rows
        if row.failed_code is None
    }
    for event in (*_events_to_delivery(job, handle, rows), Delivered(method, message)):
        lifecycle.apply_event_in(link, job.id, event, at)
    deliveries.finish_attempt(link, job.id, method, f"job-{job.id}", delivered=True, at=at)


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    ensure_data_dir(folder)  # a new machine has none yet
    try:
        with bot_lock(folder, "gridbrush restore", utc_now()), database_lock(folder, alone=True):
            yield
    except FolderInUse as error:
        hint = "Stop the bot, and every one that stands by, and run this again."
        raise ConfigError(error.location, error.problem, hint) from None


def _reconcile(
    settings: Settings, source: Path, prepared: Path, summary: backups.Summary
) -> list[str]:
    """Update the copy with what is known to have happened since; return the report."""
    folder, at = settings.data.dir, utc_now()
    newest = f"{summary.newest:%Y-%m-%d %H:%M:%S} UTC" if summary.newest else "none"
    report = [
        f"The backup {source} is sound: {summary.jobs} requests, {summary.unfinished} not ended, "
        f"the newest accepted {newest}.",
        "What moderators have set, granted or blocked since then is not in it.",
    ]
    present = read_present(folder / DATABASE)
    if present is None:
        report.append("The current database cannot be read, or there is none.")
    with rewriting(prepared) as link:
        known = all_ids(link)
        ended = _apply_endings(link, present, at) if present else []
        delivering = _apply_results(link, settings, at)
        going_on = _require_search(link)
    report += _format_report(
        (
            (ended, "ended after the backup: their end is taken from the current database"),
            (
                delivering,
                "had not ended in the backup, and their images are in jobs: they are not "
                "computed again, and delivered only if Discord does not show them yet",
            ),
            (
                [job_id for job_id in going_on if job_id not in delivering],
                "continue: each is searched for at the backend before it is submitted, and its "
                "result is searched for in Discord before it is posted",
            ),
        )
    )
    since = present.jobs.keys() - known if present else set()
    places = {"made after the backup": since, **_find_unknown(settings, known)}
    unknown = sorted(set().union(*places.values()))
    if unknown:
        report.append(f"Newer than the backup: {_format_ids(unknown)}.")
        report += [f"  {place}: {len(ids)}" for place, ids in places.items() if ids]
        report.append(
            "  The bot will not know them: they use no quota, are not in /history, and their "
            "buttons say so. Their messages stay in Discord and their files on disk. What still "
            "runs at the backend runs to its end there, and is paid for if it costs credits."
        )
    return report


def _format_report(kinds: tuple[tuple[list[str], str], ...]) -> list[str]:
    return [f"{_format_ids(ids)} {words}." for ids, words in kinds if ids]


def _format_ids(ids: list[str]) -> str:
    """Format job ids: ``3 requests (a, b, c)``."""
    named = ", ".join(ids[:_MAX_NAMED_IDS]) + (", …" if len(ids) > _MAX_NAMED_IDS else "")
    return f"{len(ids)} request{'s' if len(ids) != 1 else ''} ({named})"


def _apply_endings(link: sqlite3.Connection, present: Present, at: datetime) -> list[str]:
    """End the jobs that have ended since, settle their quota, and return their ids."""
    ended = []
    for stored in unfinished(link):
        job = present.jobs.get(stored.id)
        if job is None or job.state not in TERMINAL:
            continue
        job_table.save(link, job, expected=stored.state, at=job.ended_at or at)
        lifecycle.settle_quota(link, job, at)
        for kind, message in present.messages.get(job.id, {}).items():
            deliveries.set_message(link, job.id, kind, message, at=at)
        ended.append(job.id)
    return ended


def _apply_results(link: sqlite3.Connection, settings: Settings, at: datetime) -> list[str]:
    """Advance jobs whose results are on disk to delivery and return their ids.

    The backend may have forgotten them and would report that they never ran.
    """
    delivering = []
    for job in unfinished(link):
        if job.state is JobState.DELIVERING:
            delivering.append(job.id)
        elif (rows := _load_rows(settings.data.dir / "jobs" / job.id, job)) is not None:
            handle = job.handle or _backend_ref(settings, job)
            if handle is not None:
                for event in _events_to_delivery(job, handle, rows):
                    lifecycle.apply_event_in(link, job.id, event, at)
                delivering.append(job.id)
    return delivering


def _backend_ref(settings: Settings, job: Job) -> BackendJobRef | None:
    """Return the backend's reference if it is the job's id; None where only ``find`` knows it."""
    kind = settings.backend.kind
    return None if kind == "deepsquare" else BackendJobRef(kind, job.id)


def _events_to_delivery(
    job: Job, handle: BackendJobRef, rows: Mapping[int, Artifact]
) -> Iterator[JobEvent]:
    """Yield the events that advance the job until its results can be delivered."""
    if job.state is JobState.QUEUED:
        yield Scheduled()
    if job.state in (JobState.QUEUED, JobState.SUBMITTING):
        yield Accepted(handle)
    if job.state in (JobState.QUEUED, JobState.SUBMITTING, *ACTIVE_STATES):
        for row in job.rows:
            artifact = rows.get(row.number)
            if artifact is None:
                yield RowFailed(row.number, 1)
            else:
                yield RowReady(row.number, row.seed, artifact)
        yield Finished(len(rows), len(job.rows) - len(rows))
    yield ResultsFetched(tuple(sorted(rows)))


def _load_rows(folder: Path, job: Job) -> dict[int, Artifact] | None:
    """Return the fetched rows if all files match their digests; None otherwise."""
    try:
        metadata = parse_json((folder / "metadata.json").read_text(encoding="utf-8"))
        digests: dict[str, str] = metadata["sha256"]
        rows = {}
        for name, digest in digests.items():
            with (folder / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                    return None
        for row in job.rows:
            name = file_name("row", row.number)
            if name in digests:
                path = folder / name
                rows[row.number] = Artifact(path.as_uri(), path.stat().st_size, digests[name])
        return rows if rows and file_name("grid") in digests else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _require_search(link: sqlite3.Connection) -> list[str]:
    """Record open attempts by every method for each unfinished job; return the jobs' ids."""
    found = unfinished(link)
    for job in found:
        if job.request.place.channel_id:
            for method in (INTERACTION, CHANNEL, DIRECT):
                nonce = f"job-{job.id}"
                # As old as the job: a message from any time since then is found.
                deliveries.record_attempt(link, job.id, method, nonce, at=job.created_at)
    return [job.id for job in found]


def _find_unknown(settings: Settings, known: set[str]) -> dict[str, set[str]]:
    """Return the ids of jobs that have files but are not in the backup, by place."""
    data = settings.data.dir
    shared = settings.backend.slurm.shared_dir
    folders = {
        "with images in jobs": data / "jobs",
        "known to the local backend": data / "local" / "jobs",
        "known to the scripted backend": data / "scripted",
        "known to the Slurm backend": shared / "jobs" if shared else data / "slurm" / "jobs",
    }
    found = {
        place: {path.name for path in _entries(folder) if _JOB_ID.fullmatch(path.name)} - known
        for place, folder in folders.items()
    }
    records = (data / "deepsquare").glob("*/jobs/*.json")
    found["known to the DeepSquare backend"] = {path.stem for path in records} - known
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []
