"""A job's folder on the shared file system: intent, submission, start and end.

    script.sh   the job, rendered          job.sh     what sbatch is given; starts it once
    intent      about to be submitted      submitted  Slurm's job id, and its cluster
    owner       the job id that started    log        everything it printed
    alive       touched while it runs
    result      its exit status, last      cancelled, refused    what the bot did to it
    over        its end was seen           lock       one submission at a time

All methods block and belong into a thread, except ``locked``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import LogStreamLost
from bot.domain.workflow.bash import JOB_ENDED_LINE, JOB_STARTED_LINE
from bot.files import atomic_write

LOCK_SECONDS = 0.05
TAIL_BYTES = 16_384
HEARTBEAT_SECONDS = 5

# What slurmstepd writes into the log of a step or job that it kills, by reason.
_KILL_MESSAGE = re.compile(
    rb"slurmstepd.*?(?:(?P<memory>exceeded.* memory limit|oom[-_ ]kill)|(?P<time>DUE TO TIME LIMIT)"
    rb"|(?P<node>DUE TO NODE FAILURE)|(?P<preempted>DUE TO PREEMPTION))",
    re.IGNORECASE,
)

# Should sbatch ever have reached the controller twice, only the first job to start does the work.
# A job that Slurm starts again, after its node failed, finds its own number and begins afresh.
_JOB_SCRIPT = """\
#!/bin/bash
# Given to sbatch by Gridbrush: starts script.sh, once for all Slurm jobs of this name.
umask 077
cd {folder} || exit 1
( set -C; printf '%s\\n' "$SLURM_JOB_ID" > owner ) 2>/dev/null
[ "$(cat owner)" = "$SLURM_JOB_ID" ] || exit 0
{check}rm -rf result scratch
# Heartbeat, for when Slurm does not list the job and it prints nothing. Detached, so that the
# script does not wait for it.
( ( while kill -0 $$; do touch alive; sleep {heartbeat}; done ) </dev/null >/dev/null 2>&1 & )
exec bash script.sh
"""

# Measured with 22.05: in the seconds after its restart the controller starts jobs on nodes that
# were busy before without the GPUs they requested, and none of their steps can start.
_CHECK_GPUS = """\
if [ -z "$SLURM_JOB_GPUS$CUDA_VISIBLE_DEVICES$ROCR_VISIBLE_DEVICES" ] &&
  [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then
  echo "Slurm started this job without the GPUs it requested; requeueing it."
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
"""


@dataclass(frozen=True, slots=True)
class FolderState:
    """What the folder shows.

    ``kill_reason`` is why Slurm killed something in the job (``memory``, ``time``, ``node``,
    ``preempted``; empty for nothing). ``log_complete`` is whether the log has its last lines.
    ``rejection`` is the message with which the bot gave the job up. ``heartbeat`` changes every few
    seconds while the job runs; it is 0 for a job submitted by a version without it.
    """

    exit_code: int | None = None
    log_bytes: int = 0
    log_complete: bool = False
    kill_reason: str = ""
    cancelled: bool = False
    rejection: str = ""
    heartbeat: int = 0


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of one job."""

    path: Path

    @property
    def name(self) -> str:
        """Return the bot's id of the job."""
        return self.path.name

    @property
    def log(self) -> Path:
        """Return the path of the log."""
        return self.path / "log"

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the folder's lock against other tasks and processes; waits without blocking."""
        with (self.path / "lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(LOCK_SECONDS)
            yield

    def create(self) -> None:
        """Create the folder for its owner only: it holds the prompt and the marker key."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        (self.path / "published").mkdir(mode=0o700, exist_ok=True)

    def write_intent(self, script: str, *, gpus: bool) -> None:
        """Write everything that sbatch needs, and then the intent to call it."""
        check = _CHECK_GPUS if gpus else ""
        self._write("script.sh", script)
        quoted = shlex.quote(str(self.path))
        job_script = _JOB_SCRIPT.format(folder=quoted, check=check, heartbeat=HEARTBEAT_SECONDS)
        self._write("job.sh", job_script)
        self.log.touch(mode=0o600)
        self._write("intent", "")

    def write_submitted(self, output: str) -> None:
        """Save the output of ``sbatch --parsable``: ``job id``, or ``job id;cluster``."""
        self._write("submitted", output)

    def has_intent(self) -> bool:
        """Return whether the job may have been submitted."""
        return (self.path / "intent").exists()

    def slurm_job_id(self) -> str:
        """Return Slurm's job id, "" if unknown; the id of the job that started wins."""
        return self._read("owner") or self._read("submitted").partition(";")[0]

    def cluster(self) -> str:
        """Return the cluster that sbatch named, "" if it named none."""
        return self._read("submitted").partition(";")[2]

    def is_over(self) -> bool:
        """Return whether the job has ended; a result other than 0 may be that of a requeued run."""
        return (self.path / "over").exists() or self._read("result") == "0"

    def has_run(self) -> bool:
        """Return whether there is a result, perhaps of a requeued run."""
        return (self.path / "result").exists() or (self.path / "over").exists()

    def write_cancelled(self) -> None:
        """Save that the job is about to be cancelled."""
        (self.path / "cancelled").touch()

    def write_rejection(self, sentence: str) -> None:
        """Save that the job is about to be given up; ``sentence`` is shown to the member."""
        self._write("refused", sentence)

    def write_over(self) -> None:
        """Save that the job has ended, and delete its scratch folder."""
        shutil.rmtree(self.path / "scratch", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self.path / "over").touch()

    def delete(self) -> None:
        """Delete the folder, unless the job may still live."""
        if self.is_over() or not self.has_intent():
            shutil.rmtree(self.path, ignore_errors=True)

    def state(self) -> FolderState:
        """Return the current state. Raises LogStreamLost while the shared folder is not mounted."""
        if not self.path.parent.is_dir():
            raise LogStreamLost(f"{self.path.parent} is not there; is the shared folder mounted?")
        # Listing the folder makes a network file system refresh its cache; otherwise a new file may
        # seem to be missing for up to a minute.
        with contextlib.suppress(OSError):
            os.listdir(self.path)
        text = self._read("result")
        printed, tail = self._log_tail(bool(text))
        # An earlier run that was requeued is in the same log.
        killed = _KILL_MESSAGE.search(tail.rpartition(JOB_STARTED_LINE.encode())[2])
        return FolderState(
            exit_code=int(text) if text.isdigit() else None,
            log_bytes=printed,
            log_complete=f"\n{JOB_ENDED_LINE}\n".encode() in tail,
            kill_reason=(killed.lastgroup or "") if killed else "",
            cancelled=(self.path / "cancelled").exists(),
            rejection=self._read("refused"),
            heartbeat=self._heartbeat(),
        )

    def _heartbeat(self) -> int:
        # Opening it makes a network file system refresh its cache.
        try:
            with (self.path / "alive").open("rb") as alive:
                return os.fstat(alive.fileno()).st_mtime_ns
        except OSError:
            return 0

    def _log_tail(self, wanted: bool) -> tuple[int, bytes]:
        """Return the log's size and, if wanted, its last TAIL_BYTES."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - TAIL_BYTES))
                return size, log.read() if wanted else b""
        except OSError:
            return 0, b""

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self.path / name) as part:
            part.write_text(text, encoding="utf-8")
