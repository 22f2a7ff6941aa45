"""DeepSquare's job document as a type: what every backend runs.

``Workflow.load`` checks a document against each rule of sbatch-service 0.18's schema, and against
the traps that it accepts silently (two kinds in one step, a loop in a sequential loop);
``Workflow.document`` writes the exact form back. This module knows nothing of templates, of
requests, or of who runs the job.
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
"""The largest GraphQL Int."""

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
"""What the name of an environment variable is, from its first to its last character."""

_env_name = matches(
    ENV_NAME, "a name for an environment variable", "Use letters, digits and underscores."
)


def _settable(name: str) -> Violation | None:
    if name in ("PATH", "LD_LIBRARY_PATH"):
        return Violation("may not be set on DeepSquare", "Set it inside the command.")
    return None


EnvName: TypeAlias = Annotated[str, _env_name, _settable]


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One environment variable; ``value`` may be empty and is never looked at by a shell.

    It may be a prompt or a key, so no ``repr`` shows it.
    """

    key: EnvName
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Http:
    """Files by HTTP; an upload goes to ``url`` plus the file's name if it ends in a slash."""

    url: Url


@dataclass(frozen=True, slots=True)
class S3:
    """Files in a bucket. The keys travel in clear, in the job script."""

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
    """Where a job's input comes from or its output goes."""

    http: Http | None = None
    s3: S3 | None = None

    def check(self) -> Violation | None:
        """Whether exactly one way is named: DeepSquare would quietly prefer http."""
        if (self.http is None) is (self.s3 is None):
            return Violation("must name one of http and s3", "Keep one of the two.")
        return None


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the node inside the container: deprecated by DeepSquare, still honoured."""

    host_dir: AbsolutePath
    container_dir: AbsolutePath
    options: Annotated[str, one_of("ro", "rw", "")]


@dataclass(frozen=True, slots=True)
class Container:
    """The image that a command runs in.

    ``deepsquare_hosted`` implies Apptainer and takes the image from the node's own disk.
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
        """Whether Enroot runs it, which does not pass every environment value on unharmed."""
        return not (self.apptainer or self.deepsquare_hosted)


@dataclass(frozen=True, slots=True)
class RunResources:
    """What one command takes of the job's resources; None is the job's own figure.

    ``gpus_per_task`` is 0 unless asked for: a command sees no GPU by itself. ``mem_per_cpu`` is
    in megabytes.
    """

    tasks: Positive = 1
    cpus_per_task: Positive | None = None
    mem_per_cpu: Positive | None = None
    gpus_per_task: Natural = 0


def _addresses(texts: tuple[str, ...]) -> Violation | None:
    for position, text in enumerate(texts):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return Violation("is not an IP address", "Write it as 9.9.9.9.", (position,))
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """One command, run by ``shell`` (None: ``/bin/sh``); without a container on the node itself.

    An empty command is the image's entry point.
    """

    command: str
    shell: Annotated[str | None, one_of("/bin/bash", "/bin/ash", "/bin/sh", "ENTRYPOINT")] = None
    resources: RunResources = RunResources()
    container: Container | None = None
    network: Annotated[str, one_of("host", "slirp4netns", "pasta")] = "host"
    dns: Annotated[tuple[str, ...], _addresses] = ()
    custom_network_interfaces: tuple[Opaque, ...] = ()
    env: tuple[EnvVar, ...] = ()
    map_uid: Natural | None = None
    map_gid: Natural | None = None
    work_dir: AbsolutePath | None = None
    disable_cpu_binding: bool = False
    mpi: Annotated[str | None, one_of("none", "pmix_v4", "pmi2")] = None

    def check(self) -> Violation | None:
        """The rules between keys."""
        return first_violation((self._shell(), self._dns()))

    def _shell(self) -> Violation | None:
        if self.shell is None or self.container is not None:
            return None
        hint = "Leave shell out, or name a container: a command on the node runs in /bin/sh."
        return Violation("goes only with a container", hint, ("shell",))

    def _dns(self) -> Violation | None:
        if not self.dns or self.network != "host":
            return None
        hint = "Leave dns out, or set network to slirp4netns or pasta."
        return Violation("goes only with a network of its own", hint, ("dns",))


_handle = matches("[A-Za-z0-9_]+", "a handle name", "Use letters, digits and underscores.")


