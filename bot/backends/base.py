"""The protocol between the services and whatever computes.

The services import this file and no concrete backend. Every backend passes the same conformance
suite (``tests/backends/conformance.py``) and raises only the BackendError branch of
``bot.domain.errors``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from bot.domain.checks import CheckResult
from bot.domain.events import (
    Artifact,
    BackendJobRef,
    Cancelled,
    Exited,
    Failed,
    FundsExhausted,
    Requeued,
    Started,
)
from bot.domain.image_engine import EngineInfo
from bot.domain.workflow.document import Workflow


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to submit. ``job_id`` is the bot's id and becomes the backend's job name."""

    job_id: str
    workflow: Workflow


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the job's log, its newline included unless the log ends without one.

    ``cursor`` names the position after this line; ``follow(handle, cursor)`` resumes behind it.
    """

    data: bytes
    cursor: str


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """The maximum price of a job. ``credits`` is None where the backend charges nothing."""

    credits: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FinalCost:
    """What an ended job cost and how much of its price was refunded, in credits."""

    cost: Decimal
    refund: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend takes jobs now; ``detail`` says why not and ``hint`` how to fix it."""

    ok: bool
    detail: str
    hint: str = ""


LifecycleEvent: TypeAlias = Started | Requeued | Exited | Failed | Cancelled | FundsExhausted
"""What a backend itself knows of a job's life, beside its log."""

TERMINAL_EVENTS = (Exited, Failed, Cancelled, FundsExhausted)
"""The last thing ``follow`` yields is one of these."""


@runtime_checkable
class Backend(Protocol):
    """Run workflows. Every method may be called again after a crash, in a new process."""

    name: str

    def upload_url(self, job_id: str) -> str:
        """Return the URL where the job's steps publish files, without a trailing slash."""
        ...

    async def put_input(self, job_id: str, source: Path) -> str:
        """Give the job a copy of a file, before it is submitted; return its URL for the steps.

        Idempotent. A job has one input. Raises Unavailable.
        """
        ...

    async def price(self, workflow: Workflow) -> PriceQuote:
        """Return the maximum price of the job."""
        ...

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Submit the job. Idempotent: the same ``job_id`` gives the first handle again.

        Raises Unavailable (nothing was started, or ``find`` will tell), SubmissionRejected,
        InsufficientFunds.
        """
        ...

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the handle of a job submitted earlier, or None if it never reached the backend.

        Raises Unavailable when that cannot be known now.
        """
        ...

    def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield log lines from ``cursor`` (None: from the first line) and lifecycle events.

        The last item is one of TERMINAL_EVENTS; nothing is yielded after it. Raises LogStreamLost
        when the stream breaks: follow again from the last cursor.
        """
        ...

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Download a published file to ``target`` atomically; size and sha256 are verified.

        Raises ArtifactMissing (not allowed, too large), ArtifactDamaged (absent, or not as
        announced: worth a retry), Unavailable.
        """
        ...

    async def cancel(self, handle: BackendJobRef) -> None:
        """Cancel the job, pending or running; no error if it has ended. ``follow`` then ends."""
        ...

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Wait until the job is settled and return its cost; None where nothing is charged.

        Raises Unavailable when that cannot be known now.
        """
        ...

    async def delete_job_data(self, job_id: str) -> None:
        """Delete the local data of an ended job: prompt, log and pictures. Other jobs are kept.

        Raises Unavailable. Data at a remote service lives as long as that service keeps it.
        """
        ...

    async def health(self) -> Health:
        """Return whether the backend would take a job now; never raises."""
        ...

    async def aclose(self) -> None:
        """Close connections. Running jobs go on."""
        ...


@dataclass(frozen=True, slots=True)
class WalletStatus:
    """Balances of a wallet on its chain.

    ``coins`` is the native coin; ``scheduler`` is the contract that may spend up to ``allowance``
    credits.
    """

    address: str
    chain_id: int
    scheduler: str
    coins: Decimal
    credits: Decimal
    allowance: Decimal


@runtime_checkable
class SupportsChecks(Protocol):
    """A backend with detailed checks for ``gridbrush check``."""

    async def run_checks(self, workflow: Workflow) -> Sequence[CheckResult]:
        """Run every check and return its result with a hint; ``workflow`` is a default grid."""
        ...


@runtime_checkable
class Extendable(Protocol):
    """A backend that stops a job when its paid time is used up, and can be paid more."""

    async def extension(self, handle: BackendJobRef) -> Decimal | None:
        """Return the total price in credits that the job needs to go on.

        None while its current price is enough, and where no more may be paid. Raises Unavailable.
        """
        ...

    async def extend(self, handle: BackendJobRef, total: Decimal) -> None:
        """Raise the job's price to ``total`` credits in all.

        Idempotent, across restarts too. Raises InsufficientFunds, SubmissionRejected (the job does
        not run any more), Unavailable: the next call then finds out whether it was paid.
        """
        ...


@runtime_checkable
class Describing(Protocol):
    """A backend that can tell which image engine runs where a workflow calls ``txt2img.py``."""

    async def model_engines(self) -> Mapping[str, EngineInfo]:
        """Return the image engine of each model of the table that has its own; never raises."""
        ...

    async def engine_info(self) -> EngineInfo:
        """Return the image engine, as far as it is known; never raises."""
        ...


@runtime_checkable
class SupportsWallet(Protocol):
    """A backend that pays from the operator's wallet, for ``gridbrush wallet``."""

    async def wallet_report(self) -> WalletStatus:
        """Return balances and allowance. Raises Unavailable."""
        ...

    async def approve(self, amount: Decimal) -> None:
        """Set the contract's allowance in credits.

        Raises InsufficientFunds (gas), Unavailable.
        """
        ...
