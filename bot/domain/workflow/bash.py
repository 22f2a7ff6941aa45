"""Rendering of a Workflow to one bash script, for backends without DeepSquare's renderer.

The script behaves as on the platform: the environment of a step, ``$DEEPSQUARE_ENV`` between
steps, ``if``, ``for`` (parallel or not), ``launch`` and ``dependsOn``, ``catch`` and ``finally``,
and the fixed log lines. The launcher decides how a command is started: as a plain process, or by
``srun`` on a cluster. Every value is one quoted word; text of members is always in single quotes.

It differs from the platform in two ways, on purpose. After a failed branch of a parallel loop it
waits for all branches before it fails, where the platform stops waiting and removes their scratch
folder. And ``catch`` and ``finally`` of a launched step run in the background with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import For, Run, Step, Workflow
from bot.domain.workflow.execution import (
    ContainerRuntime,
    ContainerStubs,
    ExecutionEnvironment,
    Launcher,
    OciRuntime,
    ProcessLauncher,
)

__all__ = [
    "JOB_ENDED_LINE",
    "JOB_STARTED_LINE",
    "ContainerRuntime",
    "ContainerStubs",
    "ExecutionEnvironment",
    "Launcher",
    "OciRuntime",
    "ProcessLauncher",
    "to_bash",
]

JOB_STARTED_LINE = "--- Job has started ---"
JOB_ENDED_LINE = "---"


def to_bash(workflow: Workflow, site: ExecutionEnvironment) -> str:
    """Render the script. Raises WorkflowError for features that only DeepSquare has."""
    for path, used in (
        ("input", workflow.input),
        ("output", workflow.output),
        ("virtualNetworks", workflow.virtual_networks),
    ):
        if used:
            raise WorkflowError(
                path,
                "is only available on DeepSquare",
                "Publish and fetch files in a step, as the stock template does.",
            )
    lines = [*_prologue(workflow, site), *_steps(workflow.steps, workflow, site, "steps"), ""]
    return "\n".join(lines)


# The script's own variables begin with two underscores: a workflow may use any plain name, and an
# assignment to an exported variable here would change it for the steps.
_STOP_FUNCTIONS = """\
# Send signal $1 to process $2 and to all its descendants.
stop() {
  local child children
  children="$({ cat "/proc/$2/task/$2/children" || pgrep -P "$2"; } 2>/dev/null)" || :
  kill "-$1" "$2" 2>/dev/null || :
  for child in $children; do stop "$1" "$child"; done
}

