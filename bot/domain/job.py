"""Job, its states and rows, and the state machine ``apply_event(job, event, at)``.

    QUEUED → SUBMITTING → PENDING → RUNNING → COLLECTING → DELIVERING → FINISHED
                  any of them → FAILED | CANCELLED

``apply_event`` returns a new job, or the same job for a late or repeated event, or raises
IllegalTransition.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

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
    ImagesChecked,
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
from bot.domain.image_check import ImageOutcome
from bot.domain.image_engine import GenerationInfo
from bot.domain.request import Request


class JobState(StrEnum):
    """State of a job; the last three are terminal."""

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
        """Return whether the job has ended."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
ACTIVE_STATES = frozenset({JobState.PENDING, JobState.RUNNING})
SLOT_STATES = ACTIVE_STATES | {JobState.SUBMITTING}
_AFTER_RUN_STATES = frozenset({JobState.COLLECTING, JobState.DELIVERING})

# Events that are ignored once the results are being fetched or delivered.
_RUN_EVENTS = (
    *(Started, Requeued, RowStarted, RowProgress, RowPainted, RowReady, RowFailed, GridReady),
    *(Finished, Exited, FundsExhausted, CancelRequested),
)

# Failures from outside the job: rows that were published before them are still good.
_EXTERNAL_FAILURES = frozenset(
    {FailureReason.DIED, FailureReason.TIME_LIMIT, FailureReason.OUT_OF_FUNDS}
)

_MAX_ENGINES = 2  # named in one caption, whose length is limited

SHORT_ID: Final = 8
"""The characters of an id that people read and type."""

_BASE32HEX = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
_ID_LETTERS = str.maketrans(_BASE32HEX, _LETTERS)
_BASE32_LETTERS = str.maketrans(_LETTERS, _BASE32HEX)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the grid, made by one parallel task. ``number`` counts from 1."""

    number: int
    seed: int
    percent: int = 0
    started: bool = False
    artifact: Artifact | None = None
    failed_code: int | None = None
    generation: GenerationInfo | None = None

    @property
    def is_ready(self) -> bool:
        """Return whether the row's images are published."""
        return self.artifact is not None

    @property
    def is_done(self) -> bool:
        """Return whether the row has ended, ready or failed."""
        return self.is_ready or self.failed_code is not None


@dataclass(frozen=True, slots=True)
class Job:
    """State of a request from acceptance to its result. Times are aware UTC."""

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
    image_check: ImageOutcome = ImageOutcome.UNCHECKED

    @property
    def ready_rows(self) -> tuple[Row, ...]:
        """Return the published rows, in order."""
        return tuple(row for row in self.rows if row.is_ready)

    @property
    def is_held(self) -> bool:
        """Return whether its images wait for a moderator."""
        return self.state is JobState.DELIVERING and self.image_check is ImageOutcome.HELD

    @property
    def is_withheld(self) -> bool:
        """Return whether there are images that nobody may see: they wait, or were refused."""
        return self.is_held or self.cause is FailureReason.NOT_ALLOWED

    @property
    def is_partial(self) -> bool:
        """Return whether the result lacks rows."""
        return 0 < len(self.fetched_rows or self.ready_rows) < len(self.rows)

    @property
    def generation(self) -> tuple[GenerationInfo, ...]:
        """Return the distinct engines that made the rows; empty if none was reported."""
        reported = (row.generation for row in self.rows if row.is_ready)
        return tuple(dict.fromkeys(generation for generation in reported if generation is not None))

    @property
    def steps_run(self) -> int:
        """Return the maximum number of steps that ran in a row; 0 if none was reported."""
        return max((generation.steps for generation in self.generation), default=0)

    @property
    def made_with(self) -> str:
        """Return the engines and models in words; the requested model until they are reported."""
        reported = list(dict.fromkeys(generation.show() for generation in self.generation))
        if len(reported) > _MAX_ENGINES:
            reported[_MAX_ENGINES:] = ["others"]
        return " and ".join(reported) or self.request.model

    @property
    def percent(self) -> int:
        """Return the progress over all rows, 0 to 100; a failed row counts as done."""
        done = sum(100 if row.is_done else row.percent for row in self.rows)
        return done // max(1, len(self.rows))


