"""A job and its life: the states, the transition table, and ``advance(job, event, at)``.

    QUEUED → SUBMITTING → PENDING → RUNNING → COLLECTING → DELIVERING → FINISHED
                  any of them → FAILED | CANCELLED

``advance`` never does half of anything: it returns a new job, or the same job for an event that
comes late or twice, or raises IllegalTransition. It knows nothing of who saves or posts the job.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from bot.domain.errors import IllegalTransition
from bot.domain.events import (
    KEPT,
    Accepted,
    Artifact,
    BackendJobRef,
    Cancelled,
    CancelRequested,
    Delivered,
    Exited,
    Failed,
    FailureReason,
    Finished,
    FundsExhausted,
    GridReady,
    JobEvent,
    MessageRef,
    Redelivered,
    Requeued,
    ResultsFetched,
    RowFailed,
    RowPainted,
    RowProgress,
    RowReady,
    RowStarted,
    Scheduled,
    Started,
)
from bot.domain.image_engine import Painted
from bot.domain.request import Request


class JobState(StrEnum):
    """Where a job is in its life; the last three are terminal."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    PENDING = "pending"
    RUNNING = "running"
    COLLECTING = "collecting"
    DELIVERING = "delivering"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
ACTIVE_STATES = frozenset({JobState.PENDING, JobState.RUNNING})
SLOT_STATES = ACTIVE_STATES | {JobState.SUBMITTING}
_AFTER_RUN = frozenset({JobState.COLLECTING, JobState.DELIVERING})

# What says nothing new once the run is over and its pictures are on their way.
_OF_THE_RUN = (
    *(Started, Requeued, RowStarted, RowProgress, RowPainted, RowReady, RowFailed, GridReady),
    *(Finished, Exited, FundsExhausted, CancelRequested),
)

# Ends that come from outside and say nothing against rows that were published before them.
_CUT_SHORT = frozenset({FailureReason.DIED, FailureReason.TIME_LIMIT, FailureReason.OUT_OF_FUNDS})

_MAX_PAINTERS = 2  # that are named; each has a name of its own length

_ID_LETTERS = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUV", "234567abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Row:
    """One parallel task's share of the grid. ``number`` counts from 1."""

    number: int
    seed: int
    percent: int = 0
    started: bool = False
    artifact: Artifact | None = None
    failed_code: int | None = None
    painted: Painted | None = None

    @property
    def is_ready(self) -> bool:
        """Whether its strip of pictures is published."""
        return self.artifact is not None

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.is_ready or self.failed_code is not None


@dataclass(frozen=True, slots=True)
class Job:
    """A request on its way to a picture. Times are aware UTC."""

    id: str
    request: Request
    created_at: datetime
    state: JobState = JobState.QUEUED
    handle: BackendJobRef | None = None
    rows: tuple[Row, ...] = field(default=())
    grid: Artifact | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cause: FailureReason | None = None
    failure_message: str = ""
    cancelled_by: int | None = None
    fetched_rows: tuple[int, ...] = ()
    delivery_method: str = ""
    result: MessageRef | None = None

    @property
    def ready_rows(self) -> tuple[Row, ...]:
        """The rows whose strips are published, in order."""
        return tuple(row for row in self.rows if row.is_ready)

    @property
    def is_partial(self) -> bool:
        """Whether the result lacks rows."""
        return 0 < len(self.fetched_rows or self.ready_rows) < len(self.rows)

    @property
    def painted(self) -> tuple[Painted, ...]:
        """What painted the rows, each once; usually one, and none where no painter has said it."""
        said = (row.painted for row in self.rows if row.is_ready)
        return tuple(dict.fromkeys(painted for painted in said if painted is not None))

    @property
    def steps_run(self) -> int:
        """How many steps ran in a row, at most; 0 where no painter has said it."""
        return max((painted.steps for painted in self.painted), default=0)

    @property
    def painter(self) -> str:
        """What painted, in words; until that is known, the model that was asked for."""
        said = list(dict.fromkeys(painted.show() for painted in self.painted))
        if len(said) > _MAX_PAINTERS:
            said[_MAX_PAINTERS:] = ["others"]
        return " and ".join(said) or self.request.model

    @property
    def percent(self) -> int:
        """Progress over all rows, 0 to 100; a row that failed counts as gone through."""
        done = sum(100 if row.is_done else row.percent for row in self.rows)
        return done // max(1, len(self.rows))


