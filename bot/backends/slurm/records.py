"""What Slurm says of its jobs, read from ``squeue``'s JSON or text. Pure.

Measured with 22.05; later versions give lists of states and structured numbers, which are read
too. It knows Slurm's words and nothing of ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.domain.errors import Unavailable

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
    | {"RESV_DEL_HOLD"}
)
ENDED = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL"}
    | {"OUT_OF_MEMORY", "PREEMPTED", "REVOKED"}
)

TEXT_FORMAT = "JobID:|,State:|,Reason:|,exit_code:|,RestartCnt:|,Name:"
"""What ``squeue --Format`` must be told for ``read_text``; the name is last, it may hold bars."""

# sbatch refuses such a job, and yet the controller keeps a record of it.
_REFUSED = "BadConstraints"


@dataclass(frozen=True, slots=True)
class Record:
    """One job. ``code`` is its exit status as a shell counts (128 + signal), None if unknown."""

    id: str
    name: str
    state: str
    reason: str = ""
    code: int | None = None
    restarts: int = 0

    @property
    def waiting(self) -> bool:
        """Whether it waits, for the first time or again."""
        return self.state in WAITING

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in ENDED

    @property
    def refused(self) -> bool:
        """Whether it is only the trace of a submission that was refused."""
        return self.ended and self.reason == _REFUSED


def read_json(text: str) -> tuple[Record, ...]:
    """The records in the output of ``squeue --json``.

    Raises Unavailable if it tells of an error: with the controller away, 22.05 exits with 0 and
    lists no job. Raises ValueError for anything that is no such output.
    """
    answer = json.loads(text)
    if not isinstance(answer, dict) or not isinstance(answer.get("jobs"), list):
        raise ValueError("squeue printed JSON of some other kind")
    for error in answer.get("errors") or ():
        said = f"{error.get('source', 'squeue')}: {error.get('description', error)}"
        raise Unavailable(f"the Slurm controller does not answer ({said})")
    return tuple(
        Record(
            id=str(job["job_id"]),
            name=str(job.get("name") or ""),
            state=_state(job["job_state"]),
            reason=str(job.get("state_reason") or ""),
            code=_code(job.get("exit_code")),
            restarts=int(_number(job.get("restart_cnt")) or 0),
        )
        for job in answer["jobs"]
    )


def read_text(text: str) -> tuple[Record, ...]:
    """The records in the output of ``squeue --noheader --Format=TEXT_FORMAT``."""
    records = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|", 5)]
        if len(parts) == 6:
            number, state, reason, code, restarts, name = parts
            count = int(restarts) if restarts.isdigit() else 0
            records.append(Record(number, name, _state(state), reason, _raw_code(code), count))
    return tuple(records)


def _state(said: object) -> str:
    """One word of the state: later versions list it with flags, and the flag says more.

    A job that ends is in its last state already while its nodes clean up; until that is over it
    counts as COMPLETING, like in the text.
    """
    words = [str(word).upper() for word in (said if isinstance(said, list) else [said])]
    for flag in ("COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"):
        if flag in words:
            return flag
    return words[0] if words else "UNKNOWN"


def _number(said: object) -> int | None:
    """A number, bare or as ``{"set": true, "number": 7}``."""
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
    """``1792`` (a raw wait status) or ``7:0``."""
    code, _, signal = said.partition(":")
    if not code.isdigit() or not (signal or "0").isdigit():
        return None
    if signal:
        return 128 + int(signal) if int(signal) else int(code)
    return _status(int(code))


def _status(raw: int) -> int:
    return 128 + (raw & 0x7F) if raw & 0x7F else raw >> 8