def new_job(job_id: str, request: Request, at: datetime) -> Job:
    """Return a queued job with one Row for each requested row."""
    rows = tuple(Row(n, request.row_seed(n)) for n in range(1, request.rows + 1))
    return Job(job_id, request, at, rows=rows)


def job_id(at: datetime, entropy: bytes, newest: str = "") -> str:
    """Return a 16-character id, ``[a-z2-7]``, from the time and 5 random bytes of ``entropy``.

    Ids sort roughly by time; the first SHORT_ID characters are the time alone. ``newest`` is the
    last id in ``id_range(at)``, if any: the short id is later than that one's, so that it stays
    unique also among jobs of the same moment. An id is short enough for DeepSquare's 32-byte job
    name and, with a prefix, for Discord's 25-character nonce, and safe as a file name and as a
    shell word.
    """
    if len(entropy) != 5:
        raise ValueError("five bytes of entropy make a job id")
    # 5 bytes of 1/64 seconds last for 544 years; most significant first, so that ids sort.
    ticks = int(at.timestamp() * 64)
    if newest:
        ticks = max(ticks, _ticks_of(newest) + 1)
    return _encode_id(ticks, entropy)


def id_range(at: datetime) -> tuple[str, str]:
    """Return the first and the last short id that a new job's has to be later than.

    They span a day: that many ids are not given out at once, and a clock that was wrong for a while
    does not lead the ids astray for ever.
    """
    ticks = int(at.timestamp() * 64)
    return _encode_id(ticks, b""), _encode_id(ticks + 64 * 86_400, b"")


def _encode_id(ticks: int, entropy: bytes) -> str:
    # Plain base32 ranks 2-7 after the letters while ASCII ranks them before, so ids would not
    # sort by time; base32hex does sort, and its letters are then exchanged in the same order.
    encoded = base64.b32hexencode(ticks.to_bytes(5, "big") + entropy)
    return encoded.decode().translate(_ID_LETTERS)


def _ticks_of(ident: str) -> int:
    letters = ident[:SHORT_ID].translate(_BASE32_LETTERS)
    return int.from_bytes(base64.b32hexdecode(letters), "big")


def apply_event(job: Job, event: JobEvent, at: datetime) -> Job:
    """Return the job after ``event`` happened at ``at`` (aware, UTC).

    Returns the same job for an event that is late or repeated (logs replay); a terminal job ignores
    every event but the delivery of a kept result. Raises IllegalTransition if the event cannot
    happen in the job's state.
    """
    if job.delivery_method == KEPT and isinstance(event, Redelivered):
        return replace(job, delivery_method=event.method, result=event.message)
    if job.state.terminal or (job.state in _AFTER_RUN_STATES and isinstance(event, _RUN_EVENTS)):
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
                return _apply_row_event(_to_running(job, at), event)
        case GridReady(artifact, _):
            if job.state in ACTIVE_STATES:
                return replace(_to_running(job, at), grid=artifact)
        case Finished(ok, _):
            if job.state in ACTIVE_STATES:
                return _apply_finished(_to_running(job, at), ok, at)
        case Exited(code, detail):
            if job.state in ACTIVE_STATES and job.cancelled_by is not None:
                return replace(job, state=JobState.CANCELLED, ended_at=at)
            if job.state in ACTIVE_STATES:
                return _apply_exited(job, code, detail, at)
        case ResultsFetched(rows):
            if job.state is JobState.COLLECTING:
                return _apply_results_fetched(job, rows)
            if job.state is JobState.DELIVERING:
                return job
        case ImagesChecked(outcome):
            if job.state is JobState.DELIVERING:
                return replace(job, image_check=outcome)
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
            pass  # only a kept result can be redelivered
        case Failed(cause, message):
            if job.state in ACTIVE_STATES and job.ready_rows:
                if cause is FailureReason.MODEL_MISSING:
                    # Another node had the model: only that row fails, by an event of its own.
                    return job
                if cause in _EXTERNAL_FAILURES:
                    return replace(job, state=JobState.COLLECTING)
            if job.state in _AFTER_RUN_STATES and cause in _EXTERNAL_FAILURES:
                return job
            return _to_failed(job, cause, message, at)
        case FundsExhausted():
            if job.ready_rows:
                return replace(job, state=JobState.COLLECTING)
            message = "The paid compute time ran out before a row was ready."
            return _to_failed(job, FailureReason.OUT_OF_FUNDS, message, at)
        case CancelRequested(by):
            if job.cancelled_by is not None:
                return job
            return replace(job, cancelled_by=by)
        case Cancelled(by):
            # The backend does not know who cancelled; the CancelRequested saved before does.
            who = by if job.cancelled_by is None else job.cancelled_by
            return replace(job, state=JobState.CANCELLED, cancelled_by=who, ended_at=at)
        case _:
            assert_never(event)
    raise IllegalTransition(f"{type(event).__name__} cannot happen to a job that is {job.state}")


