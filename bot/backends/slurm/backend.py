"""SlurmBackend: submit, find, follow, fetch and cancel jobs by their folders and Slurm's programs.

State is read anew each time; nothing that matters is kept in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import time
from collections.abc import AsyncIterator, Callable
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
from bot.backends.engine_info import HOSTED, describe
from bot.backends.job_folders import (
    PASS_BYTES,
    copy_published,
    delete_expired,
    job_dir,
    log_size,
    read_lines_until,
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
from bot.backends.slurm.options import SlurmOptions, cluster_words
from bot.backends.slurm.poller import QueuePoller, Snapshot
from bot.backends.slurm.srun import SrunLauncher
from bot.domain.checks import CheckResult
from bot.domain.errors import (
    ConfigError,
    LogStreamLost,
    SubmissionRejected,
    Unavailable,
    WorkflowError,
)
from bot.domain.events import Artifact, BackendJobRef
from bot.domain.image_engine import Painter
from bot.domain.workflow.bash import ContainerRuntime, ExecutionEnvironment, OciRuntime, to_bash
from bot.domain.workflow.document import Workflow

NAME = "slurm"
CANCEL_SECONDS = 10.0
_LONGEST_PATH = 500


class SlurmBackend:
    """Jobs in ``shared_dir/jobs/<id>``, container stubs in ``shared_dir/bin``."""

    name = NAME

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        self._root = options.shared_dir
        self._jobs = self._root / "jobs"
        self._clients = SlurmCommands(options.environment, options.client_seconds)
        self._watches: dict[str, QueuePoller] = {}

    def prepare(self) -> None:
        """Create the shared folders and stubs, and delete jobs that ended a week ago. Blocking."""
        where = "[backend.slurm] shared_dir"
        if len(str(self._root)) > _LONGEST_PATH:
            # An address longer than a log line may be would be cut off, and with it its signature.
            raise ConfigError(where, "its path is too long", "Name one of fewer characters.")
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            for folder in (self._jobs, self._root / "caches"):
                folder.mkdir(mode=0o700, exist_ok=True)
            write_container_stubs(self._root / "bin", self._options.interpreter)
        except OSError as error:
            raise ConfigError(
                where, f"cannot write to {self._root}: {error.strerror}", "Make it writable."
            ) from error
        delete_expired(self._jobs, time.time(), ("result", "over"))

    def upload_url(self, job_id: str) -> str:
        """Return the job's ``published`` folder on the shared file system as a ``file://`` URL."""
        return (job_dir(self._jobs, job_id) / "published").as_uri()

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
            await asyncio.to_thread(folder.make)
            async with folder.locked():
                if await self._landed(folder):
                    return handle
                words = self._sbatch(submission, folder)
                gpus = any(word.startswith("--gpus") for word in words)
                await asyncio.to_thread(folder.write_intent, script, gpus=gpus)
                said = await self._clients.run("sbatch", *words)
                await asyncio.to_thread(folder.note_submitted, said.strip())
        except OSError as error:
            raise Unavailable(f"cannot write to {folder.path}: {error.strerror}") from error
        return handle

    def script(self, submission: Submission) -> str:
        """Render the job as a bash script. Raises WorkflowError."""
        folder = self._folder(submission.job_id).path
        site = ExecutionEnvironment(
            storage=str(folder / "scratch"),
            caches=str(self._root / "caches"),
            result=str(folder / "result"),
            launcher=SrunLauncher(self._options),
            containers=self._containers(folder),
            # A container's own txt2img.py has to be told; a stand-in's environment says it again.
            environment={"DEVICE": self._options.txt2img_device},
        )
        return to_bash(submission.workflow, site)

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the job's handle if Slurm ever took it.

        Asks Slurm by job name where the folder does not tell. Raises Unavailable.
        """
        folder = self._folder(job_id)
        if not await asyncio.to_thread(self._jobs.is_dir):
            # An unmounted folder is no proof that there is no job in it.
            raise Unavailable(f"{self._jobs} is not there; is the shared folder mounted?")
        return BackendJobRef(NAME, job_id) if await self._landed(folder) else None

    async def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield the log from a byte offset on, and lifecycle events from the folder and Slurm.

        Raises Unavailable while the controller is down, after all that the files can tell, and
        LogStreamLost while the shared folder is not mounted.
        """
        folder = self._folder(handle.id)
        options = self._options
        course = JobTracker(
            settle_seconds=options.settle_seconds, hopeless_seconds=options.hopeless_seconds
        )
        offset = int(cursor or 0)
        watch = await self._watch_of(folder)
        sight: SqueueObservation | None = None
        again_at = 0.0
        looking: asyncio.Task[Snapshot] | None = None
        try:
            while True:
                # Asked before the log is read: whatever an ended job printed is then in it.
                traces = await asyncio.to_thread(folder.state)
                outage: Unavailable | None = None
                if looking is not None and looking.done():
                    try:
                        sight = await self._sight(looking.result(), folder)
                    except Unavailable as error:
                        outage = error
                    looking = None
                lives = course.update(traces, sight, time.monotonic())
                if not lives and outage is not None:
                    lives = course.update_without_slurm(traces)
                # A part at a time while it runs: what prints without end can still be stopped.
                size = await log_size(folder.log)
                end = size if course.ended else min(size, offset + PASS_BYTES)
                seconds = STOPPED_SECONDS if traces.cancelled else math.inf
                async for line in read_lines_until(
                    folder.log, offset, end, final=course.ended, seconds=seconds
                ):
                    offset = int(line.cursor)
                    yield line
                if course.ended:
                    await asyncio.to_thread(folder.note_over)
                for life in lives:
                    yield life
                if course.ended:
                    return
                if outage is not None:
                    raise outage
                if course.hopeless:
                    await self._scancel(folder, partial(folder.note_refused, course.hopeless))
                elif traces.cancelled and course.alive and time.monotonic() >= again_at:
                    again_at = time.monotonic() + CANCEL_SECONDS
                    await self._scancel(folder, folder.note_cancelled, wait=False)
                if looking is None:
                    looking = asyncio.create_task(watch.snapshot(time.monotonic()))
                await asyncio.wait({looking}, timeout=options.log_seconds if end == size else 0)
        except OSError as error:
            raise LogStreamLost(f"cannot read {folder.path}: {error.strerror}") from error
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

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
            await self._scancel(folder, folder.note_cancelled)
        except Unavailable:
            # Whoever follows the job sees the wish, and cancels once the controller is back.
            await asyncio.to_thread(folder.note_cancelled)
            raise

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Return None: cluster jobs cost nothing."""
        return None

    async def delete_job_data(self, job_id: str) -> None:
        """Delete the job's folder if its end was seen."""
        await asyncio.to_thread(self._folder(job_id).forget)

    async def health(self) -> Health:
        """Check that the controller answers, the partition is up and the folder is writable."""
        if not await asyncio.to_thread(os.access, self._jobs, os.W_OK):
            return Health(False, f"cannot write to {self._jobs}", "Mount it, or make it writable.")
        try:
            groups = await read_nodes(self._clients, self._options.clusters)
        except Unavailable as error:
            return Health(False, f"the Slurm cluster is away ({error})", CONTROLLER_DOWN_HINT)
        partition = partition_health(groups, self._options)
        gpus = gpu_health(groups, self._options)
        if partition.ok and gpus.ok:
            return Health(True, f"partition {partition.detail}; GPUs: {gpus.detail}")
        return gpus if partition.ok else partition

    async def painter(self) -> Painter:
        """Return the image engine on the nodes, as far as this machine can tell."""
        options = self._options
        if options.container != "none":
            return HOSTED.painter
        painting = self._painting()
        if painting.engine == "auto" and painting.model:
            # Whether the library is there is the nodes' matter; this machine need not have it.
            painting = replace(painting, engine="diffusers")
        return (await describe(painting, options.environment)).painter

    async def run_checks(self, workflow: Workflow) -> tuple[CheckResult, ...]:
        """Run all checks, with a test job of a second on a node; never raises."""
        inspection = ClusterChecks(
            self._options,
            self._clients,
            self._watch(self._options.clusters),
            containers=self._containers(self._root),
            resources=workflow.resources,
        )
        return await inspection.run()

    async def aclose(self) -> None:
        """Stop polling; jobs go on."""
        for watch in self._watches.values():
            await watch.aclose()
        self._clients.close()

    def _watch(self, cluster: str) -> QueuePoller:
        """Return the poller of a cluster, shared by all followers of jobs there."""
        if cluster not in self._watches:
            self._watches[cluster] = QueuePoller(self._clients, self._options.poll_seconds, cluster)
        return self._watches[cluster]

    async def _watch_of(self, folder: JobFolder) -> QueuePoller:
        """Return the poller of the cluster that took the job, whatever is configured now."""
        return self._watch(await asyncio.to_thread(folder.cluster) or self._options.clusters)

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(job_dir(self._jobs, job_id))

    def _sbatch(self, submission: Submission, folder: JobFolder) -> tuple[str, ...]:
        return (
            *("--parsable", f"--job-name={submission.job_id}", "--comment=gridbrush"),
            # A relative log: in a full path Slurm would replace what follows a per cent sign.
            *(f"--chdir={folder.path}", "--output=log", "--open-mode=append"),
            *("--export=ALL", "--requeue"),
            *self._options.sbatch_args(submission.workflow.resources),
            *self._options.partition_args(),
            str(folder.path / "job.sh"),
        )

    def _containers(self, folder: Path) -> ContainerRuntime:
        options = self._options
        if options.container != "none":
            shared = (str(folder / "published"), str(self._root / "caches"))
            return OciRuntime(options.container, shared=shared)
        return container_stubs(
            self._root / "bin",
            self._painting(),
            path=options.environment["PATH"],
            package_root="" if options.python else PACKAGE_ROOT,
        )

    def _painting(self) -> Txt2ImgConfig:
        options = self._options
        return Txt2ImgConfig(
            options.engine, options.model, options.txt2img_device, options.step_seconds
        )

    async def _landed(self, folder: JobFolder) -> bool:
        """Return whether Slurm has, or had, the job."""
        if await asyncio.to_thread(lambda: folder.number() or folder.has_run()):
            return True
        if not await asyncio.to_thread(folder.intended):
            return False
        # sbatch was about to be called when something happened.
        snapshot = await (await self._watch_of(folder)).snapshot(time.monotonic(), soon=True)
        return bool(snapshot.by_name(folder.name))

    async def _sight(self, snapshot: Snapshot, folder: JobFolder) -> SqueueObservation:
        number = await asyncio.to_thread(folder.number)
        return SqueueObservation(snapshot.began, snapshot.find(number, folder.name))

    async def _scancel(
        self, folder: JobFolder, note: Callable[[], None], *, wait: bool = True
    ) -> None:
        """Cancel the job's live records after ``note`` has saved why; do nothing if it has ended.

        With ``wait`` until it is gone, for at most CANCEL_SECONDS.
        """
        watch = await self._watch_of(folder)
        number = await asyncio.to_thread(folder.number)
        give_up = time.monotonic() + CANCEL_SECONDS
        for attempt in itertools.count():
            snapshot = await watch.snapshot(time.monotonic(), soon=True)
            alive = [record for record in snapshot.by_name(folder.name) if not record.ended]
            if attempt:
                alive = [record for record in alive if record.state != "COMPLETING"]
            # Not to be seen just now, and yet it may run.
            unseen = not attempt and number and snapshot.find(number, folder.name) is None
            if time.monotonic() > give_up or not (alive or unseen):
                return
            await asyncio.to_thread(note)
            targets: dict[str, list[str]] = {watch.cluster: [number]} if unseen else {}
            for record in alive:
                targets.setdefault(record.cluster or watch.cluster, []).append(record.id)
            try:
                for cluster, numbers in targets.items():
                    await self._clients.run("scancel", *cluster_words(cluster), *numbers)
            except SubmissionRejected as error:
                raise Unavailable(str(error)) from error
            if not wait:
                return
            await asyncio.sleep(self._options.log_seconds)
