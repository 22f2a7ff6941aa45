"""The leaves of DeepSquare's job document: one command, its container, environment and files.

Field names and rules are those of sbatch-service 0.18's GraphQL schema; ``bot.domain.document``
turns them into a reader and a writer. Import these types from ``bot.domain.workflow``. This module
knows nothing of steps, loops and jobs.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from bot.domain.document import Key, Opaque, Violation, between, first_violation, matches, one_of

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
        mend = "Leave shell out, or name a container: a command on the node runs in /bin/sh."
        return Violation("goes only with a container", mend, ("shell",))

    def _dns(self) -> Violation | None:
        if not self.dns or self.network != "host":
            return None
        mend = "Leave dns out, or set network to slirp4netns or pasta."
        return Violation("goes only with a network of its own", mend, ("dns",))
