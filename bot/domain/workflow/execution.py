"""Execution environment of a job's script: folders, launcher and container runtime.

A backend builds these values, and ``bot.domain.workflow.bash`` writes them into the script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import Container, Resources, Run

CONTAINER_SCRATCH = "/deepsquare"
"""Path of the scratch folder inside a container, as on DeepSquare."""


class ContainerRuntime(Protocol):
    """Provider of a step's container."""

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """Return the words before the step's shell. Raises WorkflowError if unavailable."""
        ...


class Launcher(Protocol):
    """Launcher of a step's command."""

    def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """Return the words before the container's; empty to start it directly."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerStubs:
    """Local programs in place of container images.

    ``environments`` maps an image's name (without registry and tag) to the variables by which the
    workflow's steps find the program.
    """

    environments: Mapping[str, Mapping[str, str]]

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """Return ``env NAME=value ...`` of the stub."""
        image = container.image.split(":", 1)[0]
        variables = self.environments.get(image)
        if variables is None:
            known = ", ".join(sorted(self.environments)) or "none"
            raise WorkflowError(
                f"image {container.image}",
                "is not available without a container runtime",
                f"Known: {known}. Configure a container runtime, or use one of these images.",
            )
        return ("env", *(f"{key}={value}" for key, value in variables.items()))


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """Container runtime, ``apptainer`` or ``podman``.

    ``shared`` are host folders that are mounted writable at the same path: the caches, and the
    target of ``file://`` uploads. ``gpus``: the host's NVIDIA GPUs are visible inside, for podman
    by their CDI name (``nvidia-ctk cdi generate`` registers it).
    """

    program: str
    hosted_root: str = "/opt/software"
    shared: tuple[str, ...] = ()
    gpus: bool = True

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """Return the command line up to the image; the scratch folder is ``/deepsquare``."""
        mounts = [f"{m.host_dir}:{m.container_dir}:{m.options or 'rw'}" for m in container.mounts]
        mounts += [f"{folder}:{folder}:rw" for folder in self.shared]
        mounts.append(f"{storage}:{CONTAINER_SCRATCH}:rw")
        variables = (
            f"STORAGE_PATH={CONTAINER_SCRATCH}",
            f"DEEPSQUARE_INPUT={CONTAINER_SCRATCH}/input",
            f"DEEPSQUARE_OUTPUT={CONTAINER_SCRATCH}/output",
            f"DEEPSQUARE_ENV={CONTAINER_SCRATCH}/env",
        )
        reference = (
            f"{container.registry}/{container.image}" if container.registry else container.image
        )
        if self.program == "podman":
            return (
                # The variables come from the environment: command lines are public.
                *("podman", "run", "--rm", "--env-host", "--network=host"),
                *(("--device=nvidia.com/gpu=all",) if self.gpus else ()),
                *(f"--env={variable}" for variable in variables),
                *(f"--volume={mount}" for mount in mounts),
                f"--workdir={CONTAINER_SCRATCH}",
                "--entrypoint=",  # the step names its shell
                reference,
            )
        image = container.image
        if container.deepsquare_hosted:
            image = f"{self.hosted_root}/{reference}"
        elif not image.startswith("/"):
            image = f"docker://{reference}"
        return (
            *("apptainer", "exec", *(("--nv",) if self.gpus else ())),
            *(f"--env={variable}" for variable in variables),
            *(f"--bind={mount}" for mount in mounts),
            f"--pwd={CONTAINER_SCRATCH}",
            image,
        )


@dataclass(frozen=True, slots=True)
class ProcessLauncher:
    """Launcher of local processes; ``slot`` is the command that waits for a free task slot."""

    slot: tuple[str, ...] = ()

    def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """Return the wait for a slot; cores and memory are not limited."""
        return self.slot


@dataclass(frozen=True, slots=True)
class ExecutionEnvironment:
    """Environment in which a script runs. All paths are absolute.

    ``storage`` is the job's scratch folder, removed at the end; ``caches`` is kept between jobs;
    ``result`` is the file that gets the exit status atomically at the end; ``environment`` is set
    before the workflow's own variables.
    """

    storage: str
    caches: str
    result: str
    launcher: Launcher
    containers: ContainerRuntime
    environment: Mapping[str, str] = field(default_factory=dict)
