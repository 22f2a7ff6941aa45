"""Types of DeepSquare's job document, which every backend runs.

``Workflow.from_dict`` validates a document against the schema of sbatch-service 0.18, and against
mistakes that the schema accepts silently (two kinds in one step, a loop in a sequential loop);
``Workflow.to_dict`` writes the exact form back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from bot.domain.workflow.schema import (
    Key,
    Opaque,
    Path,
    Violation,
    between,
    decode,
    encode,
    first_violation,
    matches,
    one_of,
)

__all__ = [
    "S3",
    "Container",
    "EnvVar",
    "For",
    "Http",
    "Launch",
    "Mount",
    "Range",
    "Resources",
    "Run",
    "RunResources",
    "Step",
    "Transport",
    "Use",
    "Workflow",
    "iter_steps",
]
MAX_INT = 2**31 - 1
"""Maximum of a GraphQL Int."""

Natural: TypeAlias = Annotated[int, between(0, MAX_INT)]
Positive: TypeAlias = Annotated[int, between(1, MAX_INT)]
AnyInt: TypeAlias = Annotated[int, between(-MAX_INT - 1, MAX_INT)]
AbsolutePath: TypeAlias = Annotated[
    str, matches(r"/.*", "an absolute path", "Begin it with a slash.")
]
Url: TypeAlias = Annotated[
    str,
    matches(
        r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]+",
        "an absolute URL",
        "Write it with its scheme, as in https://transfer.example.org/.",
    ),
]

ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
"""Pattern of a whole environment variable name."""

_validate_env_name = matches(
    ENV_NAME, "a name for an environment variable", "Use letters, digits and underscores."
)


def _validate_settable(name: str) -> Violation | None:
    if name in ("PATH", "LD_LIBRARY_PATH"):
        return Violation("may not be set on DeepSquare", "Set it inside the command.")
    return None


EnvName: TypeAlias = Annotated[str, _validate_env_name, _validate_settable]


@dataclass(frozen=True, slots=True)
class EnvVar:
    """Environment variable; ``value`` may be empty and is never evaluated by a shell.

    The value may be a prompt or a key, so ``repr`` leaves it out.
    """

    key: EnvName
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Http:
    """Transfer by HTTP; an upload goes to ``url`` plus the file name if it ends in a slash."""

    url: Url


@dataclass(frozen=True, slots=True)
class S3:
    """Transfer to or from a bucket. The job script contains the keys in plain text."""

    region: str
    bucket_url: Annotated[
        str, matches(r"s3://.*[^/]", "a bucket", "Write s3:// and the name, no slash at the end.")
    ]
    path: AbsolutePath
    access_key_id: str
    secret_access_key: str = field(repr=False)
    endpoint_url: Url
    delete_sync: bool = False


@dataclass(frozen=True, slots=True)
class Transport:
    """Source of a job's input or target of its output."""

    http: Http | None = None
    s3: S3 | None = None

    def check(self) -> Violation | None:
        """Require exactly one method: DeepSquare would silently prefer http."""
        if (self.http is None) is (self.s3 is None):
            return Violation("must name either http or s3", "Keep one of the two.")
        return None


@dataclass(frozen=True, slots=True)
class Mount:
    """Directory of the node inside the container; deprecated by DeepSquare, still supported."""

    host_dir: AbsolutePath
    container_dir: AbsolutePath
    options: Annotated[str, one_of("ro", "rw", "")]


@dataclass(frozen=True, slots=True)
class Container:
    """Container image in which a command runs.

    ``deepsquare_hosted`` implies Apptainer and an image on the node's own disk.
    """

    image: Annotated[
        str,
        matches(
            r"/.*|[a-z0-9/._-]+(:[A-Za-z0-9._:-]+)?",
            "an image name",
            "Write an absolute path, or name:tag in lower case, without registry or digest.",
        ),
    ]
    registry: Annotated[
        str | None,
        matches(
            r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*",
            "a bare host name",
            "Write it without scheme, port and path.",
        ),
    ] = None
    apptainer: bool = False
    deepsquare_hosted: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mounts: tuple[Mount, ...] = ()
    mount_home: bool = False
    read_only_root_fs: Annotated[bool, Key("readOnlyRootFS")] = False
    x11: bool = False

    @property
    def enroot(self) -> bool:
        """Return whether Enroot runs it, which does not pass every environment value unchanged."""
        return not (self.apptainer or self.deepsquare_hosted)


