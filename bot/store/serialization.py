"""Convert jobs to columns and JSON and back, without loss.

``request`` never changes after acceptance; ``snapshot`` holds the rest of the job except what has
its own column (id, state and times).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, overload

from bot.domain.errors import ConfigError
from bot.domain.events import Artifact, BackendJobRef, FailureReason, MessageRef
from bot.domain.image_check import ImageOutcome
from bot.domain.image_engine import GenerationInfo
from bot.domain.job import Job, JobState, Row
from bot.domain.request import Request


@overload
def to_timestamp(moment: datetime) -> str: ...
@overload
def to_timestamp(moment: datetime | None) -> str | None: ...
def to_timestamp(moment: datetime | None) -> str | None:
    """Format a time for the database. Raises ValueError if it has no time zone."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"a moment without a time zone: {moment!r}")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@overload
def parse_timestamp(text: str) -> datetime: ...
@overload
def parse_timestamp(text: str | None) -> datetime | None: ...
def parse_timestamp(text: str | None) -> datetime | None:
    """Parse what ``to_timestamp`` wrote into an aware UTC time."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


COLUMNS: Final = "id, state, created_at, started_at, ended_at, request, snapshot"
"""The columns of ``jobs`` that ``load_job`` needs."""

_KEYS: Final = frozenset(
    {"handle", "rows", "grid", "cause", "sentence", "cancelled_by", "collected", "rung", "result"}
)
_OPTIONAL_KEYS: Final = frozenset({"image_check"})
"""Left out where there is nothing to say, as in jobs stored by earlier versions."""


def dump_request(request: Request) -> str:
    """Return the request as compact ASCII JSON, whatever the prompt contains."""
    return _json(request.to_dict())


def dump_requests(requests: Sequence[Request]) -> str:
    """Return requests as a compact JSON array."""
    return _json([request.to_dict() for request in requests])


def load_requests(text: str) -> tuple[Request, ...]:
    """Return the requests that ``dump_requests`` wrote. Raises ValueError for any other."""
    return tuple(Request.from_dict(data) for data in json.loads(text))


def dump_job(job: Job) -> str:
    """Return the snapshot as compact JSON: all of the job that has no column."""
    return _json(
        {
            "handle": job.handle and [job.handle.backend, job.handle.id],
            "rows": [
                [
                    row.number,
                    row.seed,
                    row.percent,
                    row.started,
                    _dump_artifact(row.artifact),
                    row.failed_code,
                    *([_dump_generation(row.generation)] if row.generation else []),
                ]
                for row in job.rows
            ],
            "grid": _dump_artifact(job.grid),
            "cause": job.cause,
            "sentence": job.failure_message,
            "cancelled_by": job.cancelled_by,
            "collected": job.fetched_rows,
            "rung": job.delivery_method,
            "result": job.result and [job.result.channel_id, job.result.message_id],
            **({"image_check": job.image_check} if job.image_check else {}),
        }
    )


def load_job(row: sqlite3.Row | Mapping[str, Any]) -> Job:
    """Return the job in a row with COLUMNS. Raises ConfigError if it cannot be read."""
    try:
        snapshot = json.loads(row["snapshot"])
        if snapshot.keys() - _OPTIONAL_KEYS != _KEYS:
            wrong = (snapshot.keys() - _OPTIONAL_KEYS) ^ _KEYS
            raise ValueError(f"unknown or missing keys {sorted(wrong)}")
        return Job(
            id=row["id"],
            request=_load_request(row["request"]),
            created_at=parse_timestamp(row["created_at"]),
            state=JobState(row["state"]),
            handle=None if snapshot["handle"] is None else BackendJobRef(*snapshot["handle"]),
            rows=tuple(_load_row(*parts) for parts in snapshot["rows"]),
            grid=_load_artifact(snapshot["grid"]),
            started_at=parse_timestamp(row["started_at"]),
            ended_at=parse_timestamp(row["ended_at"]),
            cause=None if snapshot["cause"] is None else FailureReason(snapshot["cause"]),
            failure_message=snapshot["sentence"],
            cancelled_by=snapshot["cancelled_by"],
            fetched_rows=tuple(snapshot["collected"]),
            delivery_method=snapshot["rung"],
            result=None if snapshot["result"] is None else MessageRef(*snapshot["result"]),
            image_check=ImageOutcome(snapshot.get("image_check", "")),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"database, job {row['id']}",
            f"the stored job cannot be read ({error})",
            "It was changed by hand or by another version: `gridbrush restore` lists the backups.",
        ) from error


@lru_cache(maxsize=1024)
def _load_request(text: str) -> Request:
    """Parse a stored request. Cached: jobs are read often, and their requests never change."""
    return Request.from_dict(json.loads(text))


def _load_row(
    number: int,
    seed: int,
    percent: int,
    started: bool,
    artifact: list[Any] | None,
    failed_code: int | None,
    generation: list[Any] | None = None,
) -> Row:
    said = None if generation is None else GenerationInfo(*generation)
    return Row(number, seed, percent, started, _load_artifact(artifact), failed_code, said)


def _dump_generation(generation: GenerationInfo) -> list[object]:
    """Return the fields in order; rows stored by older versions end without the last ones."""
    said: list[object] = [
        generation.engine,
        generation.model,
        generation.steps,
        generation.guidance,
        generation.negative,
    ]
    if generation.sampler or generation.model_sha256:
        said += [generation.sampler, generation.model_sha256]
    return said


def _dump_artifact(artifact: Artifact | None) -> list[str | int] | None:
    return None if artifact is None else [artifact.url, artifact.size, artifact.sha256]


def _load_artifact(parts: list[Any] | None) -> Artifact | None:
    return None if parts is None else Artifact(*parts)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
