"""What can happen to a job: a closed union, so a forgotten case is a type error.

Events come from three places: the engine's own steps (Dispatched, Accepted, Collected,
Delivered, Redelivered), the backend's word on the job's life (Started, Requeued, Exited), and the
job's own log (rows, grid, Finished), which counts only where its marker carries a valid MAC. An
event holds no time: the moment is passed to ``advance`` beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from bot.domain.image_engine import Painted

KEPT: Final = "kept"
"""The delivery method of a result that no place has taken yet."""


class FailureReason(StrEnum):
    """Why a job failed, as a stable word for metrics and the database."""

    ROWS_FAILED = "rows_failed"
    DIED = "died"
    TIME_LIMIT = "time_limit"
    OUT_OF_FUNDS = "out_of_funds"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    MODEL_MISSING = "model_missing"
    FILES_MISSING = "files_missing"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class BackendJobRef:
    """What a backend needs to find its job again; ``ref`` is its own business (a pid, a hash)."""

    backend: str
    id: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file the workflow has published, as its authenticated marker announced it.

    ``size`` is in bytes, ``sha256`` 64 lower-case hex digits; both are checked after download.
    """

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message that the bot posted; ids are snowflakes."""

    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The job's turn has come: it is about to be submitted. Saved before the backend is asked."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The backend has taken the job."""

    handle: BackendJobRef


@dataclass(frozen=True, slots=True)
class Started:
    """The job's script runs."""


@dataclass(frozen=True, slots=True)
class Requeued:
    """The backend put the job back in its line (DeepSquare 2 → 0, a Slurm requeue)."""


@dataclass(frozen=True, slots=True)
class RowStarted:
    """Row ``row`` (from 1) began with ``seed``."""

    row: int
    seed: int


@dataclass(frozen=True, slots=True)
class RowProgress:
    """Row ``row`` is ``percent`` (0 to 100) through its sampling. For display only: unsigned."""

    row: int
    percent: int


@dataclass(frozen=True, slots=True)
class RowPainted:
    """What painted row ``row``; said just before it is ready, by a painter that says it."""

    row: int
    painted: Painted


@dataclass(frozen=True, slots=True)
class RowReady:
    """Row ``row`` is published."""

    row: int
    seed: int
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class RowFailed:
    """Row ``row`` ended without a picture; ``code`` is the painter's exit status."""

    row: int
    code: int


@dataclass(frozen=True, slots=True)
class GridReady:
    """The workflow combined ``rows`` rows into one picture and published it."""

    artifact: Artifact
    rows: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The workflow's last word: so many rows succeeded and so many failed."""

    ok: int
    failed: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The job is over at the backend; ``code`` is its exit status if known."""

    code: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ends without a result; ``sentence`` is plain language for the member."""

    cause: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the job stopped; saved before the backend is told, so that it is not lost."""

    by: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody stopped the job; ``by`` is a user id, or 0 for the operator."""

    by: int


@dataclass(frozen=True, slots=True)
class FundsExhausted:
    """The backend stopped the job because what was paid is used up."""


@dataclass(frozen=True, slots=True)
class ResultsFetched:
    """The pictures lie in the job's folder, checked; ``rows`` lists the rows that are there."""

    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result was handed over by ``rung`` of the delivery ladder.

    ``rung`` is ``interaction``, ``channel``, ``direct``, ``kept`` or ``files`` (command line).
    """

    method: str
    message: MessageRef | None = None


@dataclass(frozen=True, slots=True)
class Redelivered:
    """A result that was kept has been handed over after all, by ``rung``."""

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
    | Delivered
    | Redelivered
)