def charged_images(job: Job) -> int:
    """Return how many images of the quota an ended job is charged: each at its model's cost."""
    return made_images(job) * job.request.cost


def made_images(job: Job) -> int:
    """Return how many images of an ended job count as made.

    That is the images of the rows that were delivered or, if the job was cancelled, were ready.
    Of a failed job none count.
    """
    if job.state is JobState.FAILED:
        return 0
    rows = job.fetched_rows if job.state is JobState.FINISHED else job.ready_rows
    return len(rows) * job.request.samples


def _to_running(job: Job, at: datetime) -> Job:
    """Return the job as RUNNING: a log line proves it even if the backend's status was missed."""
    if job.state is JobState.RUNNING:
        return job
    return replace(job, state=JobState.RUNNING, started_at=job.started_at or at)


def _apply_row_event(
    job: Job, event: RowStarted | RowProgress | RowPainted | RowReady | RowFailed
) -> Job:
    if not 1 <= event.row <= len(job.rows):
        raise IllegalTransition(f"row {event.row} of a job with {len(job.rows)} rows")
    row = job.rows[event.row - 1]
    if row.is_ready and not isinstance(event, RowReady | RowPainted):
        return job
    # The latest event counts: a requeued job may make a row again, under the same name.
    match event:
        case RowStarted():
            row = replace(row, started=True)
        case RowProgress(_, percent):
            row = replace(row, started=True, percent=max(row.percent, min(100, max(0, percent))))
        case RowPainted(_, generation):
            row = replace(row, started=True, generation=generation)
        case RowReady(_, seed, artifact):
            row = Row(row.number, seed, 100, True, artifact, generation=row.generation)
        case RowFailed(_, code):
            row = replace(row, started=True, failed_code=code)
        case _:
            assert_never(event)
    return replace(job, rows=(*job.rows[: row.number - 1], row, *job.rows[row.number :]))


def _apply_finished(job: Job, ok: int, at: datetime) -> Job:
    """Return the job after its workflow ended: COLLECTING if rows are published, else FAILED."""
    if job.ready_rows:
        return replace(job, state=JobState.COLLECTING)
    if ok > 0:
        return _to_failed(
            job, FailureReason.FILES_MISSING, "The rows were made but not published.", at
        )
    return _to_failed(job, FailureReason.ROWS_FAILED, "No row could be made.", at)


def _apply_exited(job: Job, code: int | None, detail: str, at: datetime) -> Job:
    """Return the job after it ended without Finished: published rows are still fetched."""
    if job.ready_rows:
        return replace(job, state=JobState.COLLECTING)
    if all(row.failed_code is not None for row in job.rows):
        return _to_failed(job, FailureReason.ROWS_FAILED, "No row could be made.", at)
    if code == 0:
        return _to_failed(
            job,
            FailureReason.FILES_MISSING,
            "The job ended without an error, but made no picture.",
            at,
        )
    how = detail or (f"exit status {code}" if code is not None else "no exit status")
    return _to_failed(job, FailureReason.DIED, f"The job ended too early ({how}).", at)


def _apply_results_fetched(job: Job, rows: tuple[int, ...]) -> Job:
    """Return the job as DELIVERING with ``rows``. Raises IllegalTransition for an unknown row."""
    if not all(1 <= row <= len(job.rows) for row in rows):
        raise IllegalTransition(f"fetched rows {rows} of a job with {len(job.rows)} rows")
    return replace(job, state=JobState.DELIVERING, fetched_rows=rows)


def _to_failed(job: Job, cause: FailureReason, message: str, at: datetime) -> Job:
    return replace(job, state=JobState.FAILED, cause=cause, failure_message=message, ended_at=at)