@dataclass(frozen=True, slots=True)
class RunResources:
    """Resources of one command; None means the job's value.

    ``gpus_per_task`` defaults to 0: a command sees no GPU unless it asks for one. ``mem_per_cpu``
    is in megabytes.
    """

    tasks: Positive = 1
    cpus_per_task: Positive | None = None
    mem_per_cpu: Positive | None = None
    gpus_per_task: Natural = 0


def _validate_addresses(texts: tuple[str, ...]) -> Violation | None:
    for position, text in enumerate(texts):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return Violation("is not an IP address", "Write it as 9.9.9.9.", (position,))
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """Command, run by ``shell`` (None: ``/bin/sh``), in a container or on the node itself.

    An empty command means the image's entry point.
    """

    command: str
    shell: Annotated[str | None, one_of("/bin/bash", "/bin/ash", "/bin/sh", "ENTRYPOINT")] = None
    resources: RunResources = RunResources()
    container: Container | None = None
    network: Annotated[str, one_of("host", "slirp4netns", "pasta")] = "host"
    dns: Annotated[tuple[str, ...], _validate_addresses] = ()
    custom_network_interfaces: tuple[Opaque, ...] = ()
    env: tuple[EnvVar, ...] = ()
    map_uid: Natural | None = None
    map_gid: Natural | None = None
    work_dir: AbsolutePath | None = None
    disable_cpu_binding: bool = False
    mpi: Annotated[str | None, one_of("none", "pmix_v4", "pmi2")] = None

    def check(self) -> Violation | None:
        """Return the first violated rule between keys, if any."""
        return first_violation((self._shell(), self._dns()))

    def _shell(self) -> Violation | None:
        if self.shell is None or self.container is not None:
            return None
        hint = "Leave shell out, or name a container: a command on the node runs in /bin/sh."
        return Violation("is only allowed with a container", hint, ("shell",))

    def _dns(self) -> Violation | None:
        if not self.dns or self.network != "host":
            return None
        hint = "Leave dns out, or set network to slirp4netns or pasta."
        return Violation("is only allowed with a network of its own", hint, ("dns",))


