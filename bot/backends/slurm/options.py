"""The options of ``[backend.slurm]``, and what follows from them for Slurm's command lines.

It knows the workflow's resources and Slurm's option names; it starts nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.backends.environment import child_environment, needs_hub
from bot.domain.errors import ConfigError
from bot.domain.workflow.document import Resources

# What Slurm's programs, and through them the jobs, see of the bot's own environment. Not more: it
# holds the bot's secrets; and nothing about this machine's GPUs, which are not the nodes'.
_INHERITED = re.compile(r"HOME|LANG|LC_.*|LD_LIBRARY_PATH|LOGNAME|SLURM_CONF|TZ|USER|HF_.*")
# How ``sbatch`` is told of a cluster; flags without a value may stand before the M.
_CLUSTER = re.compile(r"--clusters?(?:=(.*))?|-[HhkOQsvV]*M(.+)?")
_CLUSTER_VARIABLES = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")
_GPUS = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """``gpus`` is ``any``, ``none``, or the type that the cluster gives its GPUs (``a100``).

    ``python`` is the interpreter on the nodes that has Gridbrush installed; empty for the bot's
    own. ``poll_seconds`` lie between two questions to the controller, ``log_seconds`` between two
    looks at a job's files; a client program is given up after ``client_seconds``. A job that Slurm
    says it will never start is given up after ``hopeless_seconds``; files may show up
    ``settle_seconds`` late, as network file systems have it. ``gridbrush check`` waits for its test
    job for ``inspect_seconds``.
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

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> SlurmOptions:
        """Options from settings; unknown ones are left aside. Raises ConfigError."""
        known = {name: options[name] for name in cls.__dataclass_fields__ if name in options}
        if not known.get("shared_dir"):
            hint = "Name a folder that this machine and every node see under the same path."
            raise ConfigError("[backend.slurm] shared_dir", "it is required, but not set", hint)
        known["shared_dir"] = Path(str(known["shared_dir"])).resolve()
        read = cls(**known)  # type: ignore[arg-type]  # settings have checked the types
        if not _GPUS.fullmatch(read.gpus):
            hint = 'Write "any", "none", or a type as `sinfo -o %G` shows it, such as "a100".'
            raise ConfigError("[backend.slurm] gpus", f"{read.gpus!r} is no GPU type", hint)
        return read

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Slurm's client programs, which the jobs inherit."""
        hub = needs_hub(self.engine, self.model)
        return child_environment(self.environ, _INHERITED, hub=hub)

    @property
    def clusters(self) -> str:
        """Return the cluster, or Slurm's list of clusters, that jobs go to; "" for this one.

        Named in ``extra_args`` or, as sbatch has it, by the environment.
        """
        found = next(filter(None, (self.environ.get(name) for name in _CLUSTER_VARIABLES)), "")
        words = iter(self.extra_args)
        for word in words:
            if option := _CLUSTER.fullmatch(word):
                found = (option[1] or option[2] or next(words, "")).strip()
        return found

    @property
    def interpreter(self) -> str:
        """The Python that runs the stand-ins on the nodes."""
        return self.python or sys.executable

    @property
    def txt2img_device(self) -> str:
        """Where a model computes, ``cpu`` or ``cuda``."""
        if self.device != "auto":
            return self.device
        return "cpu" if self.gpus == "none" or self.engine == "sketch" else "cuda"

    def gpu_args(self, per_task: int) -> tuple[str, ...]:
        """``srun``'s or ``sbatch``'s words for so many GPUs of the wanted kind for each task."""
        if per_task == 0 or self.gpus == "none":
            return ()
        kind = "" if self.gpus == "any" else f"{self.gpus}:"
        return (f"--gpus-per-task={kind}{per_task}",)

    def partition_args(self) -> tuple[str, ...]:
        """``sbatch``'s words for where to run, the operator's own last, so that they win."""
        words = [f"--clusters={self.clusters}"] if self.clusters else []
        words += [f"--partition={self.partition}"] if self.partition else []
        words += [f"--account={self.account}"] if self.account else []
        return (*words, *self.extra_args)

    def sbatch_args(self, resources: Resources) -> tuple[str, ...]:
        """``sbatch``'s words for what a job takes.

        Memory is asked for by CPU, for the job as for its steps: a step of a job with memory in
        one piece takes all of it, and the rows run one after another. GPUs are asked for by task
        for the same reason: of ``--gpus=4`` only one step at a time gets any.
        """
        return (
            f"--ntasks={resources.tasks}",
            f"--cpus-per-task={resources.cpus_per_task}",
            f"--mem-per-cpu={resources.mem_per_cpu}M",
            *self.gpu_args(-(-resources.gpus // resources.tasks)),
        )


def cluster_words(cluster: str) -> tuple[str, ...]:
    """Return what each of Slurm's programs must be told to speak to ``cluster``; none for ""."""
    return (f"--clusters={cluster}",) if cluster else ()
