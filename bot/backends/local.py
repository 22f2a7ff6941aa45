"""Run workflows as processes on this machine.

A job is a folder: script, log, published files, and a lock file that the job's processes hold
while any of them lives. All state is in that folder, so a job outlives the bot, is found again by
its id, and never starts twice. The container images of the stock templates are replaced by
``bot.txt2img``, or run for real when a container runtime is configured.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.backends import job_folders, task_slots
from bot.backends.base import FinalCost, Health, LifecycleEvent, LogLine, PriceQuote, Submission
from bot.backends.container_stubs import Txt2ImgConfig, container_stubs, write_container_stubs
from bot.backends.engine_info import HOSTED, Description, describe
from bot.backends.environment import child_environment, needs_hub
from bot.backends.job_folders import (
    PASS_BYTES,
    copy_published,
    delete_expired,
    job_dir,
    log_size,
    put_input,
    read_lines_until,
    shared_folders,
    write_private,
)
from bot.backends.local_devices import DIFFUSERS, count_tasks, list_gpus, uses_model
from bot.backends.txt2img_config import CONFIG_FILE, EngineTables, write_txt2img_config
from bot.backends.worker_status import read_workers, show_workers
from bot.domain.checks import CheckResult
from bot.domain.errors import ConfigError, SubmissionRejected, WorkflowError
from bot.domain.events import Artifact, BackendJobRef, Cancelled, Exited
from bot.domain.image_engine import EngineInfo
from bot.domain.workflow.bash import (
    ContainerRuntime,
    ExecutionEnvironment,
    OciRuntime,
    ProcessLauncher,
    to_bash,
)
from bot.domain.workflow.document import Workflow

NAME = "local"
KEEP_DAYS = job_folders.KEEP_DAYS
GRACE_SECONDS = 4.0
_WORKER_FOLDER = "worker"
STOPPED_SECONDS = 2.0
"""How long the rest of a cancelled job's log is read."""

# The variables that a job inherits. No more: the bot's environment holds its secrets.
_INHERITED = re.compile(
    r"HOME|LANG|LC_.*|TMPDIR|TZ|USER|LD_LIBRARY_PATH|CUDA_.*|NVIDIA_.*|HF_.*|HIP_.*|ROCR_.*|OMP_.*"
)
# In the environment of everything that a job starts.
_JOB_VARIABLE = "GRIDBRUSH_JOB"
# The intermediate shell leads the job's process group, writes the group id and exits, so that the
# job is no child of the bot and need not be waited for.
_START_SCRIPT = """
umask 077
{ printf '%s\\n' "$$" > group.part && mv group.part group; } || exit 28
bash script.sh </dev/null >>log 2>&1 &
"""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The options of ``[backend.local]``. Jobs are kept in ``data_dir/local``.

    ``tasks`` is 0 and ``gpus`` empty until the backend is opened.
    """

    data_dir: Path
    tasks: int = 0
    engine: str = "auto"
    model: str = ""
    device: str = "auto"
    container: str = "none"
    step_seconds: float = 0.0
    poll_seconds: float = 0.1
    environ: Mapping[str, str] | None = None
    tables: EngineTables = field(default_factory=EngineTables)
    gpus: tuple[str, ...] = ()

    @property
    def loads_model(self) -> bool:
        """Return whether jobs load models on this machine, outside of containers."""
        models = self.tables.models
        if self.container != "none":
            return False
        return uses_model(self.engine, has_model=bool(self.model or models)) or any(
            model.get("engine") == DIFFUSERS for model in models.values()
        )

    @property
    def uses_config(self) -> bool:
        """Return whether ``bot.txt2img`` gets a configuration file."""
        return bool(self.tables) or self.loads_model


async def open(options: Mapping[str, object]) -> LocalBackend:
    """Open the backend. Raises ConfigError if its folder cannot be used."""
    known = {name: options[name] for name in LocalOptions.__dataclass_fields__ if name in options}
    known["tables"] = EngineTables.from_options(options)
    chosen = LocalOptions(**known)  # type: ignore[arg-type]
    backend = LocalBackend(await asyncio.to_thread(_find_devices, chosen))
    await asyncio.to_thread(backend.prepare)
    return backend


def _find_devices(options: LocalOptions) -> LocalOptions:
    """Return the options with this machine's GPUs and the number of tasks. Blocking."""
    in_container = options.container != "none"
    gpus: tuple[str, ...] = ()
    if (options.loads_model or in_container) and _device(options) == "cuda":
        gpus = list_gpus(os.environ if options.environ is None else options.environ)
    servers = {"comfyui": options.tables.comfyui, "a1111": options.tables.a1111}
    urls = servers.get(options.engine, {}).get("urls", ())
    tasks = options.tasks or count_tasks(
        options.engine,
        loads_model=options.loads_model or in_container,
        gpus=len(gpus),
        servers=len(urls) if isinstance(urls, Sequence) else 0,
    )
    return replace(options, tasks=tasks, gpus=() if in_container else gpus)


