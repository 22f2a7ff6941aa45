"""Run one job to its end, from whatever state it was left in.

Each step saves its intent before it acts and its result after: SUBMITTING is saved before the
submission, and the backend is always asked whether it has the job before it is submitted. An outage
of the backend, a full disk or an unavailable store never fails a job: the step waits. Steps are
idempotent, so after an unforeseen error they are repeated; only a step that fails ``MAX_FAILURES``
times without any progress fails the job.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.backends.base import Backend, LogLine, Submission
from bot.concurrency import Backoff, delay_after
from bot.domain.errors import (
    ArtifactMissing,
    IllegalTransition,
    InsufficientFunds,
    InvalidRequest,
    LogStreamLost,
    StoreDamaged,
    SubmissionRejected,
    Unavailable,
    WorkflowError,
)
from bot.domain.events import (
    Accepted,
    BackendJobRef,
    Cancelled,
    Failed,
    FailureReason,
    ResultsFetched,
    RowReady,
)
from bot.domain.job import ACTIVE_STATES, SLOT_STATES, Job, JobState
from bot.domain.log_parser import LogOutput, LogParser
from bot.services.budget import BudgetService
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.delivery import DeliveryService
from bot.services.image_check import ImageCheckService
from bot.services.lifecycle import JobLifecycle
from bot.services.rendering import WorkflowRenderer
from bot.services.results import ResultFetcher
from bot.services.top_up import Extender
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import outlast

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
LOGGED_OUTPUT_LINES = 12
MAX_FAILURES = 5


Outcome = TypeVar("Outcome")


class JobWorker:
    """Run jobs: submit, follow, fetch, deliver. Many may run at once, one call of ``run`` each.

    ``on_delivered`` is called with a job whose result was delivered, posted or kept.
    """

    def __init__(
        self,
        *,
        lifecycle: JobLifecycle,
        backend: Backend,
        renderer: WorkflowRenderer,
        fetcher: ResultFetcher,
        delivery: DeliveryService,
        breaker: CircuitBreaker,
        budget: BudgetService,
        image_check: ImageCheckService | None = None,
        on_delivered: Callable[[Job], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._on_delivered = on_delivered
        self._lifecycle = lifecycle
        self._backend = backend
        self._renderer = renderer
        self._fetcher = fetcher
        self._delivery = delivery
        self._breaker = breaker
        self._budget = budget
        self._image_check = image_check
        self._extender = Extender(backend, budget, sleep=sleep)
        self._sleep = sleep

    async def run(
        self,
        job: Job,
        on_slot_free: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Job:
        """Run a scheduled job to its end and return it.

        ``on_slot_free`` is called as soon as the backend has finished with it, ``on_wait`` when its
        delivery has to wait for Discord.
        """
        failures = 0
        progress_before: tuple[JobState, int] | None = None
        try:
            while not job.state.terminal:
                if job.state not in SLOT_STATES:
                    on_slot_free()
                try:
                    job = await self._step_when_possible(job, on_wait)
                except StoreDamaged:
                    raise  # the job goes on at the backend, and here once the database is repaired
                except Exception:
                    job = await self._lifecycle.stored(job)
                    progress = job.state, sum(row.is_done for row in job.rows)
                    failures = failures + 1 if progress == progress_before else 1
                    progress_before = progress
                    log.exception(
                        "a step of the job failed (%d of at most %d times)",
                        failures,
                        MAX_FAILURES,
                        extra={"job": job.id},
                    )
                    if failures < MAX_FAILURES:
                        await self._sleep(delay_after(RETRY_DELAYS_S, failures - 1))
                        continue
                    # A defect must not keep the slot and the reservation for ever.
                    await self._cancel_at_backend(job)
                    job = await self._lifecycle.apply_event(
                        job, Failed(FailureReason.INTERNAL, _INTERNAL_ERROR)
                    )
        finally:
            self._fetcher.discard(job.id)
        self._budget.schedule_settlement(job)
        if job.state is JobState.FINISHED and self._on_delivered is not None:
            await self._on_delivered(job)
        return job

    async def _step_when_possible(self, job: Job, on_wait: Callable[[], None]) -> Job:
        """Do the next step, again while the disk is unavailable."""

        async def step() -> Job:
            # The stored job: an earlier attempt may have made progress.
            current = await self._lifecycle.stored(job)
            if current.state.terminal:
                return current
            with disk_faults():
                return await self._step(current, on_wait)

        return await outlast(f"the job ({job.state})", step, sleep=self._sleep, job=job.id)

    async def _cancel_at_backend(self, job: Job) -> None:
        """Cancel a job at the backend that is given up; errors are logged."""
        if job.handle is None or job.state not in ACTIVE_STATES:
            return
        try:
            await self._backend.cancel(job.handle)
        except Exception as error:
            # The job is given up because of a defect, which may be the backend's.
            log.error("the job could not be cancelled: %s", error, extra={"job": job.id})

    async def _step(self, job: Job, on_wait: Callable[[], None]) -> Job:
        match job.state:
            case JobState.SUBMITTING:
                return await self._submit(job)
            case JobState.PENDING | JobState.RUNNING:
                async with self._extender.watching(job):
                    return await self._follow(job)
            case JobState.COLLECTING:
                return await self._collect(job)
            case JobState.DELIVERING:
                package = self._fetcher.result(job)
                if self._image_check is not None:
                    job = await self._image_check.wait_allowed(job, package, on_wait)
                    if job.state.terminal:
                        return job
                delivered = await self._delivery.deliver(job, package, on_wait=on_wait)
                return await self._lifecycle.apply_event(job, delivered)
            case _:
                raise IllegalTransition(f"a job that is {job.state} cannot be run")

    async def _submit(self, job: Job) -> Job:
        try:
            handle = await self._retry_while_unavailable(lambda: self._backend.find(job.id))
            if handle is None and await self._lifecycle.is_cancel_requested(job):
                return await self._lifecycle.apply_event(job, Cancelled(0))
            if handle is None:
                workflow = await self._retry_while_unavailable(lambda: self._renderer.render(job))
                submission = Submission(job.id, workflow)
                refusal = await self._retry_while_unavailable(
                    lambda: self._budget.reserve(job, submission.workflow)
                )
                if refusal:
                    return await self._lifecycle.apply_event(
                        job, Failed(FailureReason.OUT_OF_FUNDS, refusal)
                    )
                handle = await self._find_or_submit(job, submission)
            if handle is None:
                return await self._lifecycle.apply_event(job, Cancelled(0))
        except (InvalidRequest, WorkflowError, SubmissionRejected) as error:
            log.error("the job was refused: %s", error, extra={"job": job.id})
            sentence = str(error) if isinstance(error, InvalidRequest) else _REFUSED
            return await self._lifecycle.apply_event(job, Failed(FailureReason.REJECTED, sentence))
        except ArtifactMissing as error:
            log.warning("the image to start from is missing: %s", error, extra={"job": job.id})
            return await self._lifecycle.apply_event(
                job, Failed(FailureReason.FILES_MISSING, _NO_INPUT)
            )
        except InsufficientFunds as error:
            log.error("the job cannot be paid for: %s", error, extra={"job": job.id})
            return await self._lifecycle.apply_event(
                job, Failed(FailureReason.OUT_OF_FUNDS, _NO_FUNDS)
            )
        return await self._lifecycle.apply_event(job, Accepted(handle))

    async def _find_or_submit(self, job: Job, submission: Submission) -> BackendJobRef | None:
        """Submit the job, unless an attempt before an outage did, and return its reference.

        Return None if it was cancelled while the backend was unavailable, and never submitted.
        """

        async def attempt() -> BackendJobRef | None:
            found = await self._backend.find(job.id)
            if found is None and await self._lifecycle.is_cancel_requested(job):
                return None
            return found or await self._backend.submit(submission)

        return await self._retry_while_unavailable(attempt)

    async def _follow(self, job: Job) -> Job:
        handle = job.handle
        assert handle is not None, "a job at the backend has a handle"
        parser = LogParser(await self._renderer.mac_key(job.id), len(job.rows))
        last_output: deque[str] = deque(maxlen=LOGGED_OUTPUT_LINES)
        cursor: str | None = None
        backoff = Backoff(RETRY_DELAYS_S)
        if job.cancelled_by is not None:
            await self._retry_while_unavailable(lambda: self._backend.cancel(handle))
        while True:
            try:
                async for item in self._backend.follow(handle, cursor):
                    backoff.reset()
                    if isinstance(item, LogLine):
                        cursor = item.cursor
                        parsed = parser.feed(item.data)
                    else:
                        self._breaker.record_success()
                        parsed = (*parser.close(), item)
                    for event in parsed:
                        if isinstance(event, LogOutput):
                            last_output.append(event.text)
                            continue
                        job = await self._lifecycle.apply_event(job, event)
                        self._extender.note(job)
                        if isinstance(event, RowReady) and job.state in ACTIVE_STATES:
                            self._fetcher.prefetch_row(job, job.rows[event.row - 1])
                    if job.state not in ACTIVE_STATES:
                        if job.state is JobState.FAILED:
                            _log_failure(job, last_output)
                        return job
            except LogStreamLost as error:
                log.warning("the log stream was lost: %s", error, extra={"job": job.id})
            except Unavailable as error:
                # The log may still be readable: follow it, even while the breaker is open.
                log.warning("the backend is unavailable: %s", error, extra={"job": job.id})
                self._breaker.record_failure(str(error))
            await self._sleep(backoff.next())

    async def _collect(self, job: Job) -> Job:
        try:
            rows = await self._fetcher.fetch_all(job)
        except (ArtifactMissing, Unavailable) as error:
            log.error("the images could not be fetched: %s", error, extra={"job": job.id})
            return await self._lifecycle.apply_event(
                job, Failed(FailureReason.FILES_MISSING, _NO_FILES)
            )
        return await self._lifecycle.apply_event(job, ResultsFetched(rows))

    async def _retry_while_unavailable(self, act: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return what ``act`` returns, called again while the backend is unavailable."""
        backoff = Backoff(RETRY_DELAYS_S)
        while True:
            await self._breaker.wait_closed()
            try:
                outcome = await act()
            except Unavailable as error:
                self._breaker.record_failure(str(error))
                await self._sleep(backoff.next())
            else:
                self._breaker.record_success()
                return outcome


_INTERNAL_ERROR = (
    "Something went wrong inside the bot, again and again. The operator can see it in the log."
)
_REFUSED = "The request could not be submitted. The operator can see why in the log."
_NO_INPUT = "The image to start from does not exist any more."
_NO_FUNDS = "There are no credits left to pay for this. The operator can see it in the log."
_NO_FILES = "The images were made but could not be fetched."


def _log_failure(job: Job, last_output: deque[str]) -> None:
    lines = "\n".join(f"    {line}" for line in last_output) or "    (nothing)"
    log.error(
        "the job failed (%s): %s The log ended with:\n%s",
        job.cause,
        job.failure_message,
        lines,
        extra={"job": job.id},
    )
