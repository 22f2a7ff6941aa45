"""Cancel, top up and settle jobs on the chain, and record their cost.

Cancelling may be repeated, topping up may not: it raises the lock to a total that is saved first.
The cost is read from the chain after the end, never computed here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from bot.backends.deepsquare import abi
from bot.backends.deepsquare.abi import ChainJob, Status, format_credits
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.pricing import RuntimeSamples
from bot.backends.deepsquare.revert_errors import (
    ContractReverted,
    is_already_ended,
    to_backend_error,
)
from bot.backends.deepsquare.state import (
    CancelReason,
    ChainAttempt,
    JobRecord,
    NonceRecord,
    Purpose,
)
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.deepsquare.transactions import TransactionSender
from bot.domain.errors import InsufficientFunds, SubmissionRejected, Unavailable

log = logging.getLogger(__name__)


class JobSettlement:
    """Settle the jobs of one wallet."""

    def __init__(
        self,
        *,
        chain: ContractReader,
        sender: TransactionSender,
        store: StateStore,
        runtimes: RuntimeSamples,
        now: Callable[[], datetime],
        check_funds: Callable[[int], Awaitable[None]],
    ) -> None:
        """Take ``check_funds``, which raises InsufficientFunds if the wallet lacks so many wei."""
        self._chain = chain
        self._sender = sender
        self._store = store
        self._runtimes = runtimes
        self._now = now
        self._check_funds = check_funds

    async def cancel_job(self, job_id: str) -> JobRecord | None:
        """Save that the job is to be stopped: it is not submitted again."""
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            if record is not None and not record.stopped:
                record = replace(record, stopped=True)
                self._store.save_job(record)
            return record

    def is_stop_requested(self, job_id: str) -> bool:
        """Return whether the job is to be stopped."""
        record = self._store.job(job_id)
        return record is not None and record.stopped

    async def cancel_attempt(
        self, job_id: str, number: int, reason: CancelReason | None = None
    ) -> None:
        """Cancel the chain's job ``number``; do nothing if it has ended.

        ``reason`` is the bot's own; None is a member's request. Raises Unavailable.
        """
        if reason is not None:
            await self._save_cancel_reason(job_id, number, reason)
        data = abi.CANCEL_JOB.encode_call(abi.encode_job_number(number))
        try:
            pending = self._sender.pending_nonce(Purpose.CANCEL, job_id)
            if pending is None or pending.data != data:
                pending = await self._sender.send(
                    Purpose.CANCEL, job_id, self._chain.scheduler, data
                )
            await self._sender.wait_mined(pending)
        except ContractReverted as error:
            if is_already_ended(error.revert):
                return
            raise Unavailable(f"Grid job {number} cannot be cancelled: {error}") from error
        except InsufficientFunds as error:
            raise Unavailable(f"Grid job {number} cannot be cancelled: {error}") from error
        self._store.delete_transaction(pending.nonce)
        job = await self._chain.job(number)
        if job is not None and not job.status.is_terminal and not job.cancel_requested:
            raise Unavailable(f"the cancellation of Grid job {number} had no effect")

    async def extend(self, job_id: str, total: int) -> None:
        """Top the running job's lock up to ``total`` wei, at most once.

        The target is saved, then the transaction, and only then is it sent; its result is saved
        before it is deleted. A call that finds one pending finishes it and begins no other. Raises
        InsufficientFunds, SubmissionRejected (it does not run), Unavailable.
        """
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            attempt = record.attempt if record is not None else None
            if record is None or attempt is None or attempt.number is None:
                raise SubmissionRejected(f"the job {job_id} was never submitted")
            pending = self._sender.pending_nonce(Purpose.TOP_UP, job_id)
            try:
                if pending is None:
                    pending = await self._begin_top_up(record, attempt.number, total)
                else:
                    await self._sender.resend(pending)
                if pending is None:
                    return
                mined = await self._sender.wait_mined(pending)
            except (InsufficientFunds, ContractReverted, SubmissionRejected) as error:
                self._end_top_up(job_id, paid=False)
                raise (
                    to_backend_error(error.revert) if isinstance(error, ContractReverted) else error
                ) from error
            paid = mined is not None and mined.receipt.ok and not mined.signed.void
            self._end_top_up(job_id, paid=paid)
            self._store.delete_transaction(pending.nonce)
        if not paid:
            raise SubmissionRejected(f"Grid job {attempt.number} could not be topped up")

    async def _begin_top_up(self, record: JobRecord, number: int, total: int) -> NonceRecord | None:
        """Send the difference to ``total``; None if there is none, or the job is to be stopped."""
        attempt = record.attempt
        job = await self._chain.job(number)
        assert attempt is not None, "the caller checks it"
        # Our record and the chain's: an endpoint may lag behind what was just paid.
        have = max(attempt.lock, job.max_cost if job is not None else 0)
        if record.stopped or attempt.settled or total <= have:
            if attempt.lock_target:
                self._end_top_up(record.job_id, paid=False)
            return None
        self._store.save_job(record.with_attempt(replace(attempt, lock_target=total)))
        await self._check_funds(total - have)
        data = abi.TOP_UP_JOB.encode_call(abi.encode_job_number(number), total - have)
        return await self._sender.send(Purpose.TOP_UP, record.job_id, self._chain.scheduler, data)

    def _end_top_up(self, job_id: str, *, paid: bool) -> None:
        """Save the result of a top-up, before its transaction is deleted."""
        record = self._store.job(job_id)
        attempt = record.attempt if record is not None else None
        if record is None or attempt is None:
            return
        lock = max(attempt.lock, attempt.lock_target) if paid else attempt.lock
        self._store.save_job(record.with_attempt(replace(attempt, lock=lock, lock_target=0)))
        if paid:
            text = "Grid job %s was topped up to %s credits"
            log.info(text, attempt.number, format_credits(lock), extra={"job": job_id})

    async def finish_top_up(self, job_id: str) -> None:
        """Finish a pending top-up. Raises Unavailable."""
        if self._sender.pending_nonce(Purpose.TOP_UP, job_id) is not None:
            with contextlib.suppress(InsufficientFunds, SubmissionRejected):
                await self.extend(job_id, 0)

    async def approve(self, wei: int) -> None:
        """Set the MetaScheduler's allowance to ``wei``. Idempotent.

        Raises InsufficientFunds (gas), Unavailable.
        """
        contracts = await self._chain.contracts()
        data = abi.APPROVE.encode_call(contracts.scheduler, wei)
        try:
            pending = await self._sender.send(Purpose.APPROVE, "", contracts.credit, data)
            await self._sender.wait_mined(pending)
        except ContractReverted as error:
            raise to_backend_error(error.revert) from error
        self._store.delete_transaction(pending.nonce)
        if await self._chain.allowance() != wei:
            raise Unavailable("the allowance is not the one just set; another program sets it too")

    async def settle(self, job_id: str, job: ChainJob) -> JobRecord | None:
        """Save the cost and run time of a job that has ended."""
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            attempt = _find_attempt(record, job.number)
            if record is None or attempt is None or attempt.settled or not job.status.is_terminal:
                return record
            changed = replace(
                attempt,
                status=int(job.status),
                cost=job.final_cost,
                refund=max(0, job.max_cost - job.final_cost),
            )
            minutes = record.minutes
            if job.status is Status.FINISHED and job.exit_code == 0:
                minutes = max(0.0, (job.ended - job.started) / 60)
                self._runtimes.add(record.shape, minutes)
            attempts = tuple(changed if each is attempt else each for each in record.attempts)
            record = replace(record, attempts=attempts, minutes=minutes)
            self._store.save_job(record)
        cost, locked = format_credits(job.final_cost), format_credits(job.max_cost)
        text = "Grid job %d is settled: %s of the %s credits locked were spent"
        log.info(text, job.number, cost, locked, extra={"job": job_id})
        return record

    async def close_record(self, job_id: str) -> None:
        """Delete the job document, with the member's prompt and the job's key, from the record."""
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            if record is not None and record.workflow is not None:
                self._store.save_job(replace(record, workflow=None))

    async def _save_cancel_reason(self, job_id: str, number: int, reason: CancelReason) -> None:
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            attempt = _find_attempt(record, number)
            if record is not None and attempt is not None and attempt is record.attempt:
                changed = replace(attempt, withdrawal=reason, cancelled_at=self._now())
                self._store.save_job(record.with_attempt(changed))


def _find_attempt(record: JobRecord | None, number: int) -> ChainAttempt | None:
    attempts = record.attempts if record is not None else ()
    return next((each for each in attempts if each.number == number), None)
