"""The Slurm checks of ``gridbrush check``, each with a hint.

Programs, controller, partition, GPUs, account, the shared folder here, and, by a test job of a
second, the same folder and the programs on a node. No workflow is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bot.backends.base import Health
from bot.backends.engine_info import CHECK_NAME, MODULE, parse_description
from bot.backends.slurm.commands import SlurmCommands
from bot.backends.slurm.options import SlurmOptions, cluster_args
from bot.backends.slurm.poller import QueuePoller
from bot.backends.slurm.squeue import SqueueRecord
from bot.domain.checks import CheckResult
from bot.domain.errors import SubmissionRejected, Unavailable
from bot.domain.workflow.bash import ContainerRuntime, ContainerStubs
from bot.domain.workflow.document import Resources

PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo")
_SINFO = "%P|%a|%D|%T|%G"
CONTROLLER_DOWN_HINT = "Start slurmctld. This machine needs the cluster's slurm.conf and munge key."
_IMAGE = "library/stable-diffusion"

# What the stubs need, and nothing that takes long to load.
_TRY_STUBS = "python -c 'import numpy, PIL, bot.txt2img.arguments'"
_DESCRIBE = f"python -m {MODULE} > engine"


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes of a partition in the same state; ``gres`` is Slurm's list of their devices."""

    partition: str
    default: bool
    up: bool
    count: int
    state: str
    gres: str

    @property
    def gpu_types(self) -> frozenset[str]:
        """Return their GPU types, ``any`` for GPUs without a type; empty for none."""
        results = set()
        for device in self.gres.split(","):
            fields = device.partition("(")[0].split(":")
            if fields[0] == "gpu":
                results.add(fields[1] if len(fields) > 2 else "any")
        return frozenset(results)


async def read_nodes(commands: SlurmCommands, cluster: str = "") -> tuple[NodeGroup, ...]:
    """Return the node groups that ``sinfo`` lists. Raises Unavailable."""
    arguments = (*cluster_args(cluster), "--noheader", f"--format={_SINFO}")
    try:
        text = await commands.run("sinfo", *arguments)
    except SubmissionRejected as error:
        raise Unavailable(str(error)) from error
    groups = []
    for line in text.splitlines():
        if line.count("|") < 4:
            continue  # the header above each of several clusters
        name, up, count, state, gres = (part.strip() for part in line.split("|", 4))
        default, name = name.endswith("*"), name.rstrip("*")
        groups.append(NodeGroup(name, default, up == "up", int(count), state, gres))
    return tuple(groups)


def eligible_nodes(groups: tuple[NodeGroup, ...], options: SlurmOptions) -> tuple[NodeGroup, ...]:
    """Return the nodes that jobs may use; ``partition`` may be a list with commas."""
    if not options.partition:
        return tuple(group for group in groups if group.default)
    wanted = options.partition.split(",")
    return tuple(group for group in groups if group.partition in wanted)


def partition_health(groups: tuple[NodeGroup, ...], options: SlurmOptions) -> Health:
    """Check that the partition exists and takes jobs."""
    mine = eligible_nodes(groups, options)
    names = ", ".join(sorted({group.partition for group in groups})) or "none"
    hint = f"Set [backend.slurm] partition to one of: {names}."
    if not mine:
        what = f"no partition {options.partition}" if options.partition else "no default partition"
        return Health(False, f"there is {what}", hint)
    if not any(group.up for group in mine):
        up = f"scontrol update PartitionName={mine[0].partition} State=UP"
        return Health(False, f"the partition {mine[0].partition} is down", f"{hint} Or: {up}")
    shown = ", ".join(f"{group.count} {group.state}" for group in mine)
    return Health(True, f"{mine[0].partition}, nodes: {shown}")


