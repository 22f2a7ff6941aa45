"""Store records as JSON files, one per job and per nonce, with locks across processes.

Files are written atomically and are readable by their owner alone. Two processes that share the
folder share one state: locks are the kernel's, so they end with the process that held them.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.backends.deepsquare.state import (
    CancelReason,
    ChainAttempt,
    JobRecord,
    NonceRecord,
    Purpose,
    SignedTransaction,
)
from bot.domain.errors import ConfigError, SubmissionRejected
from bot.domain.json_parser import parse_json
from bot.files import atomic_write, fsync_path

RETENTION = timedelta(days=30)
"""How long a settled job's record is kept: its run time sizes later locks."""

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class StateStore:
    """The state of one wallet on one chain, in ``root``. Methods that touch files block briefly."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._jobs = root / "jobs"
        self._transactions = root / "transactions"
        self._task_locks: dict[str, asyncio.Lock] = {}

    def prepare(self, now: datetime) -> None:
        """Create the folders, and delete what was settled long ago. Raises ConfigError."""
        try:
            for folder in (self._root.parent, self._root, self._jobs, self._transactions):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "[data] dir", f"cannot write to {self._root}: {error.strerror}", "Make it writable."
            ) from error
        for record in list(self.jobs()):
            if record.settled and now - record.created_at > RETENTION:
                self.delete_job(record.job_id)
        horizon = (now - RETENTION).timestamp()
        for path in (*self._root.rglob("*.part"), *self._jobs.glob("*.lock")):
            orphaned = not path.with_suffix(".json").exists()
            if orphaned and path.stat().st_mtime < horizon:
                path.unlink(missing_ok=True)

    def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record, or None. Raises ConfigError for a damaged one."""
        record: JobRecord | None = self._read(self._job_file(job_id), _parse_job)
        return record

    def save_job(self, record: JobRecord) -> None:
        """Save a job's record."""
        self._write(self._job_file(record.job_id), _to_json(record))

    def jobs(self) -> Iterator[JobRecord]:
        """Yield all records in the order of their file names, roughly by age."""
        for file in sorted(self._jobs.glob("*.json")):
            record = self._read(file, _parse_job)
            if record is not None:
                yield record

    def delete_job(self, job_id: str) -> None:
        """Delete a job's record. Its lock file stays: somebody may be waiting for it."""
        self._remove(self._job_file(job_id))

    def pending_transactions(self) -> tuple[NonceRecord, ...]:
        """Return the pending transactions, by nonce."""
        found = (
            self._read(file, _parse_nonce) for file in sorted(self._transactions.glob("*.json"))
        )
        return tuple(pending for pending in found if pending is not None)

    def pending_transaction(self, nonce: int) -> NonceRecord | None:
        """Return the pending transaction with that nonce, or None."""
        pending: NonceRecord | None = self._read(self._transaction_file(nonce), _parse_nonce)
        return pending

    def save_transaction(self, pending: NonceRecord) -> None:
        """Save a transaction; it may be sent only afterwards."""
        self._write(self._transaction_file(pending.nonce), _to_json(pending))

    def delete_transaction(self, nonce: int) -> None:
        """Delete a transaction whose result is saved, or that can never be mined."""
        self._remove(self._transaction_file(nonce))

    def read_note(self, name: str) -> dict[str, Any] | None:
        """Return a small document, such as a block cursor, or None."""
        try:
            found = parse_json((self._root / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def save_note(self, name: str, document: dict[str, Any]) -> None:
        """Save a small document whose loss costs only time."""
        self._write(self._root / f"{name}.json", document)

    @asynccontextmanager
    async def wallet_lock(self) -> AsyncIterator[None]:
        """Hold the wallet's lock: nobody else allocates a nonce, in this process or another."""
        async with self._locked(self._root / "wallet.lock"):
            yield

    @asynccontextmanager
    async def job_lock(self, job_id: str) -> AsyncIterator[None]:
        """Hold the job's lock: nobody else submits it."""
        async with self._locked(self._job_file(job_id).with_suffix(".lock")):
            yield

    @asynccontextmanager
    async def _locked(self, file: Path) -> AsyncIterator[None]:
        # Tasks of this process wait here, so that at most one thread waits for the kernel's lock.
        task_lock = self._task_locks.setdefault(file.name, asyncio.Lock())
        try:
            async with task_lock:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                locking = asyncio.ensure_future(
                    asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
                )
                try:
                    await asyncio.shield(locking)
                    yield
                finally:
                    # Closing lets go of the lock, also of one that the thread gets only after
                    # this has been cancelled.
                    if locking.done():
                        os.close(descriptor)
                    else:
                        locking.add_done_callback(lambda _: os.close(descriptor))
        finally:
            if not task_lock.locked():
                self._task_locks.pop(file.name, None)

    def _job_file(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise SubmissionRejected(f"{job_id!r} cannot be a job's name")
        return self._jobs / f"{job_id}.json"

    def _transaction_file(self, nonce: int) -> Path:
        return self._transactions / f"{nonce:012d}.json"

    def _read(self, file: Path, load: Any) -> Any:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return load(parse_json(text))
        except (ValueError, TypeError, KeyError) as error:
            hint = "Remove it only when its job, or its transaction, has ended."
            raise ConfigError(str(file), f"is damaged ({type(error).__name__})", hint) from error

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        with atomic_write(file) as part:
            part.write_text(json.dumps(document), encoding="utf-8")

    def _remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        fsync_path(file.parent)


def _to_json(value: Any) -> Any:
    """Convert a record to JSON values. Integers of any size stay integers."""
    match value:
        case JobRecord() | NonceRecord() | SignedTransaction() | ChainAttempt():
            return {each.name: _to_json(getattr(value, each.name)) for each in fields(value)}
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case tuple():
            return [_to_json(each) for each in value]
        case _:
            return value


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _parse_attempt(found: dict[str, Any]) -> ChainAttempt:
    withdrawal = found["withdrawal"]
    return ChainAttempt(
        **found
        | {
            "script_at": datetime.fromisoformat(found["script_at"]),
            "requested_at": _parse_time(found["requested_at"]),
            "cancelled_at": _parse_time(found["cancelled_at"]),
            "withdrawal": None if withdrawal is None else CancelReason(withdrawal),
        }
    )


def _parse_job(found: dict[str, Any]) -> JobRecord:
    return JobRecord(
        **found
        | {
            "created_at": datetime.fromisoformat(found["created_at"]),
            "attempts": tuple(_parse_attempt(each) for each in found["attempts"]),
        }
    )


def _parse_signed(found: dict[str, Any]) -> SignedTransaction:
    return SignedTransaction(
        **found
        | {
            "raw": bytes.fromhex(found["raw"]),
            "hash": bytes.fromhex(found["hash"]),
            "signed_at": datetime.fromisoformat(found["signed_at"]),
            "script_at": datetime.fromisoformat(found["script_at"]),
        }
    )


def _parse_nonce(found: dict[str, Any]) -> NonceRecord:
    return NonceRecord(
        **found
        | {
            "purpose": Purpose(found["purpose"]),
            "data": bytes.fromhex(found["data"]),
            "signed": tuple(_parse_signed(each) for each in found["signed"]),
            "opened_at": datetime.fromisoformat(found["opened_at"]),
        }
    )