class LocalBackend:
    """Jobs in ``root/jobs/<id>``, task slots in ``root/slots``, container stubs in ``root/bin``."""

    name = NAME

    def __init__(self, options: LocalOptions) -> None:
        self._root = (options.data_dir / NAME).resolve()
        tables = options.tables.with_caches(self._root / "caches")
        self._options = replace(options, tables=tables)
        self._jobs = self._root / "jobs"

    def prepare(self) -> None:
        """Create folders and container stubs, and delete jobs that ended a week ago. Blocking."""
        try:
            for folder in (self._options.data_dir, self._root, self._jobs, self._root / "caches"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_container_stubs(self._root / "bin", sys.executable)
            if self._options.uses_config:
                write_txt2img_config(
                    self._root / CONFIG_FILE,
                    self._options.tables,
                    engine=self._options.engine,
                    device=self._txt2img_config().device,
                    socket=self._worker_socket(),
                )
        except OSError as error:
            raise ConfigError(
                "[data] dir", f"cannot write to {self._root}: {error.strerror}", "Make it writable."
            ) from error
        delete_expired(self._jobs, time.time())

    def upload_url(self, job_id: str) -> str:
        """Return the job's ``published`` folder as a ``file://`` URL."""
        return (self._folder(job_id) / "published").as_uri()

    async def put_input(self, job_id: str, source: Path) -> str:
        """Copy the file into the job's folder and return a ``file://`` URL."""
        return await asyncio.to_thread(put_input, self._folder(job_id), source)

    async def price(self, workflow: Workflow) -> PriceQuote:
        """Return no price: local jobs cost nothing."""
        return PriceQuote()

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Start the job's processes, unless this id was started before."""
        try:
            script = self.script(submission)
        except WorkflowError as error:
            raise SubmissionRejected(str(error)) from error
        await asyncio.to_thread(self._start, self._folder(submission.job_id), script)
        return BackendJobRef(NAME, submission.job_id)

    def script(self, submission: Submission) -> str:
        """Render the job as a bash script. Raises WorkflowError."""
        folder = self._folder(submission.job_id)
        return to_bash(submission.workflow, self._execution_environment(folder))

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the job's handle if it ever started."""
        folder = self._folder(job_id)
        started = await asyncio.to_thread(
            lambda: (folder / "group").exists() or _is_running(folder)
        )
        return BackendJobRef(NAME, job_id) if started else None

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield the log from a byte offset on, then the terminal event."""
        folder = self._folder(handle.id)
        log = folder / "log"
        offset = int(cursor or 0)
        while True:
            # Read before the log: then the log of an ended job is complete.
            over, stopped = await asyncio.to_thread(_state, folder)
            size = await log_size(log)
            # In parts while it runs: a job that prints without end can still be cancelled.
            end = size if over else min(size, offset + PASS_BYTES)
            seconds = STOPPED_SECONDS if stopped else math.inf
            async for line in read_lines_until(log, offset, end, final=over, seconds=seconds):
                offset = int(line.cursor)
                yield line
            if over:
                yield _end_event(folder)
                return
            await asyncio.sleep(self._options.poll_seconds if end == size else 0)

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Copy and verify a published file in a thread."""
        await asyncio.to_thread(copy_published, artifact, self._jobs, target)

    async def cancel(self, handle: BackendJobRef) -> None:
        """Stop the process group: SIGTERM, then SIGKILL for what is left after 4 s."""
        await asyncio.to_thread(self._stop, self._folder(handle.id))

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Return None: local jobs cost nothing."""
        return None

    async def delete_job_data(self, job_id: str) -> None:
        """Delete the job's folder, unless one of its processes lives."""
        await asyncio.to_thread(self._delete, self._folder(job_id))

    async def health(self) -> Health:
        """Return whether bash and the configured container runtime are installed."""
        if shutil.which("bash") is None:
            return Health(False, "bash is not installed", "Install bash; the job scripts need it.")
        runtime = self._options.container
        if runtime != "none" and shutil.which(runtime) is None:
            hint = 'Install it, or set [backend.local] container = "none".'
            return Health(False, f"{runtime} is not installed", hint)
        if not os.access(self._jobs, os.W_OK):
            return Health(False, f"cannot write to {self._jobs}", "Make the folder writable.")
        detail = f"{self._options.tasks} task slots, engine {self._options.engine}"
        workers = show_workers(*await read_workers(self._root / _WORKER_FOLDER))
        return Health(True, f"{detail}, {workers}" if workers else detail)

    async def engine_info(self) -> EngineInfo:
        """Return the image engine of this machine or of the container."""
        return (await self._describe_engine()).engine

    async def model_engines(self) -> Mapping[str, EngineInfo]:
        """Return the image engines of the table's models, as far as they are known."""
        return (await self._describe_engine()).model_engines

    async def run_checks(self, workflow: Workflow) -> tuple[CheckResult, ...]:
        """Check the model, which nothing loads before the first picture."""
        return (await self._describe_engine()).check_results("[backend.local]")

    async def aclose(self) -> None:
        """Do nothing: no connection is open, jobs go on, and a worker ends when it is idle."""

    async def _describe_engine(self) -> Description:
        if self._options.container != "none":
            return HOSTED
        table = bool(self._options.tables.models)
        config = self._txt2img_config()
        if not self._options.tables.has_models_or_servers:
            config = replace(config, config_file="")  # these are all that it would add
        description = await describe(config, self._environment(), table=table)
        return description.with_pending(await asyncio.to_thread(self._options.tables.find_pending))

    def _folder(self, job_id: str) -> Path:
        return job_dir(self._jobs, job_id)

    def _start(self, folder: Path, script: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "alive").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # it runs, started by an earlier call
            if (folder / "group").exists():
                return  # it ran, and is over
            (folder / "published").mkdir(mode=0o700, exist_ok=True)
            write_private(folder / "script.sh", script)
            write_private(folder / "log", "")
            result = subprocess.run(
                ["bash", "-c", _START_SCRIPT],  # noqa: S607  # found on PATH, as in jobs
                cwd=folder,
                env={**self._environment(), _JOB_VARIABLE: folder.name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
                check=False,
            )
            if result.returncode != 0:
                # Nothing was started: without its group id the job could never be cancelled.
                raise OSError(errno.ENOSPC, "the process group cannot be saved", str(folder))

    def _stop(self, folder: Path) -> None:
        if (folder / "result").exists() or not folder.exists():
            return
        (folder / "cancelled").touch()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            group = int((folder / "group").read_text())
            for number in (signal.SIGTERM, signal.SIGKILL):
                # The id cannot be reused while the lock is held.
                if _is_running(folder):
                    os.killpg(group, number)
                    _wait_for_exit(folder)
        # Processes that left the group still hold the lock.
        for process in _find_lock_holders(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _wait_for_exit(folder)
        shutil.rmtree(folder / "scratch", ignore_errors=True)

    def _delete(self, folder: Path) -> None:
        if (folder / "result").exists():
            _wait_for_exit(folder)  # its last process may still be on its way out
        if not _is_running(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        options = self._options
        source = os.environ if options.environ is None else options.environ
        hub = options.tables.uses_hub or needs_hub(options.engine, options.model)
        return child_environment(source, _INHERITED, hub=hub)

    def _execution_environment(self, folder: Path) -> ExecutionEnvironment:
        gpus = self._options.gpus
        slot = (
            *(sys.executable, "-I", task_slots.__file__),
            *((f"--gpus={','.join(gpus)}",) if gpus else ()),
            str(self._root / "slots"),
        )
        return ExecutionEnvironment(
            storage=str(folder / "scratch"),
            caches=str(self._root / "caches"),
            result=str(folder / "result"),
            launcher=ProcessLauncher((*slot, str(self._options.tasks))),
            containers=self._containers(folder),
            # For a container's own txt2img.py; a stub's environment repeats it.
            environment={"DEVICE": self._txt2img_config().device},
        )

    def _containers(self, folder: Path) -> ContainerRuntime:
        options = self._options
        if options.container != "none":
            shared = shared_folders(folder, self._root / "caches")
            gpus = self._txt2img_config().device == "cuda"
            return OciRuntime(options.container, shared=shared, gpus=gpus)
        source = os.environ if options.environ is None else options.environ
        path = source.get("PATH", os.defpath)
        return container_stubs(self._root / "bin", self._txt2img_config(), path=path)

    def _txt2img_config(self) -> Txt2ImgConfig:
        options = self._options
        file = str(self._root / CONFIG_FILE) if options.uses_config else ""
        device = _device(options)
        return Txt2ImgConfig(options.engine, options.model, device, options.step_seconds, file)

    def _worker_socket(self) -> str:
        """Return where the resident worker's socket is; empty if models are loaded for each row."""
        options = self._options
        if not options.loads_model or not options.tables.worker.get("enabled", True):
            return ""
        return str(self._root / _WORKER_FOLDER / "worker.sock")


def _device(options: LocalOptions) -> str:
    if options.device != "auto":
        return options.device
    return "cuda" if shutil.which("nvidia-smi") else "cpu"


def _is_running(folder: Path) -> bool:
    """Return whether a process of the job lives: they hold the lock."""
    try:
        with (folder / "alive").open("a") as lock:
            # Shared, so that two who ask at once do not take each other for the job.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _state(folder: Path) -> tuple[bool, bool]:
    """Return whether the job has ended, and whether it was cancelled."""
    over = not _is_running(folder) or (folder / "result").exists()
    return over, (folder / "cancelled").exists()


def _find_lock_holders(folder: Path) -> list[int]:
    """Return the job's own processes that hold its lock; empty where there is no ``/proc``.

    A process that only tests the lock has the file open for a moment too, but not the variable.
    """
    lock = os.path.realpath(folder / "alive")
    variable = f"{_JOB_VARIABLE}={folder.name}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_job = variable in (process / "environ").read_bytes().split(b"\0")
            if is_job and any(os.readlink(file) == lock for file in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def _wait_for_exit(folder: Path) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    while _is_running(folder) and time.monotonic() < deadline:
        time.sleep(0.02)


def _end_event(folder: Path) -> LifecycleEvent:
    try:
        code: int | None = int((folder / "result").read_text())
    except (FileNotFoundError, ValueError):
        code = None
    if (folder / "cancelled").exists() and code != 0:
        return Cancelled(by=0)
    return Exited(code, "" if code is not None else "its processes have disappeared")
