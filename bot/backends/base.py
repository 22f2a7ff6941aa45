"""The seam between the engine and whatever computes: one protocol, the fewest verbs.

The engine sees this file and no concrete backend. Every backend passes the same conformance suite
(``tests/backends/conformance.py``). What a backend may raise is the BackendError branch of
``bot.domain.errors``; anything foreign is mapped inside the backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
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
from bot.domain.image_engine import Painter
from bot.domain.workflow.document import Workflow


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as a backend receives it. ``job_id`` is ours and travels as the backend's job name."""

    job_id: str
    workflow: Workflow


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the job's log, its newline included unless the log ends without one.

    ``cursor`` names the position after this line; ``follow(handle, cursor)`` goes on behind it.
    """

    data: bytes
    cursor: str


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """What a job may cost. ``credits`` is None where computing is not paid for."""

    credits: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FinalCost:
    """What a job cost in the end, in credits, and what of the price came back."""

    cost: Decimal
    refund: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether jobs can be taken now; if not, ``detail`` says why and ``mend`` what helps."""

    ok: bool
    detail: str
    hint: str = ""


LifecycleEvent: TypeAlias = Started | Requeued | Exited | Failed | Cancelled | FundsExhausted
"""What a backend itself knows of a job's life, beside its log."""

TERMINAL_EVENTS = (Exited, Failed, Cancelled, FundsExhausted)
"""The last thing ``follow`` yields is one of these."""


@runtime_checkable
class Backend(Protocol):
    """Runs workflows. Every method may be called again after a crash, in a new process."""

    name: str

    def upload_url(self, job_id: str) -> str:
        """Where the job's steps publish files, without a trailing slash (``file://`` or https)."""
        ...

    async def price(self, workflow: Workflow) -> PriceQuote:
        """The most the job may cost."""
        ...

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Hand the job over; a second call with the same ``job_id`` returns the first handle.

        Raises Unavailable (nothing was started, or ``find`` will tell), SubmissionRejected,
        OutOfFunds.
        """
        ...

    async def find(self, job_id: str) -> BackendJobRef | None:
        """The handle of a job that was handed over earlier, or None if it never arrived.

        Raises Unavailable when that cannot be known now.
        """
        ...

    def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """The log from ``cursor`` (None: from the first line), and the job's life, to its end.

        The last item is one of ENDINGS; after it the iterator stops. Raises LogStreamLost when
        the stream breaks: follow again from the last cursor. Never yields after an ending.
        """
        ...

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Bring a published file to ``target``, whole or not at all, its size and sha256 checked.

        Raises ArtifactMissing (not allowed, too large), ArtifactDamaged (not there, or not as
        announced, this time: it is worth another attempt), Unavailable.
        """
        ...

    async def cancel(self, handle: BackendJobRef) -> None:
        """Stop the job, waiting or running; no error if it is over. ``follow`` then ends."""
        ...

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Wait until the job is paid for and say what it cost; None where nothing is paid for.

        Raises Unavailable when that cannot be known now.
        """
        ...

    async def delete_job_data(self, job_id: str) -> None:
        """Remove what is kept here of a job that is over, words and pictures; no other is touched.

        Raises Unavailable. What a service keeps elsewhere, it keeps for as long as it does.
        """
        ...

    async def health(self) -> Health:
        """Whether the service would take a job now; never raises."""
        ...

    async def aclose(self) -> None:
        """Let go of connections. Running jobs are left running."""
        ...


@dataclass(frozen=True, slots=True)
class WalletStatus:
    """A wallet as its chain has it: the native coin, credits, and what may be drawn of them.

    ``scheduler`` is the contract that may draw up to ``allowance`` credits.
    """

    address: str
    chain_id: int
    scheduler: str
    coins: Decimal
    credits: Decimal
    allowance: Decimal


@runtime_checkable
class SupportsChecks(Protocol):
    """A backend that can say in detail what is wrong with it, for ``gridbrush check``."""

    async def run_checks(self, workflow: Workflow) -> Sequence[CheckResult]:
        """Everything that can be wrong, each with its mend; ``workflow`` is a default grid."""
        ...


@runtime_checkable
class Extendable(Protocol):
    """A backend that stops a job when what was paid for it is used up, and can be paid more."""

    async def extension(self, handle: BackendJobRef) -> Decimal | None:
        """Return the credits that the job should be allowed in all so that it can go on.

        None while what it has is enough, and where no more may be paid. Raises Unavailable.
        """
        ...

    async def extend(self, handle: BackendJobRef, total: Decimal) -> None:
        """Raise what the job may cost to ``total`` credits in all.

        Repeating it, after a crash too, pays once. Raises OutOfFunds, SubmissionRejected (it does
        not run any more), Unavailable: whether it was paid is found out by the next call.
        """
        ...


@runtime_checkable
class Describing(Protocol):
    """A backend that knows what would run where a workflow calls ``txt2img.py``."""

    async def painter(self) -> Painter:
        """Return what would paint; never raises, and tells what it can."""
        ...


@runtime_checkable
class SupportsWallet(Protocol):
    """A backend that draws on the operator's wallet, for ``gridbrush wallet``."""

    async def wallet_report(self) -> WalletStatus:
        """Balances and allowance. Raises Unavailable."""
        ...

    async def approve(self, amount: Decimal) -> None:
        """Set how many credits may be drawn in all. Raises OutOfFunds (gas), Unavailable."""
        ...
