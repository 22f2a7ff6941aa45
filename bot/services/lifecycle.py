"""The engine's hand on the store: every change of a job is one transaction, made here.

A change reads the job as it is stored, lets the domain decide, and saves job and ledger together;
so whoever else changed it in between, a member's cancel or another process, is never overwritten.
Progress within a row is not written down: it is worth nothing after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from bot.domain.errors import BotError
from bot.domain.events import (
    JobEvent,
    RowProgress,
    RowStarted,
)
from bot.domain.job import Job, JobState, apply_event
from bot.store import jobs as job_table
from bot.store import ledger
from bot.store.database import Database
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)


class JobObserver(Protocol):
    """Wants to know what happens. Called in order for one job; must return soon."""

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """``event`` has happened, and was saved; ``job`` is what it made of the job."""
        ...


class CompositeObserver:
    """Several reporters as one; an error of one is logged and reaches neither job nor others."""

    def __init__(self, observers: Iterable[JobObserver] = ()) -> None:
        self._observers = list(observers)

    def add(self, *observers: JobObserver) -> None:
        """Notify these, too, of every event from now on."""
        self._observers.extend(observers)

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Tell everyone."""
        for observer in self._observers:
            try:
                await observer.on_event(job, event)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception(
                    "a reporter failed on %s", type(event).__name__, extra={"job": job.id}
                )


_NOT_SAVED = (RowProgress, RowStarted)


class JobLifecycle:
    """Applies events to stored jobs and tells the reporter what became of them."""

    def __init__(
        self, database: Database, observer: JobObserver, *, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._jobs = JobRepository(database)
        self._observer = observer
        self._now = now
        # Who wants which live job stopped. Progress is applied to what the runner last saw, which
        # may be older than the wish: without this a card would go back from stopping to painting.
        self._stopping: dict[str, int] = {}

    async def is_cancel_requested(self, job: Job) -> bool:
        """Whether somebody has asked meanwhile for the job to be cancelled."""
        stored = await self._jobs.get(job.id)
        return stored is not None and stored.cancelled_by is not None

    async def stored(self, job: Job) -> Job:
        """Return the job as the store has it now."""
        return await self._jobs.get(job.id) or job

    async def apply_event(self, job: Job, event: JobEvent) -> Job:
        """The job after ``event``, saved if it changed. Raises IllegalTransition, saving nothing.

        ``job`` is what the caller last saw; the stored one is what counts, but for the progress of
        rows, which is only in memory.
        """
        at = self._now()
        if isinstance(event, _NOT_SAVED):
            if job.cancelled_by is None and job.id in self._stopping:
                job = replace(job, cancelled_by=self._stopping[job.id])
            changed = apply_event(job, event, at)
        else:
            saved = await self._database.write(lambda link: apply_event_in(link, job.id, event, at))
            changed = _with_progress_of(job, saved)
            if changed.state.terminal or changed.cancelled_by is None:
                self._stopping.pop(job.id, None)
            else:
                self._stopping[job.id] = changed.cancelled_by
        if changed != job:
            await self._observer.on_event(changed, event)
        return changed


def apply_event_in(
    connection: sqlite3.Connection, job_id: str, event: JobEvent, at: datetime
) -> Job:
    """Apply one event inside a transaction: job, and ledger when the job ends with it."""
    stored = job_table.by_id(connection, job_id)
    if stored is None:
        raise BotError(f"there is no job {job_id}")
    changed = apply_event(stored, event, at)
    if changed != stored:
        job_table.save(connection, changed, expected=stored.state, at=at)
        if changed.state.terminal:
            settle_quota(connection, changed, at)
    return changed


def settle_quota(connection: sqlite3.Connection, job: Job, at: datetime) -> None:
    """Charge what was made, or give everything back; does nothing when that was done before."""
    images = charged_images(job)
    if images:
        ledger.settle(connection, job.id, images=images, at=at)
    else:
        actor = job.cancelled_by or 0
        ledger.refund(connection, job.id, at=at, actor_id=actor, reason=job.cause or job.state)


def charged_images(job: Job) -> int:
    """What an ended job costs: the rows that were delivered or, if it was cancelled, were shown.

    A failed job costs nothing.
    """
    if job.state is JobState.FAILED:
        return 0
    rows = job.fetched_rows if job.state is JobState.FINISHED else job.ready_rows
    return len(rows) * job.request.samples


def _with_progress_of(seen: Job, saved: Job) -> Job:
    """``saved`` with the percentages that only ``seen`` has."""
    if saved.state.terminal or len(seen.rows) != len(saved.rows):
        return saved
    rows = tuple(
        row
        if row.is_done or before.is_done
        else replace(row, percent=max(row.percent, before.percent), started=before.started)
        for before, row in zip(seen.rows, saved.rows, strict=True)
    )
    return replace(saved, rows=rows)
