"""Derive a job's lifecycle events from its folder and Slurm's record. Pure: time is passed in.

Neither is enough. The result file is written last and by the job itself, so a 0 in it is the end
whatever Slurm says; but a job that is killed writes one too, and only the record says why. Slurm
drops a record some minutes after the end; files may show up late on another machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bot.backends.base import LifecycleEvent
from bot.backends.slurm.job_folder import HEARTBEAT_SECONDS, FolderState
from bot.backends.slurm.squeue import SqueueRecord
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, Requeued, Started

STOPPED_SECONDS = 3.0
"""For the files of a cancelled job: nobody waits for its pictures."""
MAX_MISSED_HEARTBEATS = 4
"""Heartbeats, or multiples of the file delay, that must be missing before a job is dead."""

# Reasons for which Slurm keeps a job pending until the cluster's configuration changes.
_NEVER_STARTS = frozenset(
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
_TOO_LARGE_REASONS = frozenset({"BadConstraints", "PartitionConfig", "PartitionNodeLimit"})

_KILL_EVENTS = {
    "memory": Failed(
        FailureReason.DIED,
        "The job ran out of memory on the cluster. Try fewer or smaller pictures.",
    ),
    "time": Failed(
        FailureReason.TIME_LIMIT,
        "The job reached the cluster's time limit before a row was ready. Try fewer steps.",
    ),
    "node": Failed(FailureReason.DIED, "A node of the cluster failed while the job was running."),
    "preempted": Failed(FailureReason.DIED, "The cluster stopped the job for more urgent work."),
}
# Causes after which Slurm does not requeue the job.
_NOT_REQUEUED = frozenset({"memory", "time"})
_TOO_LARGE = "The cluster does not have so many nodes or GPUs for one job. Try fewer rows."
_NEVER_STARTED = "The cluster will never start this job. The bot's operator can see why."


@dataclass(frozen=True, slots=True)
class SqueueObservation:
    """Slurm's answer to one poll; ``record`` is None if it has no such job."""

    started_at: float
    record: SqueueRecord | None


