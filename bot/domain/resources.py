"""Compute resources that a workflow's tasks request: CPUs, memory and GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """Resources of one task, which generates one row of a grid. Memory is in megabytes.

    The defaults suit a Stable Diffusion 2 checkpoint of 5 GB on one GPU: it needs more than 8 GB
    while it loads, and a second CPU is enough where the GPU samples.
    """

    cpus_per_task: int = 2
    memory_mb_per_task: int = 16_000
    gpus_per_task: int = 1

    def __post_init__(self) -> None:
        if self.cpus_per_task < 1 or self.memory_mb_per_task < 1 or self.gpus_per_task < 0:
            raise ValueError(f"not a request for resources: {self}")

    @property
    def memory_mb_per_cpu(self) -> int:
        """Return the memory per CPU, as job documents and Slurm count it, rounded up."""
        return -(-self.memory_mb_per_task // self.cpus_per_task)

    def override(
        self,
        *,
        cpus_per_task: int | None = None,
        memory_mb_per_task: int | None = None,
        gpus_per_task: int | None = None,
    ) -> ResourceRequest:
        """Return the request with the given values; None keeps a value."""

        def pick(given: int | None, kept: int) -> int:
            return kept if given is None else given

        return ResourceRequest(
            pick(cpus_per_task, self.cpus_per_task),
            pick(memory_mb_per_task, self.memory_mb_per_task),
            pick(gpus_per_task, self.gpus_per_task),
        )


DEFAULT_RESOURCES: Final = ResourceRequest()
