"""A Workflow as one bash script, for machines where no DeepSquare renderer runs.

The script keeps the platform's promises that a workflow can notice: the environment of a step,
``$DEEPSQUARE_ENV`` between steps, ``if``, ``for`` (parallel or not), ``launch`` and ``dependsOn``,
``catch`` and ``finally``, and the fixed log lines. How a step's command is started is the
launcher's business: plain processes here, ``srun`` on a cluster. Every value is one quoted word;
nothing a member typed is ever part of the script's text outside single quotes.

One difference is meant: after a parallel loop with a failed branch this script waits for all
branches before it fails, where the platform stops waiting and removes the scratch folder beneath
them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.errors import WorkflowError
from bot.domain.workflow import Container, For, Resources, Run, Step, Workflow

STARTED_LINE = "--- Job has started ---"
ENDED_LINE = "---"


class Containers(Protocol):
    """How a step's container is provided on this site."""

    def words(self, container: Container, storage: str) -> tuple[str, ...]:
        """The words to put before the step's shell. Raises WorkflowError if it cannot be had."""
        ...


class Launcher(Protocol):
    """How a step's command is started."""

    def words(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """The words to put before the container's; empty to start it as it is."""
        ...


@dataclass(frozen=True, slots=True)
class StandIns:
    """Programs of this machine in place of container images.

    ``environments`` maps an image's name (without registry and tag) to the variables that make
    the workflow's steps find the stand-in.
    """

    environments: Mapping[str, Mapping[str, str]]

    def words(self, container: Container, storage: str) -> tuple[str, ...]:
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
class Runtime:
    """A real container runtime, ``apptainer`` or ``podman``."""

    program: str
    hosted_root: str = "/opt/software"

    def words(self, container: Container, storage: str) -> tuple[str, ...]:
        """The runtime's command line up to the image; the scratch folder is ``/deepsquare``."""
        mounts = [f"{m.host_dir}:{m.container_dir}:{m.options or 'rw'}" for m in container.mounts]
        mounts.append(f"{storage}:/deepsquare:rw")
        reference = (
            f"{container.registry}/{container.image}" if container.registry else container.image
        )
        if self.program == "podman":
            binds = tuple(f"--volume={mount}" for mount in mounts)
            return (
                "podman",
                "run",
                "--rm",
                "--env-host",
                "--env=STORAGE_PATH=/deepsquare",
                *binds,
                reference,
            )
        binds = tuple(f"--bind={mount}" for mount in mounts)
        image = container.image
        if container.deepsquare_hosted:
            image = f"{self.hosted_root}/{reference}"
        elif not image.startswith("/"):
            image = f"docker://{reference}"
        return ("apptainer", "exec", "--nv", "--env", "STORAGE_PATH=/deepsquare", *binds, image)


@dataclass(frozen=True, slots=True)
class Processes:
    """Plain processes on this machine; ``slot`` are words that wait for a free task slot."""

    slot: tuple[str, ...] = ()

    def words(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """Only the wait for a slot; cores and memory are not fenced in."""
        return self.slot


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how a script runs. All paths are absolute.

    ``storage`` is the job's scratch folder, removed at the end; ``caches`` is kept between jobs;
    ``result`` receives the exit status as the script's last act, atomically; ``environment`` is
    set before the workflow's own.
    """

    storage: str
    caches: str
    result: str
    launcher: Launcher
    containers: Containers
    environment: Mapping[str, str] = field(default_factory=dict)


def to_bash(workflow: Workflow, site: Site) -> str:
    """The whole script. Raises WorkflowError for what only the platform itself can do."""
    for path, used in (
        ("input", workflow.input),
        ("output", workflow.output),
        ("virtualNetworks", workflow.virtual_networks),
    ):
        if used:
            raise WorkflowError(
                path,
                "only DeepSquare itself provides this",
                "Publish and fetch files in a step, as the stock template does.",
            )
    lines = [*_prologue(workflow, site), *_scope(workflow.steps, workflow, site, "steps"), ""]
    return "\n".join(lines)


def _prologue(workflow: Workflow, site: Site) -> list[str]:
    resources = workflow.resources
    cpus = resources.tasks * resources.cpus_per_task
    storage = site.storage
    variables = {
        **site.environment,
        **{variable.key: variable.value for variable in workflow.env},
        "NTASKS": str(resources.tasks),
        "CPUS_PER_TASK": str(resources.cpus_per_task),
        "MEM_PER_CPU": str(resources.mem_per_cpu),
        "GPUS": str(resources.gpus),
        "CPUS": str(cpus),
        "MEM": str(cpus * resources.mem_per_cpu),
        "STORAGE_PATH": storage,
        "DEEPSQUARE_INPUT": f"{storage}/input",
        "DEEPSQUARE_OUTPUT": f"{storage}/output",
        "DEEPSQUARE_ENV": f"{storage}/env",
        **dict.fromkeys(_CACHES, site.caches),
    }
    result = shlex.quote(site.result)
    return [
        "#!/usr/bin/env bash",
        "# One job, rendered by Gridbrush. Running it by hand does the job again.",
        "set -e",
        *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
        'mkdir -p "$STORAGE_PATH" "$DEEPSQUARE_INPUT" "$DEEPSQUARE_OUTPUT" "$DEEPSQUARE_TMP"',
        ': > "$DEEPSQUARE_ENV"',
        "",
        "# The last act: scratch away, then the exit status, whole or not at all.",
        "leave() {",
        "  code=$?",
        "  trap - EXIT TERM INT",
        f"  printf '%s\\n' {shlex.quote(ENDED_LINE)}",
        '  rm -rf "$STORAGE_PATH"',
        f"  printf '%s\\n' \"$code\" > {result}.part && mv -f {result}.part {result}",
        '  exit "$code"',
        "}",
        "trap leave EXIT",
        "trap 'exit 143' TERM",
        "trap 'exit 130' INT",
        "",
        "# What earlier steps wrote to $DEEPSQUARE_ENV is seen by later commands, not by `if`.",
        "run_step() (",
        "  trap - EXIT TERM INT",
        '  while IFS= read -r line || [ -n "$line" ]; do',
        '    if [[ $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then export "${line?}"; fi',
        '  done < "$DEEPSQUARE_ENV"',
        '  exec "$@"',
        ")",
        "",
        f"printf '%s\\n' {shlex.quote(STARTED_LINE)}",
    ]


_CACHES = (
    "DEEPSQUARE_TMP",
    "DEEPSQUARE_SHARED_TMP",
    "DEEPSQUARE_SHARED_WORLD_TMP",
    "DEEPSQUARE_DISK_TMP",
    "DEEPSQUARE_DISK_WORLD_TMP",
)


def _scope(steps: Iterable[Step], workflow: Workflow, site: Site, path: str) -> list[str]:
    """Steps of one level in order; background steps launched here are told to stop at its end."""
    lines: list[str] = []
    farewell: list[str] = []
    for number, step in enumerate(steps):
        here = f"{path}[{number}]"
        lines += _step(step, workflow, site, here)
        if step.launch is not None and step.launch.signal_on_parent_step_exit:
            signal = step.launch.signal_on_parent_step_exit
            farewell.append(
                f'kill -{signal} "${{launched_{_handle(step, here)}}}" 2>/dev/null || :'
            )
    return lines + farewell


def _step(step: Step, workflow: Workflow, site: Site, path: str) -> list[str]:
    lines: list[str] = []
    if step.name:
        lines.append(f"printf '%s\\n' {shlex.quote(f'Running: {step.name}')}")
    for awaited in step.depends_on:
        lines.append(f"printf '%s\\n' {shlex.quote(f'Waiting for: {awaited.upper()}.')}")
        lines.append(f'wait "${{launched_{awaited}}}"')
    body = _body(step, workflow, site, path)
    if step.catch or step.finally_:
        body = _guarded(step, body, workflow, site, path)
    if step.condition:
        body = [f"if [[ {step.condition} ]]; then", *_indent(body or [":"]), "fi"]
    return lines + body


def _guarded(step: Step, body: list[str], workflow: Workflow, site: Site, path: str) -> list[str]:
    """``catch`` swallows the failure unless it fails itself; ``finally`` runs in any case.

    The status is read from ``$?``, never from an ``if``: bash ignores ``set -e`` in conditions.
    """
    lines = _attempt(body)
    if step.catch:
        lines += ['if [ "$code" -ne 0 ]; then', '  export DEEPSQUARE_ERROR_CODE="$code"']
        lines += _indent(_attempt(_scope(step.catch, workflow, site, f"{path}.catch")))
        lines += ["fi"]
    if step.finally_:
        lines += ['export DEEPSQUARE_ERROR_CODE="$code"', 'outcome="$code"']
        lines += _attempt(_scope(step.finally_, workflow, site, f"{path}.finally"))
        lines += ['[ "$outcome" -eq 0 ] || code="$outcome"']
    return [*lines, '[ "$code" -eq 0 ] || exit "$code"']


def _attempt(body: list[str]) -> list[str]:
    return ["set +e", *_branch(body, ""), "code=$?", "set -e"]


def _branch(body: list[str], background: str) -> list[str]:
    """A subshell that stops at its first failure and does not run the script's own farewell."""
    return ["(", "  trap - EXIT TERM INT", "  set -e", *_indent(body), f"){background}"]


def _body(step: Step, workflow: Workflow, site: Site, path: str) -> list[str]:
    if step.run is not None:
        return [_command(step.run, step.name or "", workflow, site, f"{path}.run")]
    if step.loop is not None:
        return _loop(step.loop, workflow, site, f"{path}.for")
    if step.launch is not None:
        handle = _handle(step, path)
        body = _scope(step.launch.steps, workflow, site, f"{path}.launch.steps")
        return [*_branch(body, " &"), f"launched_{handle}=$!"]
    if step.use is not None:
        raise WorkflowError(
            f"{path}.use", "modules are fetched by DeepSquare itself", "Write the steps out."
        )
    return _scope(step.steps or (), workflow, site, f"{path}.steps")


def _handle(step: Step, path: str) -> str:
    name = step.launch.handle_name if step.launch else None
    return name or "".join(character if character.isalnum() else "_" for character in path)


def _loop(loop: For, workflow: Workflow, site: Site, path: str) -> list[str]:
    if loop.range is not None:
        variable, values = "index", [str(number) for number in loop.range.numbers]
    else:
        variable, values = "item", [shlex.quote(item) for item in loop.items]
    head = f"for {variable} in {' '.join(values)}; do"
    body = [f"export {variable}", *_scope(loop.steps, workflow, site, f"{path}.steps")]
    if not loop.parallel:
        return [head, *_indent(body), "done"]
    return [
        "branches=()",
        head,
        *_indent(_branch(body, " &")),
        '  branches+=("$!")',
        "done",
        "code=0",
        'for branch in "${branches[@]}"; do',
        '  wait "$branch" || { failed=$?; [ "$code" -ne 0 ] || code=$failed; }',
        "done",
        '[ "$code" -eq 0 ] || exit "$code"',
    ]


def _command(run: Run, name: str, workflow: Workflow, site: Site, path: str) -> str:
    if not run.command or run.shell == "ENTRYPOINT":
        raise WorkflowError(
            f"{path}.command",
            "an image's own entry point cannot be started here",
            "Name a command.",
        )
    words = [*site.launcher.words(run, workflow.resources, name)]
    if run.env:
        words += ["env", *(f"{variable.key}={variable.value}" for variable in run.env)]
    if run.container is not None:
        words += site.containers.words(run.container, site.storage)
    shell = run.shell or "/bin/sh"
    folder = shlex.quote(run.work_dir) if run.work_dir else '"$STORAGE_PATH"'
    quoted = " ".join(shlex.quote(word) for word in [*words, shell, "-c", run.command])
    return f"(cd {folder} && run_step {quoted})"


def _indent(lines: list[str]) -> list[str]:
    # Only whole statements are indented: a quoted command may hold newlines of its own, which
    # must stay as they are, and each statement is one element of the list.
    return ["  " + line for line in lines]
