"""Submit jobs to DeepSquare, find them again, and never pay for one twice.

The order matters: the intent is saved, then the script is submitted (which costs nothing), then the
transaction is signed and saved, and only then sent; the chain's job number is saved before the
transaction is deleted. Whatever is interrupted continues from what is saved. The chain can be
searched too: the job's name there is the bot's id, and the script's hash is unique to one attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot.backends.base import Submission
from bot.backends.deepsquare.abi import ChainJob, encode_job_name, format_credits
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.pricing import workload_key
from bot.backends.deepsquare.quotes import QuoteService
from bot.backends.deepsquare.revert_errors import ContractReverted, Revert, to_backend_error
from bot.backends.deepsquare.sbatch_client import SbatchClient
from bot.backends.deepsquare.state import ChainAttempt, JobRecord, NonceRecord, Purpose
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.deepsquare.transactions import MinedTransaction, Renewal, TransactionSender
from bot.domain.errors import InsufficientFunds, SubmissionRejected, Unavailable
from bot.domain.workflow.document import Workflow

log = logging.getLogger(__name__)

MAX_JOBS_SEARCHED = 500
"""Newest jobs that are searched: an unfinished one is among them."""


class ChainJobFinder:
    """Find the wallet's jobs on the chain; ``by_name`` reads them once, ``by_script`` each time."""

    def __init__(self, chain: ContractReader, store: StateStore) -> None:
        self._chain = chain
        self._store = store
        self._unrecorded: list[ChainJob] | None = None
        self._lock = asyncio.Lock()

    async def by_name(self, job_id: str, now: datetime) -> JobRecord | None:
        """Return a record for a job that the chain has under our id and the state store lacks."""
        async with self._lock:
            if self._unrecorded is None:
                ours = {number for record in self._store.jobs() for number in record.numbers}
                self._unrecorded = await self._jobs(lambda number: number not in ours)
        name = encode_job_name(job_id)
        found = sorted(
            (job for job in self._unrecorded if job.name == name), key=lambda job: job.number
        )
        if not found:
            return None
        attempts = tuple(
            ChainAttempt(
                script=job.script,
                script_at=datetime.fromtimestamp(job.submitted, now.tzinfo),
                lock=job.max_cost,
                number=job.number,
                requested_at=datetime.fromtimestamp(job.submitted, now.tzinfo),
            )
            for job in found
        )
        return JobRecord(job_id, self._chain.scheduler, now, attempts=attempts)

    async def by_script(self, scripts: set[str]) -> int | None:
        """Return the number of the newest job that runs one of these scripts."""
        for number in reversed((await self._chain.my_jobs())[-MAX_JOBS_SEARCHED:]):
            job = await self._chain.job(number)
            if job is not None and job.script in scripts:
                return number
        return None

    async def _jobs(self, wanted: Callable[[int], bool]) -> list[ChainJob]:
        numbers = (await self._chain.my_jobs())[-MAX_JOBS_SEARCHED:]
        reading = [self._chain.job(number) for number in numbers if wanted(number)]
        found = await asyncio.gather(*reading)
        return [job for job in found if job is not None]


