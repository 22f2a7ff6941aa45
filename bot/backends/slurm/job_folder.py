"""A job's folder on the shared file system: what was intended, submitted, started, and its end.

    script.sh   the job, rendered          job.sh     what sbatch is given; starts it once
    intent      about to be submitted      submitted  Slurm's number of it, and its cluster
    owner       the number that started    log        everything it printed
    alive       touched while it runs
    result      its exit status, last      cancelled, refused    what we did to it
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
PULSE_SECONDS = 5

# What slurmstepd writes into the log of a step or job that it kills, and our word for it.
_KILLED = re.compile(
    rb"slurmstepd.*?(?:(?P<memory>exceeded.* memory limit|oom[-_ ]kill)|(?P<time>DUE TO TIME LIMIT)"
    rb"|(?P<node>DUE TO NODE FAILURE)|(?P<preempted>DUE TO PREEMPTION))",
    re.IGNORECASE,
)

# Should sbatch ever have reached the controller twice, only the first job to start does the work.
# A job that Slurm starts again, after its node failed, finds its own number and begins afresh.
_START = """\
#!/bin/bash
# Given to sbatch by Gridbrush: starts script.sh, once for all Slurm jobs of this name.
umask 077
cd {folder} || exit 1
( set -C; printf '%s\\n' "$SLURM_JOB_ID" > owner ) 2>/dev/null
[ "$(cat owner)" = "$SLURM_JOB_ID" ] || exit 0
{check}rm -rf result scratch
# Shows that the job lives when Slurm does not know it and it prints nothing. Nobody's child, so
# that the script does not wait for it.
( ( while kill -0 $$; do touch alive; sleep {pulse}; done ) </dev/null >/dev/null 2>&1 & )
exec bash script.sh
"""

# Measured with 22.05: in the seconds after its restart the controller starts jobs on nodes that
# were busy before without the GPUs they asked for, and no step of them can begin.
_CHECK_GPUS = """\
if [ -z "$SLURM_JOB_GPUS$CUDA_VISIBLE_DEVICES$ROCR_VISIBLE_DEVICES" ] &&
  [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then
  echo "Slurm started this job without the GPUs it asked for; it is put back."
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
"""


@dataclass(frozen=True, slots=True)
class FolderState:
    """What the folder shows: the exit ``code`` once there is one, the bytes that were ``printed``,
    whether the log is ``complete`` (its last lines are there), ``why`` something in it was killed
    (``memory``, ``time``, ``node``, ``preempted``; empty for nothing), whether we ``cancelled`` the
    job, and the sentence with which we ``refused`` it. ``pulse`` changes every few seconds while it
    runs, 0 for a job that was submitted by a version without."""

    code: int | None = None
    log_bytes: int = 0
    complete: bool = False
    kill_reason: str = ""
    cancelled: bool = False
    refused: str = ""
    pulse: int = 0


@dataclass(frozen=True, slots=True)
class JobFolder:
    """One job's."""

    path: Path

    @property
    def name(self) -> str:
        """Our id of the job."""
        return self.path.name

    @property
    def log(self) -> Path:
        """Everything the job printed."""
        return self.path / "log"

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the folder against other tasks and processes; waits without blocking."""
        with (self.path / "lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(LOCK_SECONDS)
            yield

    def make(self) -> None:
        """Make the folder; the prompt and the key in it are nobody else's."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        (self.path / "published").mkdir(mode=0o700, exist_ok=True)

    def write_intent(self, script: str, *, gpus: bool) -> None:
        """Write everything that sbatch needs, and then that it is going to be called."""
        check = _CHECK_GPUS if gpus else ""
        self._write("script.sh", script)
        quoted = shlex.quote(str(self.path))
        starter = _START.format(folder=quoted, check=check, pulse=PULSE_SECONDS)
        self._write("job.sh", starter)
        self.log.touch(mode=0o600)
        self._write("intent", "")

    def note_submitted(self, said: str) -> None:
        """Keep what ``sbatch --parsable`` said: ``number``, or ``number;cluster``."""
        self._write("submitted", said)

    def intended(self) -> bool:
        """Whether it may have been submitted."""
        return (self.path / "intent").exists()

    def number(self) -> str:
        """Slurm's number of it, empty if not known; that of the job which started counts."""
        return self._read("owner") or self._read("submitted").partition(";")[0]

    def cluster(self) -> str:
        """Return the cluster that sbatch said took it, "" if it said none."""
        return self._read("submitted").partition(";")[2]

    def is_over(self) -> bool:
        """Whether it has ended for good: a result that is no 0 may be that of a run put back."""
        return (self.path / "over").exists() or self._read("result") == "0"

    def has_run(self) -> bool:
        """Whether it left something of a run that may be over."""
        return (self.path / "result").exists() or (self.path / "over").exists()

    def note_cancelled(self) -> None:
        """It is going to be cancelled."""
        (self.path / "cancelled").touch()

    def note_refused(self, sentence: str) -> None:
        """It is going to be given up, for the reason that ``sentence`` tells the member."""
        self._write("refused", sentence)

    def note_over(self) -> None:
        """It has ended; what it left behind in its scratch folder goes."""
        shutil.rmtree(self.path / "scratch", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self.path / "over").touch()

    def forget(self) -> None:
        """Leave nothing of it, unless it may still live."""
        if self.is_over():
            shutil.rmtree(self.path, ignore_errors=True)

    def state(self) -> FolderState:
        """What there is to see now. Raises LogStreamLost while the shared folder is away."""
        if not self.path.parent.is_dir():
            raise LogStreamLost(f"{self.path.parent} is not there; is the shared folder mounted?")
        # To list a folder makes a network file system look again; a file that was not there a
        # moment ago is otherwise believed to be missing for up to a minute.
        with contextlib.suppress(OSError):
            os.listdir(self.path)
        text = self._read("result")
        printed, tail = self._log_tail(bool(text))
        # An earlier run that was put back is in the same log.
        killed = _KILLED.search(tail.rpartition(JOB_STARTED_LINE.encode())[2])
        return FolderState(
            code=int(text) if text.isdigit() else None,
            log_bytes=printed,
            complete=f"\n{JOB_ENDED_LINE}\n".encode() in tail,
            kill_reason=(killed.lastgroup or "") if killed else "",
            cancelled=(self.path / "cancelled").exists(),
            refused=self._read("refused"),
            pulse=self._pulse(),
        )

    def _pulse(self) -> int:
        # Opened, which makes a network file system look again.
        try:
            with (self.path / "alive").open("rb") as alive:
                return os.fstat(alive.fileno()).st_mtime_ns
        except OSError:
            return 0

    def _log_tail(self, wanted: bool) -> tuple[int, bytes]:
        """The log's size and, if wanted, its end."""
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
