"""Cancels, tops up and settles jobs that the chain has, and keeps what they cost.

Cancelling may be repeated, topping up may not: it is sent once and its outcome waited for. What a
job cost is read from the chain after its end, never reckoned here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot.backends.deepsquare import abi
from bot.backends.deepsquare.abi import ChainJob, Status, shown
from bot.backends.deepsquare.chain import Chain
from bot.backends.deepsquare.journal import Journal
from bot.backends.deepsquare.pricing import Runtimes
from bot.backends.deepsquare.records import Attempt, JobRecord, Purpose, Withdrawal
from bot.backends.deepsquare.reverts import Reverted, over_already, refusal
from bot.backends.deepsquare.sender import Sender
from bot.domain.errors import OutOfFunds, SubmissionRejected, Unavailable

log = logging.getLogger(__name__)


class Cashier:
    """For the jobs of one wallet."""

    def __init__(
        self,
        *,
        chain: Chain,
        sender: Sender,
        journal: Journal,
        runtimes: Runtimes,
        now: Callable[[], datetime],
    ) -> None:
        self._chain = chain
        self._sender = sender
        self._journal = journal
        self._runtimes = runtimes
        self._now = now

    async def stop(self, job_id: str) -> JobRecord | None:
        """Keep that somebody wants the job stopped: no further attempt is begun."""
        async with self._journal.job_lock(job_id):
            record = self._journal.job(job_id)
            if record is not None and not record.stopped:
                record = replace(record, stopped=True)
                self._journal.save_job(record)
            return record

    def stopped(self, job_id: str) -> bool:
        """Return whether somebody wants the job stopped."""
        record = self._journal.job(job_id)
        return record is not None and record.stopped

    async def withdraw(self, job_id: str, number: int, reason: Withdrawal | None = None) -> None:
        """Cancel the chain's job ``number``; nothing happens if it is over.

        ``reason`` is ours; None is somebody's wish. Raises Unavailable.
        """
        if reason is not None:
            await self._note(job_id, number, reason)
        data = abi.CANCEL_JOB.data(abi.job_bytes(number))
        try:
            slot = self._sender.slot_of(Purpose.CANCEL, job_id)
            if slot is None or slot.data != data:
                slot = await self._sender.send(Purpose.CANCEL, job_id, self._chain.scheduler, data)
            await self._sender.outcome(slot)
        except Reverted as error:
            if over_already(error.revert):
                return
            raise Unavailable(f"Grid job {number} cannot be cancelled: {error}") from error
        except OutOfFunds as error:
            raise Unavailable(f"Grid job {number} cannot be cancelled: {error}") from error
        self._journal.close_slot(slot.nonce)
        job = await self._chain.job(number)
        if job is not None and not job.status.terminal and not job.cancel_requested:
            raise Unavailable(f"the cancellation of Grid job {number} was not taken")

    async def top_up(self, job_id: str, number: int, wei: int) -> None:
        """Add to what the running job may cost, once: never repeated by itself.

        Raises OutOfFunds, SubmissionRejected (it does not run), Unavailable: what was sent is
        then still under way, and the same call finds out.
        """
        data = abi.TOP_UP_JOB.data(abi.job_bytes(number), wei)
        async with self._journal.job_lock(job_id):
            slot = self._sender.slot_of(Purpose.TOP_UP, job_id)
            try:
                if slot is None:
                    slot = await self._sender.send(
                        Purpose.TOP_UP, job_id, self._chain.scheduler, data
                    )
                else:
                    await self._sender.resend(slot)
                mined = await self._sender.outcome(slot)
            except Reverted as error:
                raise refusal(error.revert) from error
            self._journal.close_slot(slot.nonce)
        if mined is None or mined.signed.void or not mined.receipt.ok:
            raise SubmissionRejected(f"Grid job {number} could not be topped up")

    async def approve(self, wei: int) -> None:
        """Let the MetaScheduler draw up to ``wei`` from the wallet. Raises OutOfFunds for gas,
        Unavailable; repeating it is harmless."""
        contracts = await self._chain.contracts()
        data = abi.APPROVE.data(contracts.scheduler, wei)
        try:
            slot = await self._sender.send(Purpose.APPROVE, "", contracts.credit, data)
            await self._sender.outcome(slot)
        except Reverted as error:
            raise refusal(error.revert) from error
        self._journal.close_slot(slot.nonce)
        if await self._chain.allowance() != wei:
            raise Unavailable("the allowance is not what was just set; another program sets it too")

    async def settle(self, job_id: str, job: ChainJob) -> JobRecord | None:
        """Keep what a job that is over has cost, and how long it ran."""
        async with self._journal.job_lock(job_id):
            record = self._journal.job(job_id)
            attempt = _numbered(record, job.number)
            if record is None or attempt is None or attempt.settled or not job.status.terminal:
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
            self._journal.save_job(record)
        cost, locked = shown(job.final_cost), shown(job.max_cost)
        text = "Grid job %d is settled: %s of the %s credits locked were spent"
        log.info(text, job.number, cost, locked, extra={"job": job_id})
        return record

    async def close(self, job_id: str) -> None:
        """Nothing more will be done for the job: forget the member's words and the job's key."""
        async with self._journal.job_lock(job_id):
            record = self._journal.job(job_id)
            if record is not None and record.workflow is not None:
                self._journal.save_job(replace(record, workflow=None))

    async def _note(self, job_id: str, number: int, reason: Withdrawal) -> None:
        async with self._journal.job_lock(job_id):
            record = self._journal.job(job_id)
            attempt = _numbered(record, number)
            if record is not None and attempt is not None and attempt is record.attempt:
                changed = replace(attempt, withdrawal=reason, cancelled_at=self._now())
                self._journal.save_job(record.with_attempt(changed))


def _numbered(record: JobRecord | None, number: int) -> Attempt | None:
    attempts = record.attempts if record is not None else ()
    return next((each for each in attempts if each.number == number), None)