class JobSubmitter:
    """Submit jobs from one wallet, each at most once. Takes a cross-process lock per job."""

    def __init__(
        self,
        *,
        chain: ContractReader,
        quotes: QuoteService,
        scripts: SbatchClient,
        sender: TransactionSender,
        store: StateStore,
        now: Callable[[], datetime],
    ) -> None:
        self._chain = chain
        self._quotes = quotes
        self._scripts = scripts
        self._sender = sender
        self._store = store
        self._now = now
        self._finder = ChainJobFinder(chain, store)

    async def find(self, job_id: str) -> JobRecord | None:
        """Return the job's record if the chain has the job. Raises Unavailable."""
        async with self._store.job_lock(job_id):
            record = await self._recover(job_id) or await self._adopt_from_chain(job_id)
        return record if record is not None and record.numbers else None

    async def submit(self, submission: Submission) -> JobRecord:
        """Submit the job, unless it was submitted before. Raises as ``Backend.submit`` does."""
        async with self._store.job_lock(submission.job_id):
            record = await self._recover(submission.job_id)
            if record is not None and record.numbers:
                return record
            fresh = JobRecord(submission.job_id, self._chain.scheduler, self._now())
            return await self._start_attempt(fresh, submission.workflow)

    async def load_confirmed(self, job_id: str) -> JobRecord:
        """Return the record with its last attempt confirmed on chain.

        An attempt that was never mined is dropped. Raises SubmissionRejected if the job was never
        submitted, Unavailable.
        """
        async with self._store.job_lock(job_id):
            record = await self._recover(job_id) or await self._adopt_from_chain(job_id)
            if record is None or not record.numbers:
                raise SubmissionRejected(f"the job {job_id} was never submitted")
            if record.attempts[-1].number is not None:
                return record
            # Between two attempts: the first is settled, the second was never mined.
            record = replace(record, attempts=record.attempts[:-1])
            self._store.save_job(record)
            return record

    async def resubmit(self, job_id: str, after: int) -> JobRecord:
        """Submit another attempt once the first ``after`` attempts have ended and cost nothing.

        Raises as ``submit`` does, SubmissionRejected for a job that was stopped.
        """
        async with self._store.job_lock(job_id):
            record = await self._recover(job_id)
            if record is None:
                raise SubmissionRejected(f"the job {job_id} was never submitted")
            if len(record.attempts) > after and record.attempts[-1].number is not None:
                return record
            record = replace(record, attempts=record.attempts[:after])
            if record.workflow is None or record.stopped:
                raise SubmissionRejected(f"the job {job_id} is not to be submitted again")
            if not record.settled:
                raise Unavailable(f"the job {job_id} is not settled yet")
            return await self._start_attempt(record, Workflow.from_dict(record.workflow))

    async def relocate(self, job_id: str) -> JobRecord | None:
        """Find the job by its script after its block was replaced, and save its new number."""
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            if record is None or record.attempt is None:
                return record
            attempt = record.attempt
            number = await self._finder.by_script({attempt.script})
            if number is not None and number != attempt.number:
                log.warning("Grid job %s is now %d", attempt.number, number, extra={"job": job_id})
                record = record.with_attempt(replace(attempt, number=number))
                self._store.save_job(record)
            return record

    async def _adopt_from_chain(self, job_id: str) -> JobRecord | None:
        """Make and save a record from the chain where our own is lost."""
        record = await self._finder.by_name(job_id, self._now())
        if record is not None:
            self._store.save_job(record)
        return record

    async def _start_attempt(self, record: JobRecord, workflow: Workflow) -> JobRecord:
        """Submit a new attempt, from the intent to the chain's number."""
        if not workflow.enable_logging:
            raise SubmissionRejected("enableLogging is off: the job could not be followed")
        lock = await self._quotes.lock_amount(workflow)
        await self._quotes.check_funds(lock)
        kept = record.attempts
        record = replace(record, shape=workload_key(workflow), workflow=workflow.to_dict())
        self._store.save_job(record)
        try:
            script = await self._scripts.submit(workflow)
            attempt = ChainAttempt(script, self._now(), lock)
            record = replace(record, attempts=(*kept, attempt))
            self._store.save_job(record)
            definition = self._quotes.definition(workflow, script)
            pending = await self._sender.send(
                Purpose.REQUEST,
                record.job_id,
                self._chain.scheduler,
                self._chain.request(definition, lock, record.job_id),
                script=script,
                script_at=attempt.script_at,
            )
        except ContractReverted as error:
            self._drop_attempt(record, kept)
            raise to_backend_error(error.revert) from error
        except (SubmissionRejected, InsufficientFunds):
            self._drop_attempt(record, kept)
            raise
        done = await self._wait_resolved(record, pending)
        if done is None:
            raise Unavailable(
                "the request was dropped from the chain, unpaid; it can be sent again"
            )
        return done

    async def _recover(self, job_id: str) -> JobRecord | None:
        """Finish an interrupted request and return the job's record."""
        record = self._store.job(job_id)
        pending = self._sender.pending_nonce(Purpose.REQUEST, job_id)
        if record is None or pending is None:
            return record
        if record.attempt is not None and record.attempt.number is not None:
            # A crash came between saving the number and deleting the transaction.
            self._store.delete_transaction(pending.nonce)
            return record
        try:
            await self._sender.resend(pending)
            done = await self._wait_resolved(record, pending)
        except (InsufficientFunds, SubmissionRejected) as error:
            log.warning("an earlier request failed: %s", error, extra={"job": job_id})
            done = None
        return done or self._store.job(job_id)

    async def _wait_resolved(self, record: JobRecord, pending: NonceRecord) -> JobRecord | None:
        """Wait until the request is mined and save the result. None if no job came of it.

        Raises the mapped error of a request that was mined and reverted.
        """
        mined = await self._sender.wait_mined(pending, self._script_renewal(record))
        current = self._store.pending_transaction(pending.nonce) or pending
        if mined is None:
            # Its nonce is used: it cannot be mined any more. Search the chain for the job itself
            # before anything is paid again.
            number = await self._finder.by_script({each.script for each in current.signed})
            return self._save_result(record, current, number, current.newest.script, 0)
        if mined.receipt.ok and not mined.signed.void:
            number = self._chain.new_job(mined.receipt)
            return self._save_result(
                record, current, number, mined.signed.script, mined.receipt.block
            )
        error = None if mined.signed.void else await self._revert_reason(current, mined)
        self._save_result(record, current, None, "", 0)
        if error is not None:
            raise to_backend_error(error.revert) from error
        return None

    def _script_renewal(self, record: JobRecord) -> Renewal | None:
        """Return a function that renders a fresh script for the same request."""
        attempt, document = record.attempt, record.workflow
        if attempt is None or document is None:
            return None

        async def renew() -> tuple[str, bytes]:
            workflow = Workflow.from_dict(document)
            script = await self._scripts.submit(workflow)
            definition = self._quotes.definition(workflow, script)
            return script, self._chain.request(definition, attempt.lock, record.job_id)

        return renew

    def _save_result(
        self, record: JobRecord, pending: NonceRecord, number: int | None, script: str, block: int
    ) -> JobRecord | None:
        """Save the result of a request, and only then delete its transaction."""
        attempt = record.attempt
        assert attempt is not None, "a request belongs to an attempt"
        if number is None:
            self._store.delete_transaction(pending.nonce)
            self._drop_attempt(record, record.attempts[:-1])
            return None
        signed = next((each for each in pending.signed if each.script == script), pending.newest)
        record = record.with_attempt(
            replace(
                attempt,
                script=signed.script,
                script_at=signed.script_at,
                number=number,
                block=block,
                requested_at=self._now(),
            )
        )
        self._store.save_job(record)
        self._store.delete_transaction(pending.nonce)
        locked = format_credits(attempt.lock)
        log.info("Grid job %d: %s credits locked", number, locked, extra={"job": record.job_id})
        return record

    def _drop_attempt(self, record: JobRecord, kept: tuple[ChainAttempt, ...]) -> None:
        """Remove the last attempt, unless its transaction is still pending."""
        if self._sender.pending_nonce(Purpose.REQUEST, record.job_id) is not None:
            return  # it may still be mined: the record stays
        if kept:
            self._store.save_job(replace(record, attempts=kept))
        else:
            self._store.delete_job(record.job_id)

    async def _revert_reason(
        self, pending: NonceRecord, mined: MinedTransaction
    ) -> ContractReverted:
        """Return why a mined transaction reverted, by calling again at its block."""
        try:
            await self._chain.rpc.call(
                pending.to, pending.data, sender=self._chain.customer, block=mined.receipt.block
            )
        except ContractReverted as error:
            return error
        return ContractReverted(
            Revert("the request reverted when it was mined, and would not revert now")
        )
