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
from bot.backends.deepsquare.abi import ChainJob, format_credits, job_name
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

DEPTH = 500
"""Jobs that are looked at, from the newest back: an unfinished one is not far down."""


class ChainJobFinder:
    """Find the wallet's jobs on the chain; ``by_name`` reads them once, ``by_script`` each time."""

    def __init__(self, chain: ContractReader, store: StateStore) -> None:
        self._chain = chain
        self._store = store
        self._strangers: list[ChainJob] | None = None
        self._looking = asyncio.Lock()

    async def by_name(self, job_id: str, now: datetime) -> JobRecord | None:
        """Return a record for a job that the chain has under our id and the state store lacks."""
        async with self._looking:
            if self._strangers is None:
                ours = {number for record in self._store.jobs() for number in record.numbers}
                self._strangers = await self._jobs(lambda number: number not in ours)
        name = job_name(job_id)
        found = sorted(
            (job for job in self._strangers if job.name == name), key=lambda job: job.number
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
        for number in reversed((await self._chain.my_jobs())[-DEPTH:]):
            job = await self._chain.job(number)
            if job is not None and job.script in scripts:
                return number
        return None

    async def _jobs(self, wanted: Callable[[int], bool]) -> list[ChainJob]:
        numbers = (await self._chain.my_jobs())[-DEPTH:]
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
        self._search = ChainJobFinder(chain, store)

    async def find(self, job_id: str) -> JobRecord | None:
        """Return the job's record if the chain has the job. Raises Unavailable."""
        async with self._store.job_lock(job_id):
            record = await self._taken_up(job_id) or await self._found(job_id)
        return record if record is not None and record.numbers else None

    async def submit(self, submission: Submission) -> JobRecord:
        """Submit the job, unless it was submitted before. Raises as ``Backend.submit`` does."""
        async with self._store.job_lock(submission.job_id):
            record = await self._taken_up(submission.job_id)
            if record is not None and record.numbers:
                return record
            fresh = JobRecord(submission.job_id, self._chain.scheduler, self._now())
            return await self._begin(fresh, submission.workflow)

    async def load_confirmed(self, job_id: str) -> JobRecord:
        """Return the record with its last attempt confirmed on chain.

        An attempt that was never mined is dropped. Raises SubmissionRejected if the job was never
        submitted, Unavailable.
        """
        async with self._store.job_lock(job_id):
            record = await self._taken_up(job_id) or await self._found(job_id)
            if record is None or not record.numbers:
                raise SubmissionRejected(f"the job {job_id} was never handed over")
            if record.attempts[-1].number is not None:
                return record
            # Between two attempts: the first is settled, the second never came to be.
            record = replace(record, attempts=record.attempts[:-1])
            self._store.save_job(record)
            return record

    async def resubmit(self, job_id: str, after: int) -> JobRecord:
        """Submit another attempt once the first ``after`` attempts have ended and cost nothing.

        Raises as ``submit`` does, SubmissionRejected for a job that was stopped.
        """
        async with self._store.job_lock(job_id):
            record = await self._taken_up(job_id)
            if record is None:
                raise SubmissionRejected(f"the job {job_id} was never handed over")
            if len(record.attempts) > after and record.attempts[-1].number is not None:
                return record
            record = replace(record, attempts=record.attempts[:after])
            if record.workflow is None or record.stopped:
                raise SubmissionRejected(f"the job {job_id} is not to be handed over again")
            if not record.settled:
                raise Unavailable(f"the job {job_id} is not settled yet")
            return await self._begin(record, Workflow.from_dict(record.workflow))

    async def relocate(self, job_id: str) -> JobRecord | None:
        """Find the job by its script after its block was replaced, and save its new number."""
        async with self._store.job_lock(job_id):
            record = self._store.job(job_id)
            if record is None or record.attempt is None:
                return record
            attempt = record.attempt
            number = await self._search.by_script({attempt.script})
            if number is not None and number != attempt.number:
                log.warning("Grid job %s is now %d", attempt.number, number, extra={"job": job_id})
                record = record.with_attempt(replace(attempt, number=number))
                self._store.save_job(record)
            return record

    async def _found(self, job_id: str) -> JobRecord | None:
        """Make and save a record from the chain where our own is lost."""
        record = await self._search.by_name(job_id, self._now())
        if record is not None:
            self._store.save_job(record)
        return record

    async def _begin(self, record: JobRecord, workflow: Workflow) -> JobRecord:
        """Submit a new attempt, from the intent to the chain's number."""
        if not workflow.enable_logging:
            raise SubmissionRejected("enableLogging is off: nothing of the job would be seen")
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
            slot = await self._sender.send(
                Purpose.REQUEST,
                record.job_id,
                self._chain.scheduler,
                self._chain.request(definition, lock, record.job_id),
                script=script,
                script_at=attempt.script_at,
            )
        except ContractReverted as error:
            self._drop(record, kept)
            raise to_backend_error(error.revert) from error
        except (SubmissionRejected, InsufficientFunds):
            self._drop(record, kept)
            raise
        done = await self._resolved(record, slot)
        if done is None:
            raise Unavailable("the request was lost on the chain, unpaid; it can be sent anew")
        return done

    async def _taken_up(self, job_id: str) -> JobRecord | None:
        """Finish an interrupted request and return the job's record."""
        record = self._store.job(job_id)
        slot = self._sender.pending_nonce(Purpose.REQUEST, job_id)
        if record is None or slot is None:
            return record
        if record.attempt is not None and record.attempt.number is not None:
            # Saved, and then it crashed before the transaction was forgotten.
            self._store.close_slot(slot.nonce)
            return record
        try:
            await self._sender.resend(slot)
            done = await self._resolved(record, slot)
        except (InsufficientFunds, SubmissionRejected) as error:
            log.warning("an earlier request failed: %s", error, extra={"job": job_id})
            done = None
        return done or self._store.job(job_id)

    async def _resolved(self, record: JobRecord, slot: NonceRecord) -> JobRecord | None:
        """Wait until the request is mined and save the result. None if no job came of it.

        Raises the mapped error of a request that was mined and reverted.
        """
        mined = await self._sender.outcome(slot, self._renewal(record))
        current = self._store.slot(slot.nonce) or slot
        if mined is None:
            # By its nonce it cannot be mined any more. Before anything is paid anew, the chain
            # is asked for the job itself.
            number = await self._search.by_script({each.script for each in current.signed})
            return self._keep(record, current, number, current.newest.script, 0)
        if mined.receipt.ok and not mined.signed.void:
            number = self._chain.new_job(mined.receipt)
            return self._keep(record, current, number, mined.signed.script, mined.receipt.block)
        error = None if mined.signed.void else await self._why(current, mined)
        self._keep(record, current, None, "", 0)
        if error is not None:
            raise to_backend_error(error.revert) from error
        return None

    def _renewal(self, record: JobRecord) -> Renewal | None:
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

    def _keep(
        self, record: JobRecord, slot: NonceRecord, number: int | None, script: str, block: int
    ) -> JobRecord | None:
        """Save the result of a request, and only then delete its transaction."""
        attempt = record.attempt
        assert attempt is not None, "a request belongs to an attempt"
        if number is None:
            self._store.close_slot(slot.nonce)
            self._drop(record, record.attempts[:-1])
            return None
        signed = next((each for each in slot.signed if each.script == script), slot.newest)
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
        self._store.close_slot(slot.nonce)
        locked = format_credits(attempt.lock)
        log.info("Grid job %d: %s credits locked", number, locked, extra={"job": record.job_id})
        return record

    def _drop(self, record: JobRecord, kept: tuple[ChainAttempt, ...]) -> None:
        """Remove the last attempt, unless its transaction is still pending."""
        if self._sender.pending_nonce(Purpose.REQUEST, record.job_id) is not None:
            return  # something may still come of it: the record stays, and says so
        if kept:
            self._store.save_job(replace(record, attempts=kept))
        else:
            self._store.forget_job(record.job_id)

    async def _why(self, slot: NonceRecord, mined: MinedTransaction) -> ContractReverted:
        """Return why a mined transaction reverted, by calling again at its block."""
        try:
            await self._chain.rpc.call(
                slot.to, slot.data, sender=self._chain.me, block=mined.receipt.block
            )
        except ContractReverted as error:
            return error
        return ContractReverted(
            Revert("the request was refused when it was mined, and would not be now")
        )
