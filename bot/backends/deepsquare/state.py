"""The records that must survive a crash: jobs and pending transactions.

A job record is the intent: it is saved before anything is paid, and names afterwards the job on the
chain. A nonce record is one nonce of the wallet with every transaction ever signed for it, of which
the chain can take only one. Field names are keys of the stored JSON: they must not change.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Purpose(StrEnum):
    """What a transaction does. Stored."""

    REQUEST = "request"
    CANCEL = "cancel"
    APPROVE = "approve"
    TOP_UP = "top_up"
    VOID = "void"


class CancelReason(StrEnum):
    """Why the bot itself cancelled an attempt. Stored."""

    NOBODY_TOOK_IT = "nobody_took_it"
    REFUSED = "refused"
    SCRIPT_OLD = "script_old"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class ChainAttempt:
    """One job on the chain, or about to be. ``lock``, ``cost`` and ``refund`` are in wei.

    ``script`` is the service's hash, valid for an hour from ``script_at``. ``number`` is the
    chain's, None until the transaction is mined; ``cost`` is None until the job has ended.
    ``lock_target`` is the target of a pending top-up, 0 for none.
    """

    script: str
    script_at: datetime
    lock: int
    number: int | None = None
    block: int = 0
    requested_at: datetime | None = None
    withdrawal: CancelReason | None = None
    cancelled_at: datetime | None = None
    status: int | None = None
    cost: int | None = None
    refund: int = 0
    lock_target: int = 0

    @property
    def settled(self) -> bool:
        """Return whether the chain has charged the cost and refunded the rest."""
        return self.cost is not None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything about one job. The last attempt is the current one.

    ``workflow`` is the job document for another attempt; it holds the member's prompt and the job's
    key and is deleted when the job is settled. ``minutes`` is how long it ran, ``shape`` its
    workload key, both for the size of later locks.
    """

    job_id: str
    scheduler: str
    created_at: datetime
    shape: str = ""
    workflow: dict[str, Any] | None = field(default=None, repr=False)
    attempts: tuple[ChainAttempt, ...] = ()
    minutes: float | None = None
    stopped: bool = False
    """Whether it is to be stopped: it is not submitted again."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the chain's numbers of all attempts that the chain has."""
        return tuple(each.number for each in self.attempts if each.number is not None)

    @property
    def attempt(self) -> ChainAttempt | None:
        """Return the current attempt, if any."""
        return self.attempts[-1] if self.attempts else None

    @property
    def settled(self) -> bool:
        """Return whether all attempts are settled."""
        return bool(self.attempts) and all(attempt.settled for attempt in self.attempts)

    def with_attempt(self, attempt: ChainAttempt) -> JobRecord:
        """Return a copy with the last attempt replaced."""
        return replace(self, attempts=(*self.attempts[:-1], attempt))


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it was signed.

    ``script`` is the script of the job it requests, "" if it requests none; a ``void`` one only
    uses up its nonce.
    """

    raw: bytes = field(repr=False)
    hash: bytes
    gas_price: int
    signed_at: datetime
    script_at: datetime
    script: str = ""
    void: bool = False


@dataclass(frozen=True, slots=True)
class NonceRecord:
    """One nonce and what was signed for it, oldest first; at most one of them is ever mined."""

    nonce: int
    purpose: Purpose
    job_id: str
    to: str
    data: bytes = field(repr=False)
    gas: int
    signed: tuple[SignedTransaction, ...]
    opened_at: datetime

    @property
    def newest(self) -> SignedTransaction:
        """Return the transaction to send again."""
        return self.signed[-1]

    def with_signed(self, signed: SignedTransaction) -> NonceRecord:
        """Return a copy with one more transaction for the same nonce."""
        return replace(self, signed=(*self.signed, signed))
