"""Derive a job's lifecycle events from its folder and Slurm's record. Pure: time is passed in.

Neither is enough. The result file is written last and by the job itself, so a 0 in it is the end
whatever Slurm says; but a job that is killed writes one too, and only the record says why. Slurm
drops a record some minutes after the end; files may show up late on another machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bot.backends.base import LifecycleEvent
from bot.backends.slurm.job_folder import PULSE_SECONDS, FolderState
from bot.backends.slurm.squeue import SqueueRecord
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, Requeued, Started

STOPPED_SECONDS = 3.0
"""For the files of a job that was stopped: nobody waits for pictures of it."""
PULSES = 4
"""So many beats, or times as long as files may be late, a job's pulse must be missing."""

# Why Slurm would keep a job waiting until somebody changes the cluster's configuration.
_HOPELESS = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
        "launch failed requeued held",
    }
)
_TOO_MUCH = frozenset({"BadConstraints", "PartitionConfig", "PartitionNodeLimit"})

_KILLED = {
    "memory": Failed(
        FailureReason.DIED,
        "The job needed more memory than it has on the cluster; try fewer or smaller pictures.",
    ),
    "time": Failed(
        FailureReason.TIME_LIMIT,
        "The cluster's time limit for one job was up before a row was ready; try fewer steps.",
    ),
    "node": Failed(FailureReason.DIED, "A machine of the cluster failed under the job."),
    "preempted": Failed(
        FailureReason.DIED, "The cluster took the job's machines back for more urgent work."
    ),
}
# What does not put a job back.
_FINAL = frozenset({"memory", "time"})
_TOO_LARGE = "The cluster never has so many machines or GPUs for one job; try fewer rows."
_NOT_TAKEN = "The cluster keeps the job waiting for ever; the operator can see why."


@dataclass(frozen=True, slots=True)
class SqueueObservation:
    """Slurm's answer to the poll begun at ``began``; ``record`` is None if it has no such job."""

    began: float
    record: SqueueRecord | None