def new_job(job_id: str, request: Request, at: datetime) -> Job:
    """A job at the start of its life, with one Row for each row asked for."""
    rows = tuple(Row(n, request.row_seed(n)) for n in range(1, request.rows + 1))
    return Job(job_id, request, at, rows=rows)


def job_id(at: datetime, entropy: bytes) -> str:
    """A 16-letter id, ``[a-z2-7]``, that sorts roughly by time; ``entropy`` is 5 random bytes.

    Short enough for DeepSquare's 32-byte job name and, with a prefix, for Discord's
    25-character nonce; safe as a file name and as a word in a shell.
    """
    if len(entropy) != 5:
        raise ValueError("five bytes of entropy make a job id")
    # 5 bytes of 1/64 seconds count for 544 years; most significant first, so that ids sort.
    ticks = int(at.timestamp() * 64).to_bytes(5, "big")
    # Plain base32 ranks 2-7 after the letters while ASCII ranks them before, so ids would not
    # sort by time; base32hex does sort, and its letters are then exchanged in the same order.
    return base64.b32hexencode(ticks + entropy).decode().translate(_ID_LETTERS)


def apply_event(job: Job, event: JobEvent, at: datetime) -> Job:
    """The job after ``event`` happened at ``at``.

    Terminal states absorb everything, but for the delivery of a result that was kept. Otherwise an
    event is applied whole, absorbed because it is late or repeated (logs replay), or raises
    IllegalTransition.
    """
    if job.delivery_method == KEPT and isinstance(event, Redelivered):
        return replace(job, delivery_method=event.method, result=event.message)
    if job.state.terminal or (job.state in _AFTER_RUN and isinstance(event, _OF_THE_RUN)):
        return job
    match event:
        case Scheduled():
            if job.state is JobState.QUEUED:
                return replace(job, state=JobState.SUBMITTING)
        case Accepted(handle):
            if job.state is JobState.SUBMITTING:
                return replace(job, state=JobState.PENDING, handle=handle)
            if job.handle == handle:
                return job
        case Started():
            if job.state is JobState.PENDING:
                return replace(job, state=JobState.RUNNING, started_at=at)
            if job.state is JobState.RUNNING:
                return job
        case Requeued():
            if job.state in ACTIVE_STATES:
                rows = tuple(row if row.is_ready else Row(row.number, row.seed) for row in job.rows)
                return replace(job, state=JobState.PENDING, started_at=None, rows=rows)
        case RowStarted() | RowProgress() | RowPainted() | RowReady() | RowFailed():
            if job.state in ACTIVE_STATES:
                return _with_row(_running(job, at), event)
        case GridReady(artifact, _):
            if job.state in ACTIVE_STATES:
                return replace(_running(job, at), grid=artifact)
        case Finished(ok, _):
            if job.state in ACTIVE_STATES:
                return _finished(_running(job, at), ok, at)
        case Exited(code, detail):
            if job.state in ACTIVE_STATES and job.cancelled_by is not None:
                return replace(job, state=JobState.CANCELLED, ended_at=at)
            if job.state in ACTIVE_STATES:
                return _exited(job, code, detail, at)
        case ResultsFetched(rows):
            if job.state is JobState.COLLECTING:
                return _collected(job, rows)
            if job.state is JobState.DELIVERING:
                return job
        case Delivered(method, message):
            if job.state is JobState.DELIVERING:
                return replace(
                    job,
                    state=JobState.FINISHED,
                    delivery_method=method,
                    result=message,
                    ended_at=at,
                )
        case Redelivered():
            pass  # only what was kept can be
        case Failed(cause, sentence):
            if job.state in ACTIVE_STATES and job.ready_rows:
                if cause is FailureReason.MODEL_MISSING:
                    # One node lacks it, another had it: only that row fails, and says so itself.
                    return job
                if cause in _CUT_SHORT:
                    return replace(job, state=JobState.COLLECTING)
            if job.state in _AFTER_RUN and cause in _CUT_SHORT:
                return job
            return _failed(job, cause, sentence, at)
        case FundsExhausted():
            if job.ready_rows:
                return replace(job, state=JobState.COLLECTING)
            sentence = "The compute time that was paid for ran out before a row was ready."
            return _failed(job, FailureReason.OUT_OF_FUNDS, sentence, at)
        case CancelRequested(by):
            if job.cancelled_by is not None:
                return job
            return replace(job, cancelled_by=by)
        case Cancelled(by):
            # The backend does not know who asked for it; the request, saved before, does.
            who = by if job.cancelled_by is None else job.cancelled_by
            return replace(job, state=JobState.CANCELLED, cancelled_by=who, ended_at=at)
        case _:
            assert_never(event)
    raise IllegalTransition(f"{type(event).__name__} cannot happen to a job that is {job.state}")