def gpu_health(groups: tuple[NodeGroup, ...], options: SlurmOptions) -> Health:
    """Check that the partition has GPUs of the configured type."""
    if options.gpus == "none":
        return Health(True, "none are requested")
    types = {kind for group in eligible_nodes(groups, options) for kind in group.gpu_types}
    shown = ", ".join(sorted(types - {"any"}))
    if options.gpus == "any" and types:
        return Health(True, shown or "yes, without a type")
    if options.gpus in types:
        return Health(True, options.gpus)
    if not types:
        hint = 'Choose a partition with GPUs, or set [backend.slurm] gpus = "none".'
        return Health(False, "the partition has no GPUs", hint)
    hint = f'Set [backend.slurm] gpus to "any"{" or one of: " + shown if shown else ""}.'
    return Health(False, f"the partition has no GPUs of type {options.gpus}", hint)


class ClusterChecks:
    """Run the checks; a failed one skips those that depend on it."""

    def __init__(
        self,
        options: SlurmOptions,
        commands: SlurmCommands,
        poller: QueuePoller,
        *,
        containers: ContainerRuntime,
        resources: Resources,
    ) -> None:
        self._options = options
        self._commands = commands
        self._poller = poller
        self._containers = containers
        self._resources = resources
        self._described = ""

    async def run(self) -> tuple[CheckResult, ...]:
        """Return the results in order; never raises for what it finds."""
        results = [
            _to_result("Slurm's programs", self._programs()),
            _to_result("shared folder here", await asyncio.to_thread(self._folder_here)),
        ]
        if not results[0].ok:
            return tuple(results)
        try:
            groups = await read_nodes(self._commands, self._options.clusters)
            results.append(CheckResult("Slurm controller", True, "answers"))
            results.append(_to_result("partition", partition_health(groups, self._options)))
            results.append(_to_result("GPUs", gpu_health(groups, self._options)))
            results.append(_to_result("account and limits", await self._submission()))
            if all(result.ok for result in results):
                results.append(_to_result("test job on a node", await self._test_job()))
                results += self._engine_checks()
        except Unavailable as error:
            results.append(CheckResult("Slurm controller", False, str(error), CONTROLLER_DOWN_HINT))
        return tuple(results)

    def _engine_checks(self) -> tuple[CheckResult, ...]:
        """Return the checks of the node's image engine; empty where it was not asked."""
        if not self._described:
            return ()
        try:
            return parse_description(self._described).check_results("[backend.slurm]")
        except ValueError as error:
            hint = "Install the same version of Gridbrush on the nodes as on this machine."
            return (CheckResult(CHECK_NAME, False, str(error), hint),)

    def _programs(self) -> Health:
        path = self._options.environment["PATH"]
        missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
        if not missing:
            return Health(True, ", ".join(PROGRAMS))
        hint = "Install Slurm's client programs (Debian: slurm-client), of the cluster's version."
        return Health(False, f"not on the PATH: {', '.join(missing)}", hint)

    def _folder_here(self) -> Health:
        folder = self._options.shared_dir
        try:
            with tempfile.NamedTemporaryFile(dir=folder) as probe:
                probe.write(b"x")
                probe.flush()
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "Mount it with write permission and file locks (Lustre: the option flock)."
            return Health(False, f"{folder}: {error.strerror}", hint)
        return Health(True, str(folder))

    async def _submission(self) -> Health:
        """Check with ``sbatch --test-only`` that the default grid would be accepted."""
        options = self._options
        arguments = (*options.sbatch_args(self._resources), *options.partition_args())
        try:
            await self._commands.run("sbatch", "--test-only", *arguments, "--wrap=true")
        except SubmissionRejected as error:
            hint = "Change partition, account, gpus or extra_args in [backend.slurm]; ask with: "
            return Health(False, str(error), hint + f"sbatch --test-only {shlex.join(arguments)}")
        return Health(True, "the default grid would be accepted")

    async def _test_job(self) -> Health:
        folder = Path(
            await asyncio.to_thread(tempfile.mkdtemp, prefix="check-", dir=self._options.shared_dir)
        )
        try:
            health = await self._run_test_job(folder)
            self._described = await asyncio.to_thread(_read, folder, "engine")
            return health
        except SubmissionRejected as error:
            return Health(False, str(error), "Fix what sbatch reports first.")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run_test_job(self, folder: Path) -> Health:
        script = folder / "job.sh"
        await asyncio.to_thread(script.write_text, self._script(folder), encoding="utf-8")
        output = await self._commands.run(
            *("sbatch", "--parsable", "--job-name=gridbrush-check", "--ntasks=1"),
            *(f"--chdir={folder}", "--output=log", "--export=ALL"),
            *self._options.partition_args(),
            str(script),
        )
        number, _, cluster = output.strip().partition(";")
        try:
            return await self._await_answer(folder, number)
        finally:
            with contextlib.suppress(Unavailable, SubmissionRejected):
                arguments = cluster_args(cluster or self._options.clusters)
                await self._commands.run("scancel", *arguments, number)

    async def _await_answer(self, folder: Path, number: str) -> Health:
        seconds = self._options.inspect_seconds
        deadline = time.monotonic() + seconds
        record: SqueueRecord | None = None
        while time.monotonic() < deadline:
            text = await asyncio.to_thread(_read, folder, "answer")
            if text:
                return self._to_health(text, await asyncio.to_thread(_read, folder, "log"))
            snapshot = await self._poller.snapshot(time.monotonic())
            same = snapshot.by_name("gridbrush-check")
            record = next((one for one in same if one.id == number), None)
            if record is None or record.is_ended:
                break
        # The answer may have arrived with the job's end.
        if text := await asyncio.to_thread(_read, folder, "answer"):
            return self._to_health(text, await asyncio.to_thread(_read, folder, "log"))
        if record is not None and record.is_pending:
            waits = f"the test job is still pending after {seconds:g} s ({record.reason})"
            return Health(True, f"not tried: {waits}")
        hint = f"Mount {self._options.shared_dir} on every node, writable for the bot's user."
        return Health(False, "the test job ran, but its answer did not arrive here", hint)

    def _script(self, folder: Path) -> str:
        if isinstance(self._containers, ContainerStubs):
            variables = self._containers.environments[_IMAGE].items()
            arguments = " ".join(shlex.quote(f"{key}={value}") for key, value in variables)
            attempt = f"env {arguments} {_TRY_STUBS} && env {arguments} {_DESCRIBE}"
        else:
            attempt = f"command -v {shlex.quote(self._options.container)} >/dev/null"
        return (
            f"#!/bin/bash\ncd {shlex.quote(str(folder))} || exit 1\n"
            f"if {attempt}; then code=0; else code=1; fi\n"
            'printf "%s %s\\n" "$code" "$(hostname)" > .answer && mv .answer answer\n'
        )

    def _to_health(self, answer: str, log: str) -> Health:
        code, _, host = answer.partition(" ")
        if code == "0":
            return Health(True, f"{host} can write to the shared folder and has what it needs")
        if isinstance(self._containers, ContainerStubs):
            last = (log.splitlines() or ["no output"])[-1]
            hint = "Set [backend.slurm] python to an interpreter on the nodes that has Gridbrush."
            return Health(False, f"on {host}, {self._options.interpreter} fails: {last}", hint)
        container = self._options.container
        hint = f'Install {container} on the nodes, or set [backend.slurm] container = "none".'
        return Health(False, f"{host} has no {container}", hint)


def _to_result(what: str, health: Health) -> CheckResult:
    return CheckResult(what, health.ok, health.detail, health.hint)


def _read(folder: Path, name: str) -> str:
    with contextlib.suppress(OSError):
        os.listdir(folder)  # makes a network file system refresh its cache
        return (folder / name).read_text(encoding="utf-8", errors="replace").strip()
    return ""
