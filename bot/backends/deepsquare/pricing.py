"""The contract's price formula, and how many credits to lock for a job.

Pure: prices and measured run times come in as values. Amounts are in wei of credit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.backends.deepsquare.abi import JobDefinition, format_credits
from bot.domain.errors import SubmissionRejected
from bot.domain.workflow.document import Workflow

MARGIN = 1.25
OVERHEAD_MINUTES = 1.0
"""Image import, upload and the 15 s that the platform adds after the last line."""
MIN_MINUTES = 2
"""A lock that buys less than a minute fails at claim; the prices may have risen by then."""
MIN_TOP_UP_MINUTES, MAX_TOP_UP_MINUTES = 1.5, 5.0
"""A lock is topped up when a third of its minutes is left, within these limits: a provider needs a
while to move the time limit, and tries only a few times."""
HISTORY_SIZE = 20
MIN_SAMPLES = 3
"""Runs of one workload needed before their run time is used."""

# Variables that change a job's run time.
_SIZE_VARIABLES = ("ROWS", "SAMPLES", "STEPS", "WIDTH", "HEIGHT", "MODEL")


@dataclass(frozen=True, slots=True)
class Prices:
    """A provider's prices per minute: for a GPU, a CPU, a megabyte."""

    gpu: int
    cpu: int
    mem: int

    def per_minute(self, definition: JobDefinition) -> int:
        """Return the job's price per minute. GPUs count for the job, the rest for each task."""
        per_cpu = self.cpu + definition.mem_per_cpu * self.mem
        cpus = definition.tasks * definition.cpus_per_task
        return cpus * per_cpu + definition.gpus * self.gpu


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's capacity; counts are sums over its nodes, ``mem`` in megabytes."""

    address: str
    prices: Prices
    labels: tuple[tuple[str, str], ...]
    gpus: int
    cpus: int
    mem: int

    def fits(self, definition: JobDefinition) -> bool:
        """Return whether it has the resources and labels that the job asks for."""
        cpus = definition.tasks * definition.cpus_per_task
        large = (
            self.gpus >= definition.gpus
            and self.cpus >= cpus
            and self.mem >= cpus * definition.mem_per_cpu
        )
        uses = ((key, "==", value) for key, value in definition.uses)
        labels = dict(self.labels)
        return large and all(
            key in labels and _matches(labels[key], operator, value)
            for key, operator, value in (*uses, *definition.affinity)
        )


@dataclass(frozen=True, slots=True)
class LockLimits:
    """The minimum and maximum lock, and the default where no run time is known."""

    minimum: int
    default: int
    maximum: int


def lock_amount(per_minute: int, bounds: LockLimits, measured: float | None) -> int:
    """Return how much to lock for a job that ran ``measured`` minutes before.

    Too little ends the job at its time limit, its results lost; what is not used is refunded.
    Raises SubmissionRejected where ``max_credits_per_job`` does not cover what the job needs.
    """
    if measured is None:
        wanted = bounds.default
        needed = MIN_MINUTES
    else:
        wanted = math.ceil(measured * MARGIN + OVERHEAD_MINUTES) * per_minute
        needed = max(MIN_MINUTES, math.ceil(measured + OVERHEAD_MINUTES))
    lock = min(max(wanted, bounds.minimum, MIN_MINUTES * per_minute), bounds.maximum)
    if lock < bounds.minimum or lock < needed * per_minute:
        raise SubmissionRejected(
            f"the job needs {needed} min at {format_credits(per_minute)} credits a minute "
            f"and at least {format_credits(bounds.minimum)} credits; "
            f"[backend.deepsquare] max_credits_per_job allows {format_credits(bounds.maximum)}"
        )
    return lock


def top_up_target(lock: int, per_minute: int, bounds: LockLimits, ran_minutes: float) -> int | None:
    """Return what a running job should lock in all, None while its lock lasts.

    Also None where the maximum covers no further minute: less than that adds no time.
    """
    paid_minutes = lock // per_minute
    threshold = min(max(MIN_TOP_UP_MINUTES, paid_minutes / 3), MAX_TOP_UP_MINUTES)
    if paid_minutes - ran_minutes > threshold:
        return None
    total = min(lock + max(bounds.default, MIN_MINUTES * per_minute), bounds.maximum)
    return total if total - lock >= per_minute else None


def workload_key(workflow: Workflow) -> str:
    """Return a key that jobs with similar run times share: resources and size of the grid."""
    resources = workflow.resources
    env = {variable.key: variable.value for variable in workflow.env}
    sizes = (
        resources.tasks,
        resources.cpus_per_task,
        resources.mem_per_cpu,
        resources.gpus,
    )
    numbers = [f"{key}={env[key][:40]}" for key in _SIZE_VARIABLES if key in env]
    return " ".join(["x".join(map(str, sizes)), *numbers])


class RuntimeSamples:
    """Recent run times of jobs, in minutes, by workload key."""

    def __init__(self, runs: Iterable[tuple[str, float]] = ()) -> None:
        self._runs: dict[str, list[float]] = {}
        for shape, minutes in runs:
            self.add(shape, minutes)

    def add(self, shape: str, minutes: float) -> None:
        """Add a run; old ones are dropped."""
        runs = self._runs.setdefault(shape, [])
        runs.append(minutes)
        del runs[:-HISTORY_SIZE]

    def longest(self, shape: str) -> float | None:
        """Return the longest of the last runs, or None below MIN_SAMPLES."""
        runs = self._runs.get(shape, [])
        return max(runs) if len(runs) >= MIN_SAMPLES else None


def highest_price(providers: Iterable[Provider], definition: JobDefinition) -> int | None:
    """Return the highest price per minute of the providers that fit: the Grid chooses."""
    prices = [each.prices.per_minute(definition) for each in providers if each.fits(definition)]
    return max(prices) if prices else None


def _matches(label: str, operator: str, value: str) -> bool:
    """Compare a provider's label with a value; as numbers where both are numbers."""
    left: object = label
    right: object = value
    if operator != "in":
        try:
            left, right = float(label), float(value)
        except ValueError:
            pass
    tests: Mapping[str, bool] = {
        "==": left == right,
        "!=": left != right,
        "<": left < right,  # type: ignore[operator]  # both are numbers, or both are texts
        "<=": left <= right,  # type: ignore[operator]
        ">": left > right,  # type: ignore[operator]
        ">=": left >= right,  # type: ignore[operator]
        "in": value in label,
    }
    return tests.get(operator, False)
