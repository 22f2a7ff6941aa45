"""Apply events to stored jobs: every change of a job is one transaction, made here.

It reads the stored job, applies the domain's rules, and saves job and ledger together, so that a
change made meanwhile (a member's cancel, another process) is never overwritten. Progress within a
row is not saved: it is of no use after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar

from bot.domain.errors import BotError
from bot.domain.events import (
    Cancelled,
    CancelRequested,
    JobEvent,
    RowProgress,
    RowStarted,
)
from bot.domain.job import Job, JobState, apply_event, charged_images
from bot.store import job_queries, ledger, moderation, moderation_log
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)


class JobObserver(Protocol):
    """Is notified of events, in order for each job. Must return soon."""

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Handle an event that was saved; ``job`` is the job after it."""
        ...


class CompositeObserver:
    """Notify several observers. An error of one is logged and does not reach the others."""

    def __init__(self, observers: Iterable[JobObserver] = ()) -> None:
        self._observers = list(observers)

    def add(self, *observers: JobObserver) -> None:
        """Notify these, too, of every event from now on."""
        self._observers.extend(observers)

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Notify every observer."""
        for observer in self._observers:
            try:
                await observer.on_event(job, event)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception(
                    "an observer failed on %s", type(event).__name__, extra={"job": job.id}
                )


Result = TypeVar("Result")
AppliedEvent: TypeAlias = tuple[Job, JobEvent]
Within: TypeAlias = Callable[[sqlite3.Connection], None]
"""What is done in the same transaction as a change."""

_TRANSIENT_EVENTS = (RowProgress, RowStarted)


class JobLifecycle:
    """Apply events to stored jobs and notify the observer of the changes."""

    def __init__(
        self, database: Database, observer: JobObserver, *, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._jobs = JobRepository(database)
        self._observer = observer
        self._now = now
        # Who cancelled which running job. Progress is applied to the job as the worker last saw it,
        # perhaps before the cancel: its status message must not go back from stopping to running.
        self._cancelled_by: dict[str, int] = {}

    async def is_cancel_requested(self, job: Job) -> bool:
        """Whether a cancel of the job was requested meanwhile."""
        stored = await self._jobs.get(job.id)
        return stored is not None and stored.cancelled_by is not None

    async def stored(self, job: Job) -> Job:
        """Return the job as it is stored now."""
        return await self._jobs.get(job.id) or job

    async def apply_event(
        self, job: Job, event: JobEvent, within: Within = lambda _link: None
    ) -> Job:
        """Apply ``event`` to the stored job, save it if it changed, and return it.

        ``job`` is the job as the caller last saw it; only the progress of its rows is used, which
        is not stored. ``within`` is called first, in the same transaction. Raises
        IllegalTransition and saves nothing.
        """
        at = self._now()
        if isinstance(event, _TRANSIENT_EVENTS):
            if job.cancelled_by is None and job.id in self._cancelled_by:
                job = replace(job, cancelled_by=self._cancelled_by[job.id])
            changed = apply_event(job, event, at)
        else:

            def save(link: sqlite3.Connection) -> Job:
                within(link)
                return apply_event_in(link, job.id, event, at)

            saved = await self._database.write(save)
            changed = _merge_progress(job, saved)
            self._remember_cancel(changed)
        if changed != job:
            await self._observer.on_event(changed, event)
        return changed

    async def write(
        self, function: Callable[[sqlite3.Connection], tuple[Result, Sequence[AppliedEvent]]]
    ) -> Result:
        """Run a transaction that applies events with ``apply_event_in``, then notify of them."""
        result, applied = await self._database.write(function)
        for job, event in applied:
            self._remember_cancel(job)
            await self._observer.on_event(job, event)
        return result

    def _remember_cancel(self, job: Job) -> None:
        if job.state.terminal or job.cancelled_by is None:
            self._cancelled_by.pop(job.id, None)
        else:
            self._cancelled_by[job.id] = job.cancelled_by


def apply_event_in(
    connection: sqlite3.Connection, job_id: str, event: JobEvent, at: datetime
) -> Job:
    """Apply an event to a job inside a transaction, and settle the quota if it ends the job.

    Raises BotError if there is no such job, IllegalTransition.
    """
    stored = job_queries.job_by_id(job_id).run(connection)
    if stored is None:
        raise BotError(f"there is no job {job_id}")
    changed = apply_event(stored, event, at)
    if changed != stored:
        job_table.save(connection, changed, expected=stored.state, at=at)
        if changed.state.terminal:
            settle_quota(connection, changed, at)
            _end_holds(connection, changed, at)
    return changed


def request_cancel(
    connection: sqlite3.Connection, job_id: str, by: int, at: datetime
) -> list[AppliedEvent]:
    """Cancel a job inside a transaction and return what was applied.

    A waiting job ends at once, a running one when its backend has stopped it: call ``queue.stop``.
    Returns nothing for a job that somebody has asked to cancel before.
    """
    stored = job_queries.job_by_id(job_id).run(connection)
    if stored is None or stored.state.terminal:
        return []
    events: list[JobEvent] = [CancelRequested(by)] if stored.cancelled_by is None else []
    if stored.state is JobState.QUEUED:
        events.append(Cancelled(by))
    return [(apply_event_in(connection, job_id, event, at), event) for event in events]


def settle_quota(connection: sqlite3.Connection, job: Job, at: datetime) -> None:
    """Charge the images that were made, or refund all of them. Idempotent."""
    images = charged_images(job)
    if images:
        ledger.settle(connection, job.id, images=images, at=at)
    else:
        actor = job.cancelled_by or 0
        ledger.refund(connection, job.id, at=at, actor_id=actor, reason=job.cause or job.state)


def _end_holds(connection: sqlite3.Connection, job: Job, at: datetime) -> None:
    """Ask the moderators no longer about a job that has ended."""
    ended = {"decision": "cancelled", "decided_by": job.cancelled_by}
    for kind in moderation.end_holds(connection, job.id, by=job.cancelled_by, at=at):
        subject = f"hold:{kind}:{job.id}"
        moderation_log.amend_message(connection, job.request.place.guild_id, subject, ended, at=at)


def _merge_progress(seen: Job, saved: Job) -> Job:
    """Return ``saved`` with the progress of rows, which only ``seen`` has."""
    if saved.state.terminal or len(seen.rows) != len(saved.rows):
        return saved
    rows = tuple(
        row
        if row.is_done or before.is_done
        else replace(row, percent=max(row.percent, before.percent), started=before.started)
        for before, row in zip(seen.rows, saved.rows, strict=True)
    )
    return replace(saved, rows=rows)