# Background steps end with the shell that launched them, also when it fails.
stop_launched() {
  local child
  for child in $(jobs -pr); do stop TERM "$child"; done
}
"""

_RUN_STEP_FUNCTION = """\
# Lines that earlier steps wrote to $DEEPSQUARE_ENV apply to later commands, not to `if`.
run_step() (
  trap - EXIT TERM INT
  while IFS= read -r __line || [ -n "$__line" ]; do
    if [[ $__line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then export "${__line?}"; fi
  done < "$DEEPSQUARE_ENV"
  exec "$@"
)
"""

_CACHE_VARIABLES = (
    "DEEPSQUARE_TMP",
    "DEEPSQUARE_SHARED_TMP",
    "DEEPSQUARE_SHARED_WORLD_TMP",
    "DEEPSQUARE_DISK_TMP",
    "DEEPSQUARE_DISK_WORLD_TMP",
)


def _prologue(workflow: Workflow, site: ExecutionEnvironment) -> list[str]:
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
        **dict.fromkeys(_CACHE_VARIABLES, site.caches),
    }
    return [
        "#!/usr/bin/env bash",
        "# One job, rendered by Gridbrush. Running it by hand repeats the job.",
        "# Loops of one iteration and quotes inside exported values are intended:",
        "# shellcheck disable=SC2043,SC2089,SC2090",
        "set -e",
        "# Files of the job are private: prompts, images, the key of its markers.",
        "umask 077",
        "",
        _STOP_FUNCTIONS,
        *_exit_trap(site),
        *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
        'mkdir -p "$STORAGE_PATH" "$DEEPSQUARE_INPUT" "$DEEPSQUARE_OUTPUT" "$DEEPSQUARE_TMP"',
        ': > "$DEEPSQUARE_ENV"',
        "",
        _RUN_STEP_FUNCTION,
        _echo(JOB_STARTED_LINE),
    ]


def _exit_trap(site: ExecutionEnvironment) -> list[str]:
    result = shlex.quote(site.result)
    return [
        "# At the end: remove the scratch folder, then write the exit status atomically.",
        "leave() {",
        "  __code=$?",
        "  set +e",
        "  trap - EXIT TERM INT",
        "  stop_launched",
        f"  {_echo(JOB_ENDED_LINE)}",
        f"  rm -rf {shlex.quote(site.storage)}",
        f"  printf '%s\\n' \"$__code\" > {result}.part && mv -f {result}.part {result}",
        '  exit "$__code"',
        "}",
        "trap leave EXIT",
        "trap 'exit 143' TERM",
        "trap 'exit 130' INT",
        "",
    ]


def _steps(
    steps: Iterable[Step], workflow: Workflow, site: ExecutionEnvironment, path: str
) -> list[str]:
    """Return the lines of one level's steps; its background steps are signalled at its end."""
    lines: list[str] = []
    signals: list[str] = []
    handles: dict[str, str] = {}
    for number, step in enumerate(steps):
        here = f"{path}[{number}]"
        if step.name:
            lines.append(_echo(f"Running: {step.name}"))
        for handle in step.depends_on:
            lines += _wait_for(handle, handles[handle])
        body = _step(step, workflow, site, here)
        if step.launch is not None:
            # The variable of its process id is named by the path: handles are local to this level.
            pid = "__launched_" + "".join(c if c.isalnum() else "_" for c in here)
            handles[step.launch.handle_name or ""] = pid
            lines.append(f"{pid}=")
            body = [*_subshell(body, " &"), f"{pid}=$!"]
            if step.launch.signal_on_parent_step_exit:
                signal = step.launch.signal_on_parent_step_exit
                signals.append(f'[ -z "${pid}" ] || stop {signal} "${pid}"')
        if step.condition:
            body = [f"if [[ {step.condition} ]]; then", *_indent(body), "fi"]
        lines += body
    return lines + signals


def _wait_for(handle: str, pid: str) -> list[str]:
    name = handle.upper()
    undefined = f"Cannot await: {name} is undefined. Exiting to avoid undefined behavior."
    return [
        _echo(f"Waiting for: {name}."),
        # The step that launches it exists, but its `if` was false.
        f'[ -n "${pid}" ] || {{ {_echo(undefined)}; exit 1; }}',
        f'wait "${pid}"',
    ]


def _step(step: Step, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    body = _body(step, workflow, site, path)
    if step.catch or step.finally_:
        body = _with_handlers(step, body, workflow, site, path)
    return body or [":"]


def _echo(line: str) -> str:
    return f"printf '%s\\n' {shlex.quote(line)}"


def _with_handlers(
    step: Step, body: list[str], workflow: Workflow, site: ExecutionEnvironment, path: str
) -> list[str]:
    """Add ``catch``, which clears the failure unless it fails itself, and ``finally``.

    The status is read from ``$?``, never from an ``if``: bash ignores ``set -e`` in conditions.
    """
    export_status = 'export DEEPSQUARE_ERROR_CODE="$__code"'
    lines = _capture_status(body)
    if step.catch:
        catch = [export_status, *_steps(step.catch, workflow, site, f"{path}.catch")]
        lines += ['if [ "$__code" -ne 0 ]; then', *_indent(_capture_status(catch)), "fi"]
    if step.finally_:
        finally_ = [export_status, *_steps(step.finally_, workflow, site, f"{path}.finally")]
        lines += ['__outcome="$__code"', *_capture_status(finally_)]
        lines += ['[ "$__outcome" -eq 0 ] || __code="$__outcome"']
    return [*lines, '[ "$__code" -eq 0 ] || exit "$__code"']


def _capture_status(body: list[str]) -> list[str]:
    return ["set +e", *_subshell(body, ""), "__code=$?", "set -e"]


def _subshell(body: list[str], background: str) -> list[str]:
    """Return a subshell that stops at its first failure, without the script's exit trap."""
    traps = ["  trap stop_launched EXIT", "  trap - TERM INT"]
    return ["(", *traps, "  set -e", *_indent(body), f"){background}"]


def _body(step: Step, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    if step.run is not None:
        return [_command(step.run, step.name or "", workflow, site, f"{path}.run")]
    if step.loop is not None:
        return _loop(step.loop, workflow, site, f"{path}.for")
    if step.launch is not None:
        return _steps(step.launch.steps, workflow, site, f"{path}.launch.steps")
    if step.use is not None:
        raise WorkflowError(
            f"{path}.use", "modules are only available on DeepSquare", "Write the steps out."
        )
    return _steps(step.steps, workflow, site, f"{path}.steps")


def _loop(loop: For, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    if loop.range is not None:
        variable, values = "index", [str(number) for number in loop.range.numbers]
    else:
        variable, values = "item", [shlex.quote(item) for item in loop.items]
    head = f"for {variable} in {' '.join(values)}; do"
    body = [f"export {variable}", *_steps(loop.steps, workflow, site, f"{path}.steps")]
    if not loop.parallel:
        return [head, *_indent(body), "done"]
    return [
        "__branches=()",
        head,
        *_indent(_subshell(body, " &")),
        '  __branches+=("$!")',
        "done",
        "__code=0",
        'for __branch in "${__branches[@]}"; do',
        '  wait "$__branch" || { __failed=$?; [ "$__code" -ne 0 ] || __code=$__failed; }',
        "done",
        '[ "$__code" -eq 0 ] || exit "$__code"',
    ]


def _command(run: Run, name: str, workflow: Workflow, site: ExecutionEnvironment, path: str) -> str:
    if not run.command or run.shell == "ENTRYPOINT":
        raise WorkflowError(
            f"{path}.command",
            "an image's entry point is not supported here",
            "Name a command.",
        )
    words = [*site.launcher.command_prefix(run, workflow.resources, name)]
    if run.env:
        words += ["env", *(f"{variable.key}={variable.value}" for variable in run.env)]
    command = [run.shell or "/bin/sh", "-c", run.command]
    if run.container is not None:
        words += site.containers.command_prefix(run.container, site.storage)
    if run.work_dir is not None:
        # The path is inside the container, so it is entered there.
        command = [command[0], "-c", f"cd {shlex.quote(run.work_dir)} && exec {_quoted(command)}"]
    return f'(cd "$STORAGE_PATH" && run_step {_quoted([*words, *command])})'


def _quoted(words: list[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _indent(lines: list[str]) -> list[str]:
    # Each element is one whole statement: newlines inside a quoted command must not be indented.
    return ["  " + line for line in lines]
