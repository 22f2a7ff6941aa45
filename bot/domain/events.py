"""Events of a job, as a closed union: a forgotten case is a type error.

Events have three sources: the services (Scheduled, Accepted, ResultsFetched, Delivered,
Redelivered), the backend's job status (Started, Requeued, Exited), and the job's own log (rows,
grid, Finished), which counts only where its marker has a valid MAC. An event holds no time;
``apply_event`` takes it as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from bot.domain.image_check import ImageOutcome
from bot.domain.image_engine import GenerationInfo

KEPT: Final = "kept"
"""Delivery method of a result that is not delivered yet."""


class FailureReason(StrEnum):
    """Cause of a failure; the values are stored and used in metrics."""

    ROWS_FAILED = "rows_failed"
    DIED = "died"
    TIME_LIMIT = "time_limit"
    OUT_OF_FUNDS = "out_of_funds"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    MODEL_MISSING = "model_missing"
    FILES_MISSING = "files_missing"
    INTERNAL = "internal"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class BackendJobRef:
    """Handle by which a backend finds its job again; ``id`` is its own format (a pid, a hash)."""

    backend: str
    id: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """File that the workflow published, as its signed marker announced it.

    ``size`` is in bytes, ``sha256`` 64 lower-case hex digits; both are checked after download.
    """

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MessageRef:
    """Message that the bot posted; ids are snowflakes."""

    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The job is about to be submitted; saved before the backend is called."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The backend accepted the job."""

    handle: BackendJobRef


@dataclass(frozen=True, slots=True)
class Started:
    """The job's script started."""


@dataclass(frozen=True, slots=True)
class Requeued:
    """The backend put the job back in its queue (DeepSquare 2 → 0, a Slurm requeue)."""


@dataclass(frozen=True, slots=True)
class RowStarted:
    """Row ``row`` (from 1) started with ``seed``."""

    row: int
    seed: int


@dataclass(frozen=True, slots=True)
class RowProgress:
    """Sampling progress of row ``row``, 0 to 100 percent. Unsigned, for display only."""

    row: int
    percent: int


@dataclass(frozen=True, slots=True)
class RowPainted:
    """Engine and model that made row ``row``, if it reports them, just before RowReady."""

    row: int
    generation: GenerationInfo


@dataclass(frozen=True, slots=True)
class RowReady:
    """Row ``row`` is published."""

    row: int
    seed: int
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class RowFailed:
    """Row ``row`` ended without an image; ``code`` is the exit status of its program."""

    row: int
    code: int


@dataclass(frozen=True, slots=True)
class GridReady:
    """The workflow combined ``rows`` rows into one image and published it."""

    artifact: Artifact
    rows: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The workflow ended with ``ok`` rows made and ``failed`` rows not."""

    ok: int
    failed: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The job ended at the backend; ``code`` is its exit status if known."""

    code: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job failed; ``message`` is shown to the member."""

    cause: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A user asked to cancel the job; saved before the backend is called."""

    by: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled; ``by`` is a user id, or 0 for the operator."""

    by: int


@dataclass(frozen=True, slots=True)
class FundsExhausted:
    """The backend stopped the job because its credits are used up."""


@dataclass(frozen=True, slots=True)
class ResultsFetched:
    """The images of ``rows`` are in the job's folder and verified."""

    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImagesChecked:
    """It was decided whether the images may be posted, by the image check or by a moderator."""

    outcome: ImageOutcome


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result was delivered by ``method``.

    That is ``interaction``, ``channel``, ``direct``, ``kept`` or ``files`` (command line).
    """

    method: str
    message: MessageRef | None = None


@dataclass(frozen=True, slots=True)
class Redelivered:
    """A kept result was delivered later by ``method``."""

    method: str
    message: MessageRef | None = None


JobEvent: TypeAlias = (
    Scheduled
    | Accepted
    | Started
    | Requeued
    | RowStarted
    | RowProgress
    | RowPainted
    | RowReady
    | RowFailed
    | GridReady
    | Finished
    | Exited
    | Failed
    | CancelRequested
    | Cancelled
    | FundsExhausted
    | ResultsFetched
    | ImagesChecked
    | Delivered
    | Redelivered
)