class JobTracker:
    """``update`` takes the newest state of both sources and returns the new events.

    ``ended`` is set with the last event; ``alive`` is whether Slurm last said that the job is
    pending or running, and not about to end. ``hopeless`` is a message once Slurm will never start
    the job: reject and cancel it then. All times are seconds of one clock.
    """

    def __init__(self, *, settle_seconds: float, hopeless_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._hopeless_seconds = hopeless_seconds
        self._running = False
        self._restarts: int | None = None
        # The size of the log when the job was last requeued: the rest is from this run.
        self._log_bytes_before = 0
        # When something was first observed; an answer of Slurm's counts only if it is newer.
        self._output_at: float | None = None
        self._result_at: float | None = None
        self._unresolved_since: float | None = None
        # Signs of life in the folder, and when they last changed.
        self._signs: tuple[int, int] | None = None
        self._last_sign_at = -math.inf
        self._hopeless_at: float | None = None
        self.ended = False
        self.alive = False
        self.hopeless = ""

    def update(
        self, state: FolderState, observation: SqueueObservation | None, now: float
    ) -> tuple[LifecycleEvent, ...]:
        """Return the events since the last call, in order."""
        if self._output_at is None and state.log_bytes > self._log_bytes_before:
            self._output_at = now
        signs = (state.log_bytes, state.heartbeat)
        if self._signs not in (None, signs):
            self._last_sign_at = now
        self._signs = signs
        record = observation.record if observation is not None else None
        self.alive = record is not None and not record.is_ended and record.state != "COMPLETING"
        end = self._end_from_result(state, observation, now)
        if end is None and observation is not None:
            if observation.record is None:
                end = self._end_from_absence(state, now)
            elif observation.record.is_ended:
                end = self._end_from_record(state, observation.record, now)
            elif state.cancelled and observation.record.state == "COMPLETING":
                # It is cancelled; only its nodes still clean up its processes.
                if state.exit_code is None and self._has_waited(now, self._file_delay(state)):
                    end = Cancelled(by=0)
            else:
                self._unresolved_since = None
                return self._live_events(observation, observation.record, state, now)
        if end is None:
            return ()
        self.ended = True
        return (end,)

    def update_without_slurm(self, state: FolderState) -> tuple[LifecycleEvent, ...]:
        """Return the end as far as files alone tell it, while the controller is down.

        They do not tell whether a job that was killed from outside is requeued.
        """
        by_itself = state.exit_code is not None and state.exit_code <= 128
        if not state.log_complete or not (by_itself or state.kill_reason in _NOT_REQUEUED):
            return ()
        self.ended = True
        return (_exit_event(state.exit_code, "", state),)

    def _end_from_result(
        self, state: FolderState, observation: SqueueObservation | None, now: float
    ) -> LifecycleEvent | None:
        code = state.exit_code
        if code is None:
            self._result_at = None
            return None
        if self._result_at is None:
            self._result_at = now
        late = now - self._result_at >= self._file_delay(state)
        if not (state.log_complete or late):
            return None
        if code == 0:
            return Exited(0)
        if state.cancelled:
            return Cancelled(by=0)
        # Killed, timed out, out of memory, or to be requeued: the record says which.
        if observation is not None and observation.started_at >= self._result_at:
            record = observation.record
            if record is None or not (record.is_pending or record.is_ended):
                return _exit_event(code, "", state) if record is None or late else None
            if record.is_ended:
                return _end_event(record, code, state)
        return None

    def _end_from_absence(self, state: FolderState, now: float) -> LifecycleEvent | None:
        """Return the end of a job that Slurm does not list, once nothing in its folder changes.

        Slurm may have been asked at the wrong moment, or have lost its state while the job runs on.
        """
        delay = self._file_delay(state)
        if state.heartbeat and not state.cancelled:
            delay = max(delay, HEARTBEAT_SECONDS) * MAX_MISSED_HEARTBEATS
        if state.exit_code is not None or not self._has_waited(now, delay):
            return None
        if now - self._last_sign_at < delay:
            return None
        if state.rejection:
            return _rejection_event(state)
        if state.cancelled:
            return Cancelled(by=0)
        return Exited(None, "Slurm does not list the job any more, and it left no result")

    def _end_from_record(
        self, state: FolderState, record: SqueueRecord, now: float
    ) -> LifecycleEvent | None:
        if state.exit_code is not None:
            return None  # the result file decides
        awaited = record.state in ("COMPLETED", "FAILED") and not state.cancelled
        if awaited and not self._has_waited(now, self._settle_seconds):
            return None
        return _end_event(record, record.exit_code if record.state != "COMPLETED" else None, state)

    def _file_delay(self, state: FolderState) -> float:
        """Return for how many seconds missing files are waited for."""
        return (
            min(self._settle_seconds, STOPPED_SECONDS) if state.cancelled else self._settle_seconds
        )

    def _has_waited(self, now: float, delay: float) -> bool:
        """Return whether files that should exist had the time to show up."""
        if self._unresolved_since is None:
            self._unresolved_since = now
        return now - self._unresolved_since >= delay

    def _live_events(
        self, observation: SqueueObservation, record: SqueueRecord, state: FolderState, now: float
    ) -> tuple[LifecycleEvent, ...]:
        if not (record.is_pending or record.is_running):
            return ()  # it lives, on another cluster or in an unknown state
        known, self._restarts = self._restarts, record.restarts
        if record.is_pending:
            printed = self._output_at is not None and observation.started_at > self._output_at
            self._check_pending_reason(record, now)
            if not (self._running or printed):
                return ()
            self._running, self._output_at = False, None
            self._log_bytes_before = state.log_bytes
            return (Requeued(),)
        self._hopeless_at = None
        again = self._running and known is not None and record.restarts > known
        if self._running and not again:
            return ()
        self._running = True
        return (Requeued(), Started()) if again else (Started(),)

    def _check_pending_reason(self, record: SqueueRecord, now: float) -> None:
        if record.reason.replace("_", " ") not in _NEVER_STARTS:
            self._hopeless_at = None
            return
        if self._hopeless_at is None:
            self._hopeless_at = now
        if now - self._hopeless_at >= self._hopeless_seconds:
            self.hopeless = _TOO_LARGE if record.reason in _TOO_LARGE_REASONS else _NEVER_STARTED


def _end_event(record: SqueueRecord, code: int | None, state: FolderState) -> LifecycleEvent:
    """Return the event of a job that Slurm says has ended."""
    if state.rejection:
        return _rejection_event(state)
    match record.state:
        case "CANCELLED":
            return Cancelled(by=0)
        case "TIMEOUT" | "DEADLINE":
            return _KILL_EVENTS["time"]
        case "OUT_OF_MEMORY":
            return _KILL_EVENTS["memory"]
        case "NODE_FAIL" | "BOOT_FAIL":
            return _KILL_EVENTS["node"]
        case "PREEMPTED":
            return _KILL_EVENTS["preempted"]
        case _:
            if state.cancelled:
                return Cancelled(by=0)
            no_result = f"no result; Slurm state {record.state}, reason {record.reason}"
            return _exit_event(code, "" if state.exit_code is not None else no_result, state)


def _exit_event(code: int | None, detail: str, state: FolderState) -> LifecycleEvent:
    """Return the event of a script that failed, by itself or because Slurm killed a step."""
    return (
        _KILL_EVENTS[state.kill_reason]
        if state.kill_reason in _KILL_EVENTS and code != 0
        else Exited(code, detail)
    )


def _rejection_event(state: FolderState) -> LifecycleEvent:
    """Return the event of a job that the bot gave up; what it published before is kept."""
    return Failed(
        FailureReason.DIED if state.log_bytes else FailureReason.REJECTED, state.rejection
    )
