"""Where a job's script runs: its folders, how commands are started, what containers are here.

These are values that ``bot.domain.workflow.bash`` writes into the script's text. This module knows
nothing of steps, and of no machine in particular; a backend puts its own together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import Container, Resources, Run

CONTAINER_SCRATCH = "/deepsquare"
"""The scratch folder's path inside a container, as on the platform."""


class ContainerRuntime(Protocol):
    """How a step's container is provided on this site."""

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """The words to put before the step's shell. Raises WorkflowError if it cannot be had."""
        ...


class Launcher(Protocol):
    """How a step's command is started."""

    def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """The words to put before the container's; empty to start it as it is."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerStubs:
    """Programs of this machine in place of container images.

    ``environments`` maps an image's name (without registry and tag) to the variables that make
    the workflow's steps find the stand-in.
    """

    environments: Mapping[str, Mapping[str, str]]

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """``env NAME=value ...`` of the stand-in."""
        image = container.image.split(":", 1)[0]
        variables = self.environments.get(image)
        if variables is None:
            known = ", ".join(sorted(self.environments)) or "none"
            raise WorkflowError(
                f"image {container.image}",
                "this machine has no stand-in for it",
                f"Known: {known}. Configure a container runtime, or use one of these images.",
            )
        return ("env", *(f"{key}={value}" for key, value in variables.items()))


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A real container runtime, ``apptainer`` or ``podman``.

    ``shared`` are folders of this machine that a container sees under their own path and may
    write to: the caches, and where a ``file://`` upload goes.
    """

    program: str
    hosted_root: str = "/opt/software"
    shared: tuple[str, ...] = ()

    def command_prefix(self, container: Container, storage: str) -> tuple[str, ...]:
        """The runtime's command line up to the image; the scratch folder is ``/deepsquare``."""
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
                *("podman", "run", "--rm", "--env-host"),
                *(f"--env={variable}" for variable in variables),
                *(f"--volume={mount}" for mount in mounts),
                f"--workdir={CONTAINER_SCRATCH}",
                "--entrypoint=",  # the step names its shell; an image's own must not come before
                reference,
            )
        image = container.image
        if container.deepsquare_hosted:
            image = f"{self.hosted_root}/{reference}"
        elif not image.startswith("/"):
            image = f"docker://{reference}"
        return (
            *("apptainer", "exec", "--nv"),
            *(f"--env={variable}" for variable in variables),
            *(f"--bind={mount}" for mount in mounts),
            f"--pwd={CONTAINER_SCRATCH}",
            image,
        )


@dataclass(frozen=True, slots=True)
class ProcessLauncher:
    """Plain processes on this machine; ``slot`` are words that wait for a free task slot."""

    slot: tuple[str, ...] = ()

    def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """Only the wait for a slot; cores and memory are not fenced in."""
        return self.slot


@dataclass(frozen=True, slots=True)
class ExecutionEnvironment:
    """Where and how a script runs. All paths are absolute.

    ``storage`` is the job's scratch folder, removed at the end; ``caches`` is kept between jobs;
    ``result`` receives the exit status as the script's last act, atomically; ``environment`` is
    set before the workflow's own.
    """

    storage: str
    caches: str
    result: str
    launcher: Launcher
    containers: ContainerRuntime
    environment: Mapping[str, str] = field(default_factory=dict)