class JobTracker:
    """``update`` takes the newest state of both sources and returns the new events.

    ``ended`` is set with the last event; ``alive`` is whether Slurm last said that the job is
    pending or running, and not about to end. ``hopeless`` is a message once Slurm will never start
    the job: reject and cancel it then. All times are seconds of one clock.
    """

    def __init__(self, *, settle_seconds: float, hopeless_seconds: float) -> None:
        self._settle = settle_seconds
        self._timeouts = hopeless_seconds
        self._running = False
        self._restarts: int | None = None
        # The size of the log when the job was last put back: what is beyond is from this run.
        self._printed_before = 0
        # When something was first seen to be so; a word of Slurm's counts only if it is newer.
        self._printed_at: float | None = None
        self._result_at: float | None = None
        self._loose_end_at: float | None = None
        # What in the folder shows that the job lives, and when it last changed.
        self._signs: tuple[int, int] | None = None
        self._lived_at = -math.inf
        self._hopeless_at: float | None = None
        self.ended = False
        self.alive = False
        self.hopeless = ""

    def update(
        self, traces: FolderState, sight: SqueueObservation | None, now: float
    ) -> tuple[LifecycleEvent, ...]:
        """Return the events since the last call, in order."""
        if self._printed_at is None and traces.log_bytes > self._printed_before:
            self._printed_at = now
        signs = (traces.log_bytes, traces.pulse)
        if self._signs not in (None, signs):
            self._lived_at = now
        self._signs = signs
        record = sight.record if sight is not None else None
        self.alive = record is not None and not record.ended and record.state != "COMPLETING"
        end = self._by_result(traces, sight, now)
        if end is None and sight is not None:
            if sight.record is None:
                end = self._by_absence(traces, now)
            elif sight.record.ended:
                end = self._by_record(traces, sight.record, now)
            elif traces.cancelled and sight.record.state == "COMPLETING":
                # It is cancelled; what takes longer is that its nodes get rid of its processes.
                if traces.code is None and self._settled(now, self._patient(traces)):
                    end = Cancelled(by=0)
            else:
                self._loose_end_at = None
                return self._alive(sight, sight.record, traces, now)
        if end is None:
            return ()
        self.ended = True
        return (end,)

    def update_without_slurm(self, traces: FolderState) -> tuple[LifecycleEvent, ...]:
        """Return the end as far as files alone tell it, while the controller is down.

        They do not tell whether a job that was killed from outside is requeued.
        """
        by_itself = traces.code is not None and traces.code <= 128
        if not traces.complete or not (by_itself or traces.kill_reason in _FINAL):
            return ()
        self.ended = True
        return (_exited(traces.code, "", traces),)

    def _by_result(
        self, traces: FolderState, sight: SqueueObservation | None, now: float
    ) -> LifecycleEvent | None:
        code = traces.code
        if code is None:
            self._result_at = None
            return None
        if self._result_at is None:
            self._result_at = now
        late = now - self._result_at >= self._patient(traces)
        if not (traces.complete or late):
            return None
        if code == 0:
            return Exited(0)
        if traces.cancelled:
            return Cancelled(by=0)
        # Stopped, timed out, out of memory, or to be started again: the record says which.
        if sight is not None and sight.began >= self._result_at:
            record = sight.record
            if record is None or not (record.waiting or record.ended):
                return _exited(code, "", traces) if record is None or late else None
            if record.ended:
                return _ending(record, code, traces)
        return None

    def _by_absence(self, traces: FolderState, now: float) -> LifecycleEvent | None:
        """Return the end of a job that Slurm does not list, once nothing in its folder changes.

        Slurm may have been asked at the wrong moment, or have lost its state while the job runs on.
        """
        timeouts = self._patient(traces)
        if traces.pulse and not traces.cancelled:
            timeouts = max(timeouts, PULSE_SECONDS) * PULSES
        if traces.code is not None or not self._settled(now, timeouts):
            return None
        if now - self._lived_at < timeouts:
            return None
        if traces.refused:
            return _refusal(traces)
        if traces.cancelled:
            return Cancelled(by=0)
        return Exited(None, "Slurm does not know it any more, and it left no result")

    def _by_record(
        self, traces: FolderState, record: SqueueRecord, now: float
    ) -> LifecycleEvent | None:
        if traces.code is not None:
            return None  # the result file is there, and is waited for or decides
        awaited = record.state in ("COMPLETED", "FAILED") and not traces.cancelled
        if awaited and not self._settled(now, self._settle):
            return None
        return _ending(record, record.code if record.state != "COMPLETED" else None, traces)

    def _patient(self, traces: FolderState) -> float:
        """Return for how many seconds missing files are waited for."""
        return min(self._settle, STOPPED_SECONDS) if traces.cancelled else self._settle

    def _settled(self, now: float, timeouts: float) -> bool:
        """Return whether files that should exist had the time to show up."""
        if self._loose_end_at is None:
            self._loose_end_at = now
        return now - self._loose_end_at >= timeouts

    def _alive(
        self, sight: SqueueObservation, record: SqueueRecord, traces: FolderState, now: float
    ) -> tuple[LifecycleEvent, ...]:
        if not (record.waiting or record.running):
            return ()  # it lives, on another cluster or in a way that has no name here
        known, self._restarts = self._restarts, record.restarts
        if record.waiting:
            printed = self._printed_at is not None and sight.began > self._printed_at
            self._weigh(record, now)
            if not (self._running or printed):
                return ()
            self._running, self._printed_at = False, None
            self._printed_before = traces.log_bytes
            return (Requeued(),)
        self._hopeless_at = None
        again = self._running and known is not None and record.restarts > known
        if self._running and not again:
            return ()
        self._running = True
        return (Requeued(), Started()) if again else (Started(),)

    def _weigh(self, record: SqueueRecord, now: float) -> None:
        if record.reason.replace("_", " ") not in _HOPELESS:
            self._hopeless_at = None
            return
        if self._hopeless_at is None:
            self._hopeless_at = now
        if now - self._hopeless_at >= self._timeouts:
            self.hopeless = _TOO_LARGE if record.reason in _TOO_MUCH else _NOT_TAKEN


def _ending(record: SqueueRecord, code: int | None, traces: FolderState) -> LifecycleEvent:
    """Return the event of a job that Slurm says has ended."""
    if traces.refused:
        return _refusal(traces)
    match record.state:
        case "CANCELLED":
            return Cancelled(by=0)
        case "TIMEOUT" | "DEADLINE":
            return _KILLED["time"]
        case "OUT_OF_MEMORY":
            return _KILLED["memory"]
        case "NODE_FAIL" | "BOOT_FAIL":
            return _KILLED["node"]
        case "PREEMPTED":
            return _KILLED["preempted"]
        case _:
            if traces.cancelled:
                return Cancelled(by=0)
            no_result = f"it left no result; Slurm says {record.state}, {record.reason}"
            return _exited(code, "" if traces.code is not None else no_result, traces)


def _exited(code: int | None, detail: str, traces: FolderState) -> LifecycleEvent:
    """Return the event of a script that failed, by itself or because Slurm killed a step."""
    return (
        _KILLED[traces.kill_reason]
        if traces.kill_reason in _KILLED and code != 0
        else Exited(code, detail)
    )


def _refusal(traces: FolderState) -> LifecycleEvent:
    """Return the event of a job that the bot gave up; what it published before is kept."""
    return Failed(
        FailureReason.DIED if traces.log_bytes else FailureReason.REJECTED, traces.refused
    )
