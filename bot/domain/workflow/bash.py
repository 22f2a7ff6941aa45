"""A Workflow as one bash script, for machines where no DeepSquare renderer runs.

The script keeps the platform's promises that a workflow can notice: the environment of a step,
``$DEEPSQUARE_ENV`` between steps, ``if``, ``for`` (parallel or not), ``launch`` and ``dependsOn``,
``catch`` and ``finally``, and the fixed log lines. How a step's command is started is the
launcher's business: plain processes here, ``srun`` on a cluster. Every value is one quoted word;
nothing a member typed is ever part of the script's text outside single quotes.

Two differences are meant. After a parallel loop with a failed branch this script waits for all
branches before it fails, where the platform stops waiting and removes the scratch folder beneath
them. And ``catch`` and ``finally`` of a launched step run in the background with it.
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


# The script's own variables begin with two underscores: a workflow may have a variable of any
# plain name, and what is exported once would be changed for its steps by an assignment here.
_STOP = """\
# Signal $1 to process $2 and to all that it started.
stop() {
  local child children
  children="$({ cat "/proc/$2/task/$2/children" || pgrep -P "$2"; } 2>/dev/null)" || :
  kill "-$1" "$2" 2>/dev/null || :
  for child in $children; do stop "$1" "$child"; done
}

