"""The backend's memory on disk: one JSON file a job, one a nonce, and the locks around them.

A file is written whole or not at all (temporary file, fsync, rename, fsync of the folder) and is
readable by its owner alone. Two processes that share the folder share one view of it: locks are
the kernel's, so they end with the process that held them. This module decides nothing.
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
from bot.files import atomic_write, fsync_path

KEPT = timedelta(days=30)
"""For so long a settled job's record is kept: its run time sizes later locks."""

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class StateStore:
    """``root`` is the folder of one wallet on one chain. Methods that touch files are blocking,
    and short."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._jobs = root / "jobs"
        self._slots = root / "transactions"
        self._turns: dict[str, asyncio.Lock] = {}

    def prepare(self, now: datetime) -> None:
        """Make the folders, and forget what was settled long ago. Raises ConfigError."""
        try:
            for folder in (self._root.parent, self._root, self._jobs, self._slots):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "[data] dir", f"cannot write to {self._root}: {error.strerror}", "Make it writable."
            ) from error
        for record in list(self.jobs()):
            if record.settled and now - record.created_at > KEPT:
                self.forget_job(record.job_id)
        horizon = (now - KEPT).timestamp()
        for left in (*self._root.rglob("*.part"), *self._jobs.glob("*.lock")):
            over = not left.with_suffix(".json").exists()
            if over and left.stat().st_mtime < horizon:
                left.unlink(missing_ok=True)

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record, or None. Raises ConfigError for a damaged one."""
        record: JobRecord | None = self._read(self._job_file(job_id), _job)
        return record

    def save_job(self, record: JobRecord) -> None:
        """Keep a job's record."""
        self._write(self._job_file(record.job_id), _plain(record))

    def jobs(self) -> Iterator[JobRecord]:
        """All records, in the order of their names, which is roughly that of time."""
        for file in sorted(self._jobs.glob("*.json")):
            record = self._read(file, _job)
            if record is not None:
                yield record

    def forget_job(self, job_id: str) -> None:
        """Remove a job's record. Its lock stays: somebody may be waiting for it."""
        self._remove(self._job_file(job_id))

    def slots(self) -> tuple[NonceRecord, ...]:
        """The transactions that are not resolved, by nonce."""
        found = (self._read(file, _slot) for file in sorted(self._slots.glob("*.json")))
        return tuple(slot for slot in found if slot is not None)

    def slot(self, nonce: int) -> NonceRecord | None:
        """One of them."""
        slot: NonceRecord | None = self._read(self._slot_file(nonce), _slot)
        return slot

    def save_slot(self, slot: NonceRecord) -> None:
        """Keep a transaction; only afterwards may it be sent."""
        self._write(self._slot_file(slot.nonce), _plain(slot))

    def close_slot(self, nonce: int) -> None:
        """Forget a transaction: what it led to is saved, or it can lead to nothing."""
        self._remove(self._slot_file(nonce))

    def read_note(self, name: str) -> dict[str, Any] | None:
        """A small document, such as a block cursor; None if there is none (any more)."""
        try:
            found = json.loads((self._root / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def save_note(self, name: str, document: dict[str, Any]) -> None:
        """Keep a small document whose loss costs only time."""
        self._write(self._root / f"{name}.json", document)

    @asynccontextmanager
    async def wallet_lock(self) -> AsyncIterator[None]:
        """Nobody else allocates a nonce meanwhile, in this process or another."""
        async with self._locked(self._root / "wallet.lock"):
            yield

    @asynccontextmanager
    async def job_lock(self, job_id: str) -> AsyncIterator[None]:
        """Nobody else submits this job meanwhile."""
        async with self._locked(self._job_file(job_id).with_suffix(".lock")):
            yield

    @asynccontextmanager
    async def _locked(self, file: Path) -> AsyncIterator[None]:
        # Within the process one waits here, so that at most one thread waits for the kernel's.
        turn = self._turns.setdefault(file.name, asyncio.Lock())
        try:
            async with turn:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                getting = asyncio.ensure_future(
                    asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
                )
                try:
                    await asyncio.shield(getting)
                    yield
                finally:
                    # Closing lets go of the lock, also of one that the thread gets only after
                    # this has been cancelled.
                    if getting.done():
                        os.close(descriptor)
                    else:
                        getting.add_done_callback(lambda _: os.close(descriptor))
        finally:
            if not turn.locked():
                self._turns.pop(file.name, None)

    def _job_file(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise SubmissionRejected(f"{job_id!r} cannot be a job's name")
        return self._jobs / f"{job_id}.json"

    def _slot_file(self, nonce: int) -> Path:
        return self._slots / f"{nonce:012d}.json"

    def _read(self, file: Path, load: Any) -> Any:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return load(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            hint = "Move it away only when its job, or its transaction, is known to be over."
            raise ConfigError(str(file), f"is damaged ({type(error).__name__})", hint) from error

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        with atomic_write(file) as part:
            part.write_text(json.dumps(document), encoding="utf-8")

    def _remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        fsync_path(file.parent)


def _plain(value: Any) -> Any:
    """A record as JSON's values. Numbers of any size are whole numbers in JSON too."""
    match value:
        case JobRecord() | NonceRecord() | SignedTransaction() | ChainAttempt():
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _attempt(found: dict[str, Any]) -> ChainAttempt:
    withdrawal = found["withdrawal"]
    return ChainAttempt(
        **found
        | {
            "script_at": datetime.fromisoformat(found["script_at"]),
            "requested_at": _moment(found["requested_at"]),
            "cancelled_at": _moment(found["cancelled_at"]),
            "withdrawal": None if withdrawal is None else CancelReason(withdrawal),
        }
    )


def _job(found: dict[str, Any]) -> JobRecord:
    return JobRecord(
        **found
        | {
            "created_at": datetime.fromisoformat(found["created_at"]),
            "attempts": tuple(_attempt(each) for each in found["attempts"]),
        }
    )


def _signed(found: dict[str, Any]) -> SignedTransaction:
    return SignedTransaction(
        **found
        | {
            "raw": bytes.fromhex(found["raw"]),
            "hash": bytes.fromhex(found["hash"]),
            "signed_at": datetime.fromisoformat(found["signed_at"]),
            "script_at": datetime.fromisoformat(found["script_at"]),
        }
    )


def _slot(found: dict[str, Any]) -> NonceRecord:
    return NonceRecord(
        **found
        | {
            "purpose": Purpose(found["purpose"]),
            "data": bytes.fromhex(found["data"]),
            "signed": tuple(_signed(each) for each in found["signed"]),
            "opened_at": datetime.fromisoformat(found["opened_at"]),
        }
    )
