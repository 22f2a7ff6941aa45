"""Parse ``squeue`` output, JSON or text. Pure.

Measured with 22.05; later versions give lists of states and structured numbers, which are parsed
too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.errors import Unavailable
from bot.domain.json_parser import parse_json

PENDING_STATES = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"}
    | {"SPECIAL_EXIT", "RESV_DEL_HOLD", "POWER_UP_NODE", "EXPEDITING"}
)
RUNNING_STATES = frozenset(
    {"RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"}
)
TERMINAL_STATES = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL"}
    | {"OUT_OF_MEMORY", "PREEMPTED"}
)
"""In a federation: another cluster took the job and runs it there."""

# Flags that later versions list beside the state and that win, most significant first. A job that
# is requeued or cleaned up has a terminal state as well.
_FLAGS = (
    *("REVOKED", "COMPLETING", "STAGE_OUT", "REQUEUE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"),
    *("SPECIAL_EXIT", "RESV_DEL_HOLD", "CONFIGURING", "POWER_UP_NODE", "EXPEDITING"),
    *("RESIZING", "SIGNALING", "STOPPED"),
)
# Flags that do not tell whether the job lives.
_IGNORED_FLAGS = frozenset({"LAUNCH_FAILED", "RECONFIG_FAIL", "UPDATE_DB"})

TEXT_FORMAT = "JobID:|,State:|,Reason:|,exit_code:|,RestartCnt:|,Name:"
"""``squeue --Format`` for ``parse_text``. The name is last: it may contain bars."""

# sbatch rejects such a job, and yet the controller keeps a record of it.
_REJECTED_REASON = "BadConstraints"


@dataclass(frozen=True, slots=True)
class SqueueRecord:
    """One job. ``exit_code`` is counted as in a shell (128 + signal), None if unknown.

    ``cluster`` is "" where only one cluster was polled. A state in none of the tables above counts
    as alive.
    """

    id: str
    name: str
    state: str
    reason: str = ""
    exit_code: int | None = None
    restarts: int = 0
    cluster: str = ""

    @property
    def key(self) -> str:
        """Return a unique key: two clusters may use the same job id."""
        return f"{self.id};{self.cluster}" if self.cluster else self.id

    @property
    def is_pending(self) -> bool:
        """Return whether it is pending, for the first time or again."""
        return self.state in PENDING_STATES

    @property
    def is_running(self) -> bool:
        """Return whether it has started and not ended."""
        return self.state in RUNNING_STATES

    @property
    def is_ended(self) -> bool:
        """Return whether it has ended for good."""
        return self.state in TERMINAL_STATES

    @property
    def is_rejected(self) -> bool:
        """Return whether it is only the record of a rejected submission."""
        return self.is_ended and self.reason == _REJECTED_REASON


def parse_json_records(text: str) -> tuple[SqueueRecord, ...]:
    """Parse the output of ``squeue --json``.

    Raises Unavailable if it reports an error: with the controller down, 22.05 exits with 0 and
    lists no job. Raises ValueError for any other output.
    """
    answer = parse_json(text)
    try:
        return _parse_records(answer)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"squeue printed unexpected JSON ({error!r})") from error


def _parse_records(answer: Any) -> tuple[SqueueRecord, ...]:
    if not isinstance(answer["jobs"], list):
        raise TypeError("the jobs are no list")
    for error in answer.get("errors") or ():
        message = f"{error.get('source', 'squeue')}: {error.get('description', error)}"
        raise Unavailable(f"the Slurm controller does not answer ({message})")
    return tuple(
        SqueueRecord(
            id=str(job["job_id"]),
            name=str(job.get("name") or ""),
            state=_parse_state(job["job_state"]),
            reason=str(job.get("state_reason") or ""),
            exit_code=_parse_exit_code(job.get("exit_code")),
            restarts=int(_parse_number(job.get("restart_cnt")) or 0),
        )
        for job in answer["jobs"]
    )


def parse_text(text: str) -> tuple[SqueueRecord, ...]:
    """Parse the output of ``squeue --Format=TEXT_FORMAT``.

    With or without a header; for several clusters, ``CLUSTER: name`` stands above each part.
    """
    records: list[SqueueRecord] = []
    cluster = ""
    for line in text.splitlines():
        if heading := _CLUSTER.fullmatch(line):
            cluster = heading[1]
            continue
        parts = [part.strip() for part in line.split("|", 5)]
        if len(parts) == 6 and parts[0][:1].isdigit():
            number, state, reason, code, restarts, name = parts
            count = int(restarts) if restarts.isdigit() else 0
            record = SqueueRecord(
                number, name, _parse_state(state), reason, _parse_wait_status(code), count
            )
            records.append(replace(record, cluster=cluster))
    return tuple(records)


_CLUSTER = re.compile(r"\s*CLUSTER:\s*(\S+)\s*")


def _parse_state(value: object) -> str:
    """Return the state as one word: later versions list it with flags, which win.

    A job that ends has its last state already while its nodes clean up; until that is over it
    counts as COMPLETING, like in the text.
    """
    parts = value if isinstance(value, list) else re.split(r"[\s,+|]+", str(value))
    words = [str(word).upper() for word in parts if word]
    for flag in _FLAGS:
        if flag in words:
            return flag
    return next((word for word in words if word not in _IGNORED_FLAGS), "UNKNOWN")


def _parse_number(value: object) -> int | None:
    """Return a number that is bare or ``{"set": true, "number": 7}``."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) else None
    return value if isinstance(value, int) else None


def _parse_exit_code(value: object) -> int | None:
    if isinstance(value, dict):
        signal = value.get("signal")
        number = _parse_number(signal.get("id")) if isinstance(signal, dict) else None
        return 128 + number if number else _parse_number(value.get("return_code"))
    return _to_exit_code(value) if isinstance(value, int) else None


def _parse_wait_status(value: str) -> int | None:
    """Parse ``1792`` (a raw wait status) or ``7:0`` into an exit status."""
    code, _, signal = value.partition(":")
    if not code.isdigit() or not (signal or "0").isdigit():
        return None
    if signal:
        return 128 + int(signal) if int(signal) else int(code)
    return _to_exit_code(int(code))


def _to_exit_code(raw: int) -> int:
    return 128 + (raw & 0x7F) if raw & 0x7F else raw >> 8
