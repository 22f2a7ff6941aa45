"""SlurmBackend: submit, find, follow, fetch and cancel jobs by their folders and Slurm's programs.

State is read afresh each time; nothing that matters is kept in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bot.backends.base import FinalCost, Health, LifecycleEvent, LogLine, PriceQuote, Submission
from bot.backends.container_stubs import (
    PACKAGE_ROOT,
    Txt2ImgConfig,
    container_stubs,
    write_container_stubs,
)
from bot.backends.engine_info import HOSTED, Description, describe
from bot.backends.job_folders import (
    PASS_BYTES,
    copy_published,
    delete_expired,
    job_dir,
    log_size,
    put_input,
    read_lines_until,
    shared_folders,
)
from bot.backends.slurm.checks import (
    CONTROLLER_DOWN_HINT,
    ClusterChecks,
    gpu_health,
    partition_health,
    read_nodes,
)
from bot.backends.slurm.commands import SlurmCommands
from bot.backends.slurm.job_folder import JobFolder
from bot.backends.slurm.job_tracker import STOPPED_SECONDS, JobTracker, SqueueObservation
from bot.backends.slurm.options import SlurmOptions, cluster_args
from bot.backends.slurm.poller import QueuePoller, Snapshot
from bot.backends.slurm.srun import SrunLauncher
from bot.backends.txt2img_config import CONFIG_FILE, write_txt2img_config
from bot.concurrency import cancel_and_wait
from bot.domain.checks import CheckResult
from bot.domain.errors import (
    ConfigError,
    LogStreamLost,
    SubmissionRejected,
    Unavailable,
    WorkflowError,
)
from bot.domain.events import Artifact, BackendJobRef
from bot.domain.image_engine import EngineInfo
from bot.domain.workflow.bash import ContainerRuntime, ExecutionEnvironment, OciRuntime, to_bash
from bot.domain.workflow.document import Workflow

NAME = "slurm"
CANCEL_SECONDS = 10.0
# As the worker's socket: for each job, in a folder of its node (worker/place.py of bot.txt2img).
# Sockets do not work across nodes, and the shared folder is on all of them.
_WORKER_PER_JOB = "job"
_MAX_SHARED_DIR_CHARACTERS = 500


class SlurmBackend:
    """Jobs in ``shared_dir/jobs/<id>``, container stubs in ``shared_dir/bin``."""

    name = NAME

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        self._root = options.shared_dir
        self._jobs = self._root / "jobs"
        self._commands = SlurmCommands(options.environment, options.client_seconds)
        self._pollers: dict[str, QueuePoller] = {}

    def prepare(self) -> None:
        """Create the shared folders and stubs, and delete jobs that ended a week ago. Blocking."""
        where = "[backend.slurm] shared_dir"
        if len(str(self._root)) > _MAX_SHARED_DIR_CHARACTERS:
            # A URL longer than a log line would be truncated, and the marker's signature with it.
            raise ConfigError(where, "its path is too long", "Choose a shorter path.")
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            for folder in (self._jobs, self._root / "caches"):
                folder.mkdir(mode=0o700, exist_ok=True)
            write_container_stubs(self._root / "bin", self._options.interpreter)
            if self._options.uses_config:
                write_txt2img_config(
                    self._root / CONFIG_FILE,
                    self._options.tables,
                    engine=self._options.engine,
                    device=self._options.txt2img_device,
                    socket=_WORKER_PER_JOB if self._options.uses_worker else "",
                )
        except OSError as error:
            raise ConfigError(
                where, f"cannot write to {self._root}: {error.strerror}", "Make it writable."
            ) from error
        delete_expired(self._jobs, time.time(), ("result", "over"))

    def upload_url(self, job_id: str) -> str:
        """Return the job's ``published`` folder on the shared file system as a ``file://`` URL."""
        return (job_dir(self._jobs, job_id) / "published").as_uri()

    async def put_input(self, job_id: str, source: Path) -> str:
        """Copy the file into the job's folder on the shared file system; return its URL."""
        folder = self._folder(job_id).path
        try:
            return await asyncio.to_thread(put_input, folder, source)
        except OSError as error:
            raise Unavailable(f"cannot write to {folder}: {error.strerror}") from error

    async def price(self, workflow: Workflow) -> PriceQuote:
        """Return no price: cluster jobs cost nothing."""
        return PriceQuote()

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Submit the job with ``sbatch``, unless this id was submitted before."""
        folder = self._folder(submission.job_id)
        try:
            script = self.script(submission)
        except WorkflowError as error:
            raise SubmissionRejected(str(error)) from error
        handle = BackendJobRef(NAME, submission.job_id)
        try:
            await asyncio.to_thread(folder.create)
            async with folder.locked():
                if await self._is_submitted(folder):
                    return handle
                arguments = self._sbatch_args(submission, folder)
                gpus = any(argument.startswith("--gpus") for argument in arguments)
                await asyncio.to_thread(folder.write_intent, script, gpus=gpus)
                output = await self._commands.run("sbatch", *arguments)
                await asyncio.to_thread(folder.write_submitted, output.strip())
        except OSError as error:
            raise Unavailable(f"cannot write to {folder.path}: {error.strerror}") from error
        return handle

    def script(self, submission: Submission) -> str:
        """Render the job as a bash script. Raises WorkflowError."""
        folder = self._folder(submission.job_id).path
        environment = ExecutionEnvironment(
            storage=str(folder / "scratch"),
            caches=str(self._root / "caches"),
            result=str(folder / "result"),
            launcher=SrunLauncher(self._options),
            containers=self._containers(folder),
            # For a container's own txt2img.py; a stub's environment repeats it.
            environment={"DEVICE": self._options.txt2img_device},
        )
        return to_bash(submission.workflow, environment)

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the job's handle if Slurm ever took it.

        Asks Slurm by job name where the folder does not tell. Raises Unavailable.
        """
        folder = self._folder(job_id)
        if not await asyncio.to_thread(self._jobs.is_dir):
            # An unmounted folder does not prove that the job is missing.
            raise Unavailable(f"{self._jobs} is not there; is the shared folder mounted?")
        return BackendJobRef(NAME, job_id) if await self._is_submitted(folder) else None

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield the log from a byte offset on, and lifecycle events from the folder and Slurm.

        Raises Unavailable while the controller is down, after all that the files can tell, and
        LogStreamLost while the shared folder is not mounted.
        """
        folder = self._folder(handle.id)
        options = self._options
        tracker = JobTracker(
            settle_seconds=options.settle_seconds, hopeless_seconds=options.hopeless_seconds
        )
        offset = int(cursor or 0)
        poller = await self._poller_for(folder)
        observation: SqueueObservation | None = None
        next_cancel_at = 0.0
        polling: asyncio.Task[Snapshot] | None = None
        try:
            while True:
                # Read before the log: then the log of an ended job is complete.
                state = await asyncio.to_thread(folder.state)
                outage: Unavailable | None = None
                if polling is not None and polling.done():
                    try:
                        observation = await self._observe(polling.result(), folder)
                    except Unavailable as error:
                        outage = error
                    polling = None
                events = tracker.update(state, observation, time.monotonic())
                if not events and outage is not None:
                    events = tracker.update_without_slurm(state)
                # In parts while it runs: a job that prints without end can still be cancelled.
                size = await log_size(folder.log)
                end = size if tracker.ended else min(size, offset + PASS_BYTES)
                seconds = STOPPED_SECONDS if state.cancelled else math.inf
                async for line in read_lines_until(
                    folder.log, offset, end, final=tracker.ended, seconds=seconds
                ):
                    offset = int(line.cursor)
                    yield line
                if tracker.ended:
                    await asyncio.to_thread(folder.write_over)
                for event in events:
                    yield event
                if tracker.ended:
                    return
                if outage is not None:
                    raise outage
                if tracker.hopeless:
                    await self._scancel(folder, partial(folder.write_rejection, tracker.hopeless))
                elif state.cancelled and tracker.alive and time.monotonic() >= next_cancel_at:
                    next_cancel_at = time.monotonic() + CANCEL_SECONDS
                    await self._scancel(folder, folder.write_cancelled, wait=False)
                if polling is None:
                    polling = asyncio.create_task(poller.snapshot(time.monotonic()))
                await asyncio.wait({polling}, timeout=options.log_seconds if end == size else 0)
        except OSError as error:
            raise LogStreamLost(f"cannot read {folder.path}: {error.strerror}") from error
        finally:
            await cancel_and_wait(polling)

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Copy and verify a published file in a thread."""
        await asyncio.to_thread(copy_published, artifact, self._jobs, target)

    async def cancel(self, handle: BackendJobRef) -> None:
        """Run ``scancel`` until Slurm says that the job has ended; scancel itself prints nothing.

        Raises Unavailable if the controller is down: the request is saved, but call again.
        """
        folder = self._folder(handle.id)
        if not folder.path.exists() or await asyncio.to_thread(folder.is_over):
            return
        try:
            await self._scancel(folder, folder.write_cancelled)
        except Unavailable:
            # The follower sees it and cancels once the controller is available.
            await asyncio.to_thread(folder.write_cancelled)
            raise

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Return None: cluster jobs cost nothing."""
        return None

    async def delete_job_data(self, job_id: str) -> None:
        """Delete the job's folder if its end was seen."""
        await asyncio.to_thread(self._folder(job_id).delete)

    async def health(self) -> Health:
        """Check that the controller answers, the partition is up and the folder is writable."""
        if not await asyncio.to_thread(os.access, self._jobs, os.W_OK):
            return Health(False, f"cannot write to {self._jobs}", "Mount it, or make it writable.")
        try:
            groups = await read_nodes(self._commands, self._options.clusters)
        except Unavailable as error:
            return Health(
                False, f"the Slurm cluster is unavailable ({error})", CONTROLLER_DOWN_HINT
            )
        partition = partition_health(groups, self._options)
        gpus = gpu_health(groups, self._options)
        if partition.ok and gpus.ok:
            return Health(True, f"partition {partition.detail}; GPUs: {gpus.detail}")
        return gpus if partition.ok else partition

    async def engine_info(self) -> EngineInfo:
        """Return the image engine on the nodes, as far as this machine can tell."""
        return (await self._describe_engine()).engine

    async def model_engines(self) -> Mapping[str, EngineInfo]:
        """Return the image engines of the table's models, as far as this machine can tell."""
        return (await self._describe_engine()).model_engines

    async def run_checks(self, workflow: Workflow) -> tuple[CheckResult, ...]:
        """Run all checks, with a test job of a second on a node; never raises."""
        cluster_checks = ClusterChecks(
            self._options,
            self._commands,
            self._poller(self._options.clusters),
            containers=self._containers(self._root),
            resources=workflow.resources,
        )
        return await cluster_checks.run()

    async def aclose(self) -> None:
        """Stop polling; jobs go on."""
        for poller in self._pollers.values():
            await poller.aclose()
        self._commands.close()

    async def _describe_engine(self) -> Description:
        options = self._options
        if options.container != "none":
            return HOSTED
        config = self._txt2img_config()
        if config.engine == "auto" and config.model:
            # The library must be on the nodes; this machine need not have it.
            config = replace(config, engine="diffusers")
        tables = options.tables
        if not tables.has_models_or_servers:
            config = replace(config, config_file="")  # these are all that it would add
        description = await describe(config, options.environment, table=bool(tables.models))
        return description.with_pending(await asyncio.to_thread(tables.find_pending))

    def _poller(self, cluster: str) -> QueuePoller:
        """Return the poller of a cluster, shared by all followers of jobs there."""
        if cluster not in self._pollers:
            self._pollers[cluster] = QueuePoller(
                self._commands, self._options.poll_seconds, cluster
            )
        return self._pollers[cluster]

    async def _poller_for(self, folder: JobFolder) -> QueuePoller:
        """Return the poller of the cluster that took the job, whatever is configured now."""
        return self._poller(await asyncio.to_thread(folder.cluster) or self._options.clusters)

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(job_dir(self._jobs, job_id))

    def _sbatch_args(self, submission: Submission, folder: JobFolder) -> tuple[str, ...]:
        return (
            *("--parsable", f"--job-name={submission.job_id}", "--comment=gridbrush"),
            # A relative log: in an absolute path Slurm would expand per cent signs.
            *(f"--chdir={folder.path}", "--output=log", "--open-mode=append"),
            *("--export=ALL", "--requeue"),
            *self._options.sbatch_args(submission.workflow.resources),
            *self._options.partition_args(),
            str(folder.path / "job.sh"),
        )

    def _containers(self, folder: Path) -> ContainerRuntime:
        options = self._options
        if options.container != "none":
            shared = shared_folders(folder, self._root / "caches")
            gpus = options.txt2img_device == "cuda"
            return OciRuntime(options.container, shared=shared, gpus=gpus)
        return container_stubs(
            self._root / "bin",
            self._txt2img_config(),
            path=options.environment["PATH"],
            package_root="" if options.python else PACKAGE_ROOT,
        )

    def _txt2img_config(self) -> Txt2ImgConfig:
        options = self._options
        return Txt2ImgConfig(
            options.engine,
            options.model,
            options.txt2img_device,
            options.step_seconds,
            str(self._root / CONFIG_FILE) if options.uses_config else "",
        )

    async def _is_submitted(self, folder: JobFolder) -> bool:
        """Return whether Slurm has, or had, the job."""
        if await asyncio.to_thread(lambda: folder.slurm_job_id() or folder.has_run()):
            return True
        if not await asyncio.to_thread(folder.has_intent):
            return False
        # A crash came around the call of sbatch.
        snapshot = await (await self._poller_for(folder)).snapshot(time.monotonic(), soon=True)
        return bool(snapshot.by_name(folder.name))

    async def _observe(self, snapshot: Snapshot, folder: JobFolder) -> SqueueObservation:
        slurm_job_id = await asyncio.to_thread(folder.slurm_job_id)
        return SqueueObservation(snapshot.started_at, snapshot.find(slurm_job_id, folder.name))

    async def _scancel(
        self, folder: JobFolder, note: Callable[[], None], *, wait: bool = True
    ) -> None:
        """Cancel the job's live records after ``note`` has saved why; do nothing if it has ended.

        With ``wait`` until it is gone, for at most CANCEL_SECONDS.
        """
        poller = await self._poller_for(folder)
        slurm_job_id = await asyncio.to_thread(folder.slurm_job_id)
        deadline = time.monotonic() + CANCEL_SECONDS
        for attempt in itertools.count():
            snapshot = await poller.snapshot(time.monotonic(), soon=True)
            alive = [record for record in snapshot.by_name(folder.name) if not record.is_ended]
            if attempt:
                alive = [record for record in alive if record.state != "COMPLETING"]
            # Slurm does not list it at the moment, and yet it may run.
            unlisted = (
                not attempt and slurm_job_id and snapshot.find(slurm_job_id, folder.name) is None
            )
            if time.monotonic() > deadline or not (alive or unlisted):
                return
            await asyncio.to_thread(note)
            targets: dict[str, list[str]] = {poller.cluster: [slurm_job_id]} if unlisted else {}
            for record in alive:
                targets.setdefault(record.cluster or poller.cluster, []).append(record.id)
            try:
                for cluster, job_ids in targets.items():
                    await self._commands.run("scancel", *cluster_args(cluster), *job_ids)
            except SubmissionRejected as error:
                raise Unavailable(str(error)) from error
            if not wait:
                return
            await asyncio.sleep(self._options.log_seconds)