@dataclass(frozen=True, slots=True)
class Resources:
    """What the job takes. ``mem_per_cpu`` is in megabytes, ``gpus`` is for the job as a whole."""

    tasks: Positive
    cpus_per_task: Positive
    mem_per_cpu: Positive
    gpus: Natural


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from ``begin`` to ``end``, both included; an increment of 0 counts as 1."""

    begin: AnyInt
    end: AnyInt
    increment: AnyInt = 0

    @property
    def numbers(self) -> range:
        """The values that ``$index`` takes, in order."""
        increment = self.increment or 1
        return range(self.begin, self.end + (1 if increment > 0 else -1), increment)

    def check(self) -> Violation | None:
        """Whether there is a number in it."""
        if self.numbers:
            return None
        problem = f"holds no number: from {self.begin} to {self.end}"
        return Violation(problem, "Exchange begin and end, or give another increment.")


@dataclass(frozen=True, slots=True)
class For:
    """A loop over ``$item`` or over ``$index``; its turns run one by one, or all at once."""

    parallel: bool
    steps: Steps
    items: tuple[str, ...] = ()
    range: Range | None = None

    def check(self) -> Violation | None:
        """The rules between keys."""
        return first_violation((self._values(), self._nested()))

    def _values(self) -> Violation | None:
        if bool(self.items) is not (self.range is not None):
            return None
        return Violation("must loop over one of items and range", "Keep one of the two.")

    def _nested(self) -> Violation | None:
        # DeepSquare gives both loops' bodies the same name: from the second turn of the outer
        # one on, the inner one is wrong. Parallel turns are safe, each has its own subshell.
        if self.parallel:
            return None
        for where, step in iter_steps(self.steps):
            if step.loop is not None:
                hint = "Make the outer loop parallel, or write the inner one as a shell loop."
                return Violation("is a loop inside a sequential loop", hint, (*where, "for"))
        return None


@dataclass(frozen=True, slots=True)
class Launch:
    """Steps in the background; ``signal_on_parent_step_exit`` ends them with their scope."""

    steps: Steps
    handle_name: Annotated[str | None, _handle] = None
    signal_on_parent_step_exit: Annotated[int, between(0, 64)] = 15


@dataclass(frozen=True, slots=True)
class Use:
    """A third-party module, fetched by the service when the job is submitted."""

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
    """One stage of a job: exactly one of ``steps``, ``run``, ``loop``, ``launch`` and ``use``.

    ``condition`` is the inside of a bash ``[[ … ]]``. A failure that ``catch`` handles is no
    failure of the job.
    """

    name: str | None = None
    depends_on: tuple[Annotated[str, _handle], ...] = ()
    condition: Annotated[str | None, Key("if")] = None
    steps: Steps = ()
    run: Run | None = None
    loop: Annotated[For | None, Key("for")] = None
    launch: Launch | None = None
    use: Use | None = None
    catch: Steps = ()
    finally_: Steps = ()

    def check(self) -> Violation | None:
        """Whether it does one thing: of several, DeepSquare would quietly take the first."""
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
        """The lists of steps directly inside this one, each with its path from here."""
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
    """Every step at any depth, each with its path from the list that ``steps`` stands in."""
    yield from _walk(steps, ("steps",))


def _walk(steps: tuple[Step, ...], where: Path) -> Iterator[tuple[Path, Step]]:
    for position, step in enumerate(steps):
        yield (*where, position), step
        for inner, group in step.groups():
            yield from _walk(group, (*where, position, *inner))


def _handles_in_order(steps: tuple[Step, ...]) -> Violation | None:
    """Whether each step waits only for what was launched before it in the same list."""
    launched: set[str] = set()
    for position, step in enumerate(steps):
        for place, handle in enumerate(step.depends_on):
            if handle not in launched:
                problem = f"nothing before this step in this list was launched as {handle}"
                hint = "Give an earlier step of the same list launch.handleName."
                return Violation(problem, hint, (position, "dependsOn", place))
        if step.launch is not None and step.launch.handle_name is not None:
            launched.add(step.launch.handle_name)
    return None


Steps: TypeAlias = Annotated[tuple[Step, ...], _handles_in_order]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A job. ``input_mode`` holds permission bits; None leaves them as they are.

    Nothing of the log reaches anybody unless ``enable_logging`` is set. ``virtual_networks`` are
    passed through unread.
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
        """The job that ``document`` (mappings, lists, text, numbers) describes.

        Raises WorkflowError for the first problem in the document's own order.
        """
        return decode(cls, document)

    def to_dict(self) -> dict[str, object]:
        """The document, with DeepSquare's key names, without the keys at their default."""
        return encode(self)

    @property
    def total_gpus(self) -> int:
        """GPUs of the job as a whole."""
        return self.resources.gpus