_validate_handle_name = matches(
    "[A-Za-z0-9_]+", "a handle name", "Use letters, digits and underscores."
)


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of a job. ``mem_per_cpu`` is in megabytes, ``gpus`` counts for the whole job."""

    tasks: Positive
    cpus_per_task: Positive
    mem_per_cpu: Positive
    gpus: Natural


@dataclass(frozen=True, slots=True)
class Range:
    """Integers from ``begin`` to ``end``, inclusive; an increment of 0 counts as 1."""

    begin: AnyInt
    end: AnyInt
    increment: AnyInt = 0

    @property
    def numbers(self) -> range:
        """Return the values of ``$index``, in order."""
        increment = self.increment or 1
        return range(self.begin, self.end + (1 if increment > 0 else -1), increment)

    def check(self) -> Violation | None:
        """Require at least one number."""
        if self.numbers:
            return None
        problem = f"contains no number: from {self.begin} to {self.end}"
        return Violation(problem, "Swap begin and end, or use another increment.")


@dataclass(frozen=True, slots=True)
class For:
    """Loop over ``$item`` or ``$index``, sequential or parallel."""

    parallel: bool
    steps: Steps
    items: tuple[str, ...] = ()
    range: Range | None = None

    def check(self) -> Violation | None:
        """Return the first violated rule between keys, if any."""
        return first_violation((self._values(), self._nested()))

    def _values(self) -> Violation | None:
        if bool(self.items) is not (self.range is not None):
            return None
        return Violation("must loop over either items or range", "Keep one of the two.")

    def _nested(self) -> Violation | None:
        # DeepSquare gives the bodies of both loops the same name: from the second iteration of the
        # outer loop on, the inner one is wrong. Parallel iterations run in subshells of their own.
        if self.parallel:
            return None
        for where, step in iter_steps(self.steps):
            if step.loop is not None:
                hint = "Make the outer loop parallel, or write the inner one as a shell loop."
                return Violation("is a loop inside a sequential loop", hint, (*where, "for"))
        return None


@dataclass(frozen=True, slots=True)
class Launch:
    """Background steps; they get ``signal_on_parent_step_exit`` at the end of their scope."""

    steps: Steps
    handle_name: Annotated[str | None, _validate_handle_name] = None
    signal_on_parent_step_exit: Annotated[int, between(0, 64)] = 15


@dataclass(frozen=True, slots=True)
class Use:
    """Third-party module, fetched by DeepSquare when the job is submitted."""

    source: Annotated[
        str,
        matches(
            r"[A-Za-z0-9.-]+(:[0-9]+)?(/[^/\s@]+){2,}(@[^\s@]+)?",
            "a module's source",
            "Write host/owner/repository[/path][@reference].",
        ),
    ]
    args: tuple[EnvVar, ...] = ()
    export_env_as: EnvName | None = None
    steps: Steps = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Step of a job: exactly one of ``steps``, ``run``, ``loop``, ``launch`` and ``use``.

    ``condition`` is the inside of a bash ``[[ … ]]``. A failure that ``catch`` handles does not
    fail the job.
    """

    name: str | None = None
    depends_on: tuple[Annotated[str, _validate_handle_name], ...] = ()
    condition: Annotated[str | None, Key("if")] = None
    steps: Steps = ()
    run: Run | None = None
    loop: Annotated[For | None, Key("for")] = None
    launch: Launch | None = None
    use: Use | None = None
    catch: Steps = ()
    finally_: Steps = ()

    def check(self) -> Violation | None:
        """Require exactly one kind: of several, DeepSquare would silently take the first."""
        kinds = {
            "steps": bool(self.steps),
            "run": self.run is not None,
            "for": self.loop is not None,
            "launch": self.launch is not None,
            "use": self.use is not None,
        }
        given = [kind for kind, present in kinds.items() if present]
        if len(given) == 1:
            return None
        problem = f"has both {given[0]} and {given[1]}" if given else "does nothing"
        return Violation(problem, "Give it exactly one of steps, run, for, launch and use.")

    def groups(self) -> Iterator[tuple[Path, tuple[Step, ...]]]:
        """Yield the lists of steps directly inside this one, each with its relative path."""
        yield ("steps",), self.steps
        if self.loop is not None:
            yield ("for", "steps"), self.loop.steps
        if self.launch is not None:
            yield ("launch", "steps"), self.launch.steps
        if self.use is not None:
            yield ("use", "steps"), self.use.steps
        yield ("catch",), self.catch
        yield ("finally",), self.finally_


def iter_steps(steps: tuple[Step, ...]) -> Iterator[tuple[Path, Step]]:
    """Yield every step at any depth, each with its path from the parent of ``steps``."""
    yield from _iter_nested(steps, ("steps",))


def _iter_nested(steps: tuple[Step, ...], where: Path) -> Iterator[tuple[Path, Step]]:
    for position, step in enumerate(steps):
        yield (*where, position), step
        for inner, group in step.groups():
            yield from _iter_nested(group, (*where, position, *inner))


def _validate_handle_order(steps: tuple[Step, ...]) -> Violation | None:
    """Require that each step depends only on steps launched before it in the same list."""
    launched: set[str] = set()
    for position, step in enumerate(steps):
        for place, handle in enumerate(step.depends_on):
            if handle not in launched:
                problem = f"no earlier step of this list was launched as {handle}"
                hint = "Give an earlier step of the same list launch.handleName."
                return Violation(problem, hint, (position, "dependsOn", place))
        if step.launch is not None and step.launch.handle_name is not None:
            launched.add(step.launch.handle_name)
    return None


Steps: TypeAlias = Annotated[tuple[Step, ...], _validate_handle_order]


@dataclass(frozen=True, slots=True)
class Workflow:
    """Job document. ``input_mode`` holds permission bits; None leaves them unchanged.

    The log is only available if ``enable_logging`` is set. ``virtual_networks`` are passed through
    unchecked.
    """

    resources: Resources
    steps: Steps
    env: tuple[EnvVar, ...] = ()
    enable_logging: bool = False
    input: Transport | None = None
    input_mode: Annotated[int | None, between(0, 511)] = None
    output: Transport | None = None
    continuous_output_sync: bool = False
    virtual_networks: tuple[Opaque, ...] = ()

    @classmethod
    def from_dict(cls, document: object) -> Workflow:
        """Decode a document of mappings, lists, text and numbers.

        Raises WorkflowError for the first problem in document order.
        """
        return decode(cls, document)

    def to_dict(self) -> dict[str, object]:
        """Return the document with DeepSquare's key names, without keys at their default."""
        return encode(self)