# What was launched ends with the shell that launched it, also when that one fails.
stop_launched() {
  local child
  for child in $(jobs -pr); do stop TERM "$child"; done
}
"""

_RUN_STEP = """\
# What earlier steps wrote to $DEEPSQUARE_ENV is seen by later commands, not by `if`.
run_step() (
  trap - EXIT TERM INT
  while IFS= read -r __line || [ -n "$__line" ]; do
    if [[ $__line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then export "${__line?}"; fi
  done < "$DEEPSQUARE_ENV"
  exec "$@"
)
"""

_CACHES = (
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
        **dict.fromkeys(_CACHES, site.caches),
    }
    return [
        "#!/usr/bin/env bash",
        "# One job, rendered by Gridbrush. Running it by hand does the job again.",
        "# Loops of one turn, and quotes inside of exported values, are meant:",
        "# shellcheck disable=SC2043,SC2089,SC2090",
        "set -e",
        "# What the job writes is nobody else's: prompts, pictures, the key of its markers.",
        "umask 077",
        "",
        _STOP,
        *_leave(site),
        *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
        'mkdir -p "$STORAGE_PATH" "$DEEPSQUARE_INPUT" "$DEEPSQUARE_OUTPUT" "$DEEPSQUARE_TMP"',
        ': > "$DEEPSQUARE_ENV"',
        "",
        _RUN_STEP,
        _say(JOB_STARTED_LINE),
    ]


def _leave(site: ExecutionEnvironment) -> list[str]:
    result = shlex.quote(site.result)
    return [
        "# The last act: scratch away, then the exit status, whole or not at all.",
        "leave() {",
        "  __code=$?",
        "  set +e",
        "  trap - EXIT TERM INT",
        "  stop_launched",
        f"  {_say(JOB_ENDED_LINE)}",
        f"  rm -rf {shlex.quote(site.storage)}",
        f"  printf '%s\\n' \"$__code\" > {result}.part && mv -f {result}.part {result}",
        '  exit "$__code"',
        "}",
        "trap leave EXIT",
        "trap 'exit 143' TERM",
        "trap 'exit 130' INT",
        "",
    ]


def _scope(
    steps: Iterable[Step], workflow: Workflow, site: ExecutionEnvironment, path: str
) -> list[str]:
    """Steps of one level in order; background steps launched here are told to stop at its end."""
    lines: list[str] = []
    farewell: list[str] = []
    handles: dict[str, str] = {}
    for number, step in enumerate(steps):
        here = f"{path}[{number}]"
        if step.name:
            lines.append(_say(f"Running: {step.name}"))
        for handle in step.depends_on:
            lines += _await(handle, handles[handle])
        body = _step(step, workflow, site, here)
        if step.launch is not None:
            # The variable for its process id: named by the place, as a handle is known only here.
            pid = "__launched_" + "".join(c if c.isalnum() else "_" for c in here)
            handles[step.launch.handle_name or ""] = pid
            lines.append(f"{pid}=")
            body = [*_branch(body, " &"), f"{pid}=$!"]
            if step.launch.signal_on_parent_step_exit:
                signal = step.launch.signal_on_parent_step_exit
                farewell.append(f'[ -z "${pid}" ] || stop {signal} "${pid}"')
        if step.condition:
            body = [f"if [[ {step.condition} ]]; then", *_indent(body), "fi"]
        lines += body
    return lines + farewell


def _await(handle: str, pid: str) -> list[str]:
    name = handle.upper()
    undefined = f"Cannot await: {name} is undefined. Exiting to avoid undefined behavior."
    return [
        _say(f"Waiting for: {name}."),
        # The step that launches it was there, but its `if` was not met.
        f'[ -n "${pid}" ] || {{ {_say(undefined)}; exit 1; }}',
        f'wait "${pid}"',
    ]


def _step(step: Step, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    body = _body(step, workflow, site, path)
    if step.catch or step.finally_:
        body = _guarded(step, body, workflow, site, path)
    return body or [":"]


def _say(line: str) -> str:
    return f"printf '%s\\n' {shlex.quote(line)}"


def _guarded(
    step: Step, body: list[str], workflow: Workflow, site: ExecutionEnvironment, path: str
) -> list[str]:
    """``catch`` swallows the failure unless it fails itself; ``finally`` runs in any case.

    The status is read from ``$?``, never from an ``if``: bash ignores ``set -e`` in conditions.
    """
    tell = 'export DEEPSQUARE_ERROR_CODE="$__code"'
    lines = _attempt(body)
    if step.catch:
        catch = [tell, *_scope(step.catch, workflow, site, f"{path}.catch")]
        lines += ['if [ "$__code" -ne 0 ]; then', *_indent(_attempt(catch)), "fi"]
    if step.finally_:
        finally_ = [tell, *_scope(step.finally_, workflow, site, f"{path}.finally")]
        lines += ['__outcome="$__code"', *_attempt(finally_)]
        lines += ['[ "$__outcome" -eq 0 ] || __code="$__outcome"']
    return [*lines, '[ "$__code" -eq 0 ] || exit "$__code"']


def _attempt(body: list[str]) -> list[str]:
    return ["set +e", *_branch(body, ""), "__code=$?", "set -e"]


def _branch(body: list[str], background: str) -> list[str]:
    """A subshell that stops at its first failure and does not run the script's own farewell."""
    traps = ["  trap stop_launched EXIT", "  trap - TERM INT"]
    return ["(", *traps, "  set -e", *_indent(body), f"){background}"]


def _body(step: Step, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    if step.run is not None:
        return [_command(step.run, step.name or "", workflow, site, f"{path}.run")]
    if step.loop is not None:
        return _loop(step.loop, workflow, site, f"{path}.for")
    if step.launch is not None:
        return _scope(step.launch.steps, workflow, site, f"{path}.launch.steps")
    if step.use is not None:
        raise WorkflowError(
            f"{path}.use", "modules are fetched by DeepSquare itself", "Write the steps out."
        )
    return _scope(step.steps, workflow, site, f"{path}.steps")


def _loop(loop: For, workflow: Workflow, site: ExecutionEnvironment, path: str) -> list[str]:
    if loop.range is not None:
        variable, values = "index", [str(number) for number in loop.range.numbers]
    else:
        variable, values = "item", [shlex.quote(item) for item in loop.items]
    head = f"for {variable} in {' '.join(values)}; do"
    body = [f"export {variable}", *_scope(loop.steps, workflow, site, f"{path}.steps")]
    if not loop.parallel:
        return [head, *_indent(body), "done"]
    return [
        "__branches=()",
        head,
        *_indent(_branch(body, " &")),
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
            "an image's own entry point cannot be started here",
            "Name a command.",
        )
    words = [*site.launcher.command_prefix(run, workflow.resources, name)]
    if run.env:
        words += ["env", *(f"{variable.key}={variable.value}" for variable in run.env)]
    command = [run.shell or "/bin/sh", "-c", run.command]
    if run.container is not None:
        words += site.containers.command_prefix(run.container, site.storage)
    if run.work_dir is not None:
        # A path inside the container: the folder is entered there, not here.
        command = [command[0], "-c", f"cd {shlex.quote(run.work_dir)} && exec {_quoted(command)}"]
    return f'(cd "$STORAGE_PATH" && run_step {_quoted([*words, *command])})'


def _quoted(words: list[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _indent(lines: list[str]) -> list[str]:
    # Only whole statements are indented: a quoted command may hold newlines of its own, which
    # must stay as they are, and each statement is one element of the list.
    return ["  " + line for line in lines]
