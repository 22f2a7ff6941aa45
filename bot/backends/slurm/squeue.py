"""Parse ``squeue`` output, JSON or text. Pure.

Measured with 22.05; later versions give lists of states and structured numbers, which are parsed
too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from bot.domain.errors import Unavailable

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"}
    | {"SPECIAL_EXIT", "RESV_DEL_HOLD", "POWER_UP_NODE", "EXPEDITING"}
)
RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"}
)
ENDED = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL"}
    | {"OUT_OF_MEMORY", "PREEMPTED"}
)
ELSEWHERE = frozenset({"REVOKED"})
"""Said in a federation of a job that another cluster took: it lives there, not here."""

# What later versions list beside a state and what then counts, the most telling first. A job that
# is put back or cleaned up has an ended state as well.
_FLAGS = (
    *("REVOKED", "COMPLETING", "STAGE_OUT", "REQUEUE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"),
    *("SPECIAL_EXIT", "RESV_DEL_HOLD", "CONFIGURING", "POWER_UP_NODE", "EXPEDITING"),
    *("RESIZING", "SIGNALING", "STOPPED"),
)
# Flags that say nothing of whether the job lives.
_REMARKS = frozenset({"LAUNCH_FAILED", "RECONFIG_FAIL", "UPDATE_DB"})

TEXT_FORMAT = "JobID:|,State:|,Reason:|,exit_code:|,RestartCnt:|,Name:"
"""What ``squeue --Format`` must be told for ``read_text``; the name is last, it may hold bars."""

# sbatch refuses such a job, and yet the controller keeps a record of it.
_REFUSED = "BadConstraints"


@dataclass(frozen=True, slots=True)
class SqueueRecord:
    """One job. ``code`` is its exit status as a shell counts (128 + signal), None if unknown.

    ``cluster`` is "" where only one cluster was polled. A state in none of the tables above counts
    as alive.
    """

    id: str
    name: str
    state: str
    reason: str = ""
    code: int | None = None
    restarts: int = 0
    cluster: str = ""

    @property
    def key(self) -> str:
        """Return a unique key: two clusters may use the same job id."""
        return f"{self.id};{self.cluster}" if self.cluster else self.id

    @property
    def waiting(self) -> bool:
        """Return whether it is pending, for the first time or again."""
        return self.state in WAITING

    @property
    def running(self) -> bool:
        """Return whether it has started and not ended."""
        return self.state in RUNNING

    @property
    def ended(self) -> bool:
        """Return whether it has ended for good."""
        return self.state in ENDED

    @property
    def is_rejected(self) -> bool:
        """Return whether it is only the record of a rejected submission."""
        return self.ended and self.reason == _REFUSED


def parse_json(text: str) -> tuple[SqueueRecord, ...]:
    """Parse the output of ``squeue --json``.

    Raises Unavailable if it reports an error: with the controller down, 22.05 exits with 0 and
    lists no job. Raises ValueError for any other output.
    """
    answer = json.loads(text)
    if not isinstance(answer, dict) or not isinstance(answer.get("jobs"), list):
        raise ValueError("squeue printed JSON of some other kind")
    for error in answer.get("errors") or ():
        said = f"{error.get('source', 'squeue')}: {error.get('description', error)}"
        raise Unavailable(f"the Slurm controller does not answer ({said})")
    return tuple(
        SqueueRecord(
            id=str(job["job_id"]),
            name=str(job.get("name") or ""),
            state=_state(job["job_state"]),
            reason=str(job.get("state_reason") or ""),
            code=_code(job.get("exit_code")),
            restarts=int(_number(job.get("restart_cnt")) or 0),
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
            record = SqueueRecord(number, name, _state(state), reason, _raw_code(code), count)
            records.append(replace(record, cluster=cluster))
    return tuple(records)


_CLUSTER = re.compile(r"\s*CLUSTER:\s*(\S+)\s*")


def _state(said: object) -> str:
    """Return the state as one word: later versions list it with flags, which win.

    A job that ends has its last state already while its nodes clean up; until that is over it
    counts as COMPLETING, like in the text.
    """
    parts = said if isinstance(said, list) else re.split(r"[\s,+|]+", str(said))
    words = [str(word).upper() for word in parts if word]
    for flag in _FLAGS:
        if flag in words:
            return flag
    return next((word for word in words if word not in _REMARKS), "UNKNOWN")


def _number(said: object) -> int | None:
    """Return a number that is bare or ``{"set": true, "number": 7}``."""
    if isinstance(said, dict):
        said = said.get("number") if said.get("set", True) else None
    return said if isinstance(said, int) else None


def _code(said: object) -> int | None:
    if isinstance(said, dict):
        signal = said.get("signal")
        number = _number(signal.get("id")) if isinstance(signal, dict) else None
        return 128 + number if number else _number(said.get("return_code"))
    return _status(said) if isinstance(said, int) else None


def _raw_code(said: str) -> int | None:
    """Parse ``1792`` (a raw wait status) or ``7:0`` into an exit status."""
    code, _, signal = said.partition(":")
    if not code.isdigit() or not (signal or "0").isdigit():
        return None
    if signal:
        return 128 + int(signal) if int(signal) else int(code)
    return _status(int(code))


def _status(raw: int) -> int:
    return 128 + (raw & 0x7F) if raw & 0x7F else raw >> 8