def charged_images(job: Job) -> int:
    """Return how many images an ended job is charged for.

    That is the images of the rows that were delivered or, if the job was cancelled, were ready.
    A failed job is charged nothing.
    """
    if job.state is JobState.FAILED:
        return 0
    rows = job.fetched_rows if job.state is JobState.FINISHED else job.ready_rows
    return len(rows) * job.request.samples


def _running(job: Job, at: datetime) -> Job:
    """The same job, RUNNING: a log line proves it even if the backend's word was missed."""
    if job.state is JobState.RUNNING:
        return job
    return replace(job, state=JobState.RUNNING, started_at=job.started_at or at)


def _with_row(job: Job, event: RowStarted | RowProgress | RowPainted | RowReady | RowFailed) -> Job:
    if not 1 <= event.row <= len(job.rows):
        raise IllegalTransition(f"row {event.row} of a job with {len(job.rows)} rows")
    row = job.rows[event.row - 1]
    if row.is_ready and not isinstance(event, RowReady | RowPainted):
        return job
    # The newest word counts: a requeued job may paint a row again, under its name, in other bytes.
    match event:
        case RowStarted():
            row = replace(row, started=True)
        case RowProgress(_, percent):
            row = replace(row, started=True, percent=max(row.percent, min(100, max(0, percent))))
        case RowPainted(_, painted):
            row = replace(row, started=True, painted=painted)
        case RowReady(_, seed, artifact):
            row = Row(row.number, seed, 100, True, artifact, painted=row.painted)
        case RowFailed(_, code):
            row = replace(row, started=True, failed_code=code)
        case _:
            assert_never(event)
    return replace(job, rows=(*job.rows[: row.number - 1], row, *job.rows[row.number :]))


def _finished(job: Job, ok: int, at: datetime) -> Job:
    """The workflow said it is done: collect what is published, or fail when nothing is."""
    if job.ready_rows:
        return replace(job, state=JobState.COLLECTING)
    if ok > 0:
        return _failed(
            job, FailureReason.FILES_MISSING, "The rows were made but not published.", at
        )
    return _failed(job, FailureReason.ROWS_FAILED, "No row could be made.", at)


def _exited(job: Job, code: int | None, detail: str, at: datetime) -> Job:
    """The job is over without having said so itself: rescue the rows that were published."""
    if job.ready_rows:
        return replace(job, state=JobState.COLLECTING)
    if all(row.failed_code is not None for row in job.rows):
        return _failed(job, FailureReason.ROWS_FAILED, "No row could be made.", at)
    if code == 0:
        return _failed(
            job, FailureReason.FILES_MISSING, "The job ended well but left no picture.", at
        )
    how = detail or (f"exit status {code}" if code is not None else "no exit status")
    return _failed(job, FailureReason.DIED, f"The job ended too early ({how}).", at)


def _collected(job: Job, rows: tuple[int, ...]) -> Job:
    """The pictures of ``rows`` are here; a row that the job does not have is a bug upstream."""
    if not all(1 <= row <= len(job.rows) for row in rows):
        raise IllegalTransition(f"collected rows {rows} of a job with {len(job.rows)} rows")
    return replace(job, state=JobState.DELIVERING, fetched_rows=rows)


def _failed(job: Job, cause: FailureReason, sentence: str, at: datetime) -> Job:
    return replace(job, state=JobState.FAILED, cause=cause, failure_message=sentence, ended_at=at)
