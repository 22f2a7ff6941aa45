"""The options of ``[backend.slurm]`` and the command-line arguments that follow from them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.backends.environment import child_environment, needs_hub
from bot.backends.txt2img_config import EngineTables
from bot.domain.errors import ConfigError
from bot.domain.workflow.document import Resources

# The variables that Slurm's programs, and through them the jobs, inherit. No more: the bot's
# environment holds its secrets, and this machine's GPUs are not the nodes'.
_INHERITED = re.compile(r"HOME|LANG|LC_.*|LD_LIBRARY_PATH|LOGNAME|SLURM_CONF|TZ|USER|HF_.*")
# sbatch's option for a cluster; flags without a value may precede the M.
_CLUSTER = re.compile(r"--clusters?(?:=(.*))?|-[HhkOQsvV]*M(.+)?")
_CLUSTER_VARIABLES = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")
_GPUS = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """``gpus`` is ``any``, ``none``, or the type that the cluster gives its GPUs (``a100``).

    ``python`` is the interpreter on the nodes that has Gridbrush installed; empty for the bot's
    own. The controller is polled every ``poll_seconds``, a job's files every ``log_seconds``; a
    client program is killed after ``client_seconds``. A job that Slurm says it will never start is
    cancelled after ``hopeless_seconds``; files may show up ``settle_seconds`` late on a network
    file system. ``gridbrush check`` waits ``inspect_seconds`` for its test job.
    """

    shared_dir: Path
    partition: str = ""
    account: str = ""
    extra_args: tuple[str, ...] = ()
    gpus: str = "any"
    python: str = ""
    engine: str = "auto"
    model: str = ""
    device: str = "auto"
    container: str = "none"
    step_seconds: float = 0.0
    poll_seconds: float = 2.0
    log_seconds: float = 0.25
    client_seconds: float = 60.0
    hopeless_seconds: float = 120.0
    settle_seconds: float = 15.0
    inspect_seconds: float = 30.0
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    tables: EngineTables = field(default_factory=EngineTables)

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> SlurmOptions:
        """Read options from settings; unknown keys are ignored. Raises ConfigError."""
        known = {name: options[name] for name in cls.__dataclass_fields__ if name in options}
        if not known.get("shared_dir"):
            hint = "Set a folder that this machine and every node have under the same path."
            raise ConfigError("[backend.slurm] shared_dir", "is not set", hint)
        known["tables"] = EngineTables.from_options(options)
        known["shared_dir"] = Path(str(known["shared_dir"])).resolve()
        chosen = cls(**known)  # type: ignore[arg-type]  # settings have checked the types
        tables = chosen.tables.with_caches(chosen.shared_dir / "caches")
        chosen = replace(chosen, tables=tables)
        if not _GPUS.fullmatch(chosen.gpus):
            hint = 'Write "any", "none", or a type as `sinfo -o %G` shows it, such as "a100".'
            raise ConfigError("[backend.slurm] gpus", f"{chosen.gpus!r} is no GPU type", hint)
        return chosen

    @property
    def uses_worker(self) -> bool:
        """Return whether a job's rows share models that a worker on their node holds."""
        engines = {self.engine, *(model.get("engine") for model in self.tables.models.values())}
        may_load = "diffusers" in engines or (self.engine == "auto" and self._has_model)
        enabled = bool(self.tables.worker.get("enabled", True))
        return enabled and may_load and self.container == "none"

    @property
    def _has_model(self) -> bool:
        return bool(self.model or self.tables.models)

    @property
    def uses_config(self) -> bool:
        """Return whether ``bot.txt2img`` gets a configuration file."""
        return bool(self.tables) or self.uses_worker

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of Slurm's client programs, which the jobs inherit."""
        hub = self.tables.uses_hub or needs_hub(self.engine, self.model)
        return child_environment(self.environ, _INHERITED, hub=hub)

    @property
    def clusters(self) -> str:
        """Return the cluster, or Slurm's list of clusters, that jobs go to; "" for the default.

        Set in ``extra_args`` or, as for sbatch, by the environment.
        """
        cluster = next(filter(None, (self.environ.get(name) for name in _CLUSTER_VARIABLES)), "")
        arguments = iter(self.extra_args)
        for argument in arguments:
            if option := _CLUSTER.fullmatch(argument):
                cluster = (option[1] or option[2] or next(arguments, "")).strip()
        return cluster

    @property
    def interpreter(self) -> str:
        """Return the Python that runs the container stubs on the nodes."""
        return self.python or sys.executable

    @property
    def txt2img_device(self) -> str:
        """Return the device of the model, ``cpu`` or ``cuda``."""
        if self.device != "auto":
            return self.device
        return "cpu" if self.gpus == "none" or self.engine == "sketch" else "cuda"

    def gpu_args(self, per_task: int) -> tuple[str, ...]:
        """Return the ``srun`` or ``sbatch`` arguments for GPUs of the configured type."""
        if per_task == 0 or self.gpus == "none":
            return ()
        kind = "" if self.gpus == "any" else f"{self.gpus}:"
        return (f"--gpus-per-task={kind}{per_task}",)

    def partition_args(self) -> tuple[str, ...]:
        """Return the ``sbatch`` arguments for where to run; ``extra_args`` come last and win."""
        arguments = [f"--clusters={self.clusters}"] if self.clusters else []
        arguments += [f"--partition={self.partition}"] if self.partition else []
        arguments += [f"--account={self.account}"] if self.account else []
        return (*arguments, *self.extra_args)

    def sbatch_args(self, resources: Resources) -> tuple[str, ...]:
        """Return the ``sbatch`` arguments for a job's resources.

        Memory is requested per CPU, for the job as for its steps: a step of a job with ``--mem``
        takes all of it, and the rows run one after another. GPUs are requested per task for the
        same reason: of ``--gpus=4`` only one step at a time gets any.
        """
        return (
            f"--ntasks={resources.tasks}",
            f"--cpus-per-task={resources.cpus_per_task}",
            f"--mem-per-cpu={resources.mem_per_cpu}M",
            *self.gpu_args(-(-resources.gpus // resources.tasks)),
        )


def cluster_args(cluster: str) -> tuple[str, ...]:
    """Return the argument that makes a Slurm program talk to ``cluster``; none for ""."""
    return (f"--clusters={cluster}",) if cluster else ()
