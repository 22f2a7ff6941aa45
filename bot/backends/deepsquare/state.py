"""What the backend must never forget, as values: its jobs, and its transactions under way.

A job record is the intent: it is written before anything is paid, and says afterwards which job
on the chain is ours. A slot is one nonce of the wallet with every transaction ever signed for it,
of which the chain can take only one. How they reach the disk is the journal's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Purpose(StrEnum):
    """What a transaction is for."""

    REQUEST = "request"
    CANCEL = "cancel"
    APPROVE = "approve"
    TOP_UP = "top_up"
    VOID = "void"


class CancelReason(StrEnum):
    """Why the backend itself cancelled an attempt, as a stable word."""

    NOBODY_TOOK_IT = "nobody_took_it"
    REFUSED = "refused"
    SCRIPT_OLD = "script_old"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class ChainAttempt:
    """One job on the chain, or on its way there. ``lock``, ``cost`` and ``refund`` are in wei.

    ``script`` is the service's hash, valid for an hour from ``script_at``. ``number`` is the
    chain's, None until the transaction is mined; ``cost`` is None until the job has ended.
    ``lock_target`` is what the lock is being topped up to, 0 while that is not under way.
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
        """Whether the chain has paid what there was to pay, and given the rest back."""
        return self.cost is not None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything about one of our jobs. The last attempt is the one that counts.

    ``workflow`` is the job document as it was submitted, for another attempt; it holds the
    member's words and the job's key and is dropped when the job is settled. ``minutes`` is how
    long it ran, ``shape`` what it was like, for the size of later locks.
    """

    job_id: str
    scheduler: str
    created_at: datetime
    shape: str = ""
    workflow: dict[str, Any] | None = field(default=None, repr=False)
    attempts: tuple[ChainAttempt, ...] = ()
    minutes: float | None = None
    stopped: bool = False
    """Whether somebody wants it stopped: no further attempt is begun."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The chain's numbers of all attempts that the chain has."""
        return tuple(each.number for each in self.attempts if each.number is not None)

    @property
    def attempt(self) -> ChainAttempt | None:
        """The one that counts."""
        return self.attempts[-1] if self.attempts else None

    @property
    def settled(self) -> bool:
        """Whether all of it is paid for."""
        return bool(self.attempts) and all(attempt.settled for attempt in self.attempts)

    def with_attempt(self, attempt: ChainAttempt) -> JobRecord:
        """The record with its last attempt in a new state."""
        return replace(self, attempts=(*self.attempts[:-1], attempt))


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it was signed. ``script`` is what it asks for, "" if it asks for no job;
    ``void`` does nothing but use its nonce up."""

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
        """The one to send again."""
        return self.signed[-1]

    def with_signed(self, signed: SignedTransaction) -> NonceRecord:
        """The slot with one more transaction for the same nonce."""
        return replace(self, signed=(*self.signed, signed))
