"""DeepSquare's job document as a type: what every backend runs.

``Workflow.load`` checks a document against each rule of sbatch-service 0.18's schema, and against
the traps that it accepts silently (two kinds in one step, a loop in a sequential loop);
``Workflow.document`` writes the exact form back. This module knows nothing of templates, of
requests, or of who runs the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from bot.domain.document import (
    Key,
    Opaque,
    Path,
    Violation,
    between,
    decode,
    encode,
    first_violation,
    matches,
)
from bot.domain.workflow_run import (
    S3,
    AnyInt,
    Container,
    EnvName,
    EnvVar,
    Http,
    Mount,
    Natural,
    Positive,
    Run,
    RunResources,
    Transport,
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
                mend = "Make the outer loop parallel, or write the inner one as a shell loop."
                return Violation("is a loop inside a sequential loop", mend, (*where, "for"))
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
                mend = "Give an earlier step of the same list launch.handleName."
                return Violation(problem, mend, (position, "dependsOn", place))
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
