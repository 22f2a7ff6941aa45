"""The job queue: submit, cancel, positions, and the checks on submission.

Every request enters here. Checks, job, quota reservation and queue position are one transaction,
committed before the member reads "queued". The interaction's id is an idempotency key: Discord may
send the same interaction twice, and it makes one job.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, TypeVar

from bot.concurrency import SingleFlight
from bot.domain.errors import (
    BackendError,
    NotAllowed,
    QueueFull,
    RequestError,
    StoreUnavailable,
)
from bot.domain.events import Cancelled, CancelRequested, Scheduled
from bot.domain.job import SLOT_STATES, Job, JobState, apply_event, id_range, job_id, new_job
from bot.domain.moderation import Place, WordDecision
from bot.domain.quota import Quota
from bot.domain.request import Request
from bot.domain.scheduling import RunningJob, queue_order, seconds_left, start_times
from bot.services.admission import check_server, hold_for_words
from bot.services.allowance import (
    Actor,
    QuotaStatus,
    check_not_blocked,
    check_queue_limits,
    check_quota,
    load_quota_status,
)
from bot.services.lifecycle import JobLifecycle, Within
from bot.services.restrictions import read_restrictions
from bot.store import audit, deliveries, guilds, job_queries, ledger
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.job_queries import InteractionRef
from bot.store.jobs import JobRepository
from bot.store.moderation import ModerationRepository, WordRuleCache
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import (
    NO_ANSWER,
    limit_waits,
    max_wait_s,
    response_time_left,
    waits_limited,
)

__all__ = [
    "Actor",
    "JobQueue",
    "QueueLimits",
    "QueuePosition",
    "QuotaStatus",
    "SubmissionGate",
    "SubmitResult",
    "limit_waits",
    "response_time_left",
    "waits_limited",
]

log = logging.getLogger(__name__)

Value = TypeVar("Value")

AUDIT_TIMEOUT_S = 0.5
OPERATOR: Final = 0
"""The author id of jobs from the command line."""

_MAX_INLINE_JOBS = 100
_MAY_RUN_NOTHING = "not in the queue: a moderator has set the number of your running requests to 0"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The settings ``[queue]``: the most running and waiting jobs in all, and the default quota."""

    running: int
    waiting: int
    quota: Quota


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The job of a submission. ``created`` is False for an interaction that was seen before.

    ``images_left`` is what the member has left in the window after this job, None if unknown.
    ``notice`` is what the member is told privately beside the status message, or nothing.
    ``held``: it waits for a moderator.
    """

    job: Job
    created: bool
    images_left: int | None
    notice: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The position of a waiting job, from 1, with the ``reason`` for the member.

    ``position`` is 0 for a job that cannot start because its member may run nothing. ``starts_in``
    is None then, and while no run times are known. ``late``: a running job takes longer than
    expected, so the estimate is too early.
    """

    position: int
    reason: str
    starts_in: timedelta | None
    late: bool = False


@dataclass(slots=True)
class SubmissionGate:
    """Whether requests are accepted at all. A drain or an outage closes it with a reason."""

    closed_reason: str = field(default="")


class JobQueue:
    """Accept and cancel jobs, and tell their positions. ``Scheduler`` starts them."""

    def __init__(
        self,
        database: Database,
        lifecycle: JobLifecycle,
        limits: QueueLimits,
        *,
        now: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        wake: Callable[[], None],
        steps_run: Callable[[Request], int] = attrgetter("steps"),
        stop: Callable[[Job], Awaitable[None]],
        gate: SubmissionGate | None = None,
        styles: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._lifecycle = lifecycle
        self._limits = limits
        self._now = now
        self._entropy = entropy
        self._wake = wake
        self._steps_run = steps_run
        self._stop = stop
        self.jobs = JobRepository(database)
        self._moderation = ModerationRepository(database)
        self._styles = styles or {}
        self.word_rules = WordRuleCache()
        self._guilds = guilds.GuildRepository(database)
        # Every accepted request asks for its position; in a rush, many at once.
        self._shared_positions = SingleFlight(self._positions)
        self.gate = gate or SubmissionGate()

    async def submit(
        self,
        request: Request,
        member: Actor,
        interaction: InteractionRef | None = None,
        place: Place | None = None,
    ) -> SubmitResult:
        """Accept a request and queue its job. Idempotent for the same interaction.

        ``place`` is the request's channel with its parent and category; without it only the channel
        itself is known. Raises QuotaExceeded, QueueFull (also while paused), InvalidRequest (a word
        or channel rule) or NotAllowed (blocked, not here); then only an audit entry is stored.
        Raises StoreUnavailable if the caller's waits are limited.
        """
        where = place or Place(request.place.channel_id)
        accept = self.prepare([request], member, where, interaction=interaction)

        def accept_once(link: sqlite3.Connection) -> SubmitResult:
            if interaction is not None:
                known = job_queries.job_by_interaction(interaction.id).run(link)
                if known is not None:
                    status = self._quota_status(
                        link, known.request.place.guild_id, member, self._now()
                    )
                    return SubmitResult(known, False, status.left)
            return accept(link)[0]

        receipt = await self.write_admission(accept_once, [request])
        if receipt.created:
            self._wake()
        return receipt

    def prepare(
        self,
        requests: Sequence[Request],
        member: Actor,
        place: Place,
        *,
        interaction: InteractionRef | None = None,
        set_id: int | None = None,
    ) -> Callable[[sqlite3.Connection], tuple[SubmitResult, ...]]:
        """Return what accepts requests of one place in a transaction: all of them, or none.

        It raises what ``submit`` does. ``set_id`` is the set that the requests belong to.
        """
        at = self._now()
        chances = [(self._entropy(5), self._entropy(32)) for _ in requests]

        def accept(link: sqlite3.Connection) -> tuple[SubmitResult, ...]:
            left, holds = self.admit(link, requests, member, place, at)
            accepted: list[SubmitResult] = []
            for request, held, (chance, key) in zip(requests, holds, chances, strict=True):
                job = _new_job(link, request, at, chance)
                job_table.insert(
                    link,
                    job,
                    interaction=interaction,
                    mac_key=key,
                    role_ids=member.role_ids,
                    steps_run=self._steps_run(request),
                    parent_id=place.parent_id,
                    category_id=place.category_id,
                    age_restricted=place.age_restricted,
                    set_id=set_id,
                )
                ledger.reserve(link, job)
                if interaction is not None or set_id is not None:
                    deliveries.owe_status_message(link, job.id, at=at)
                if held is not None:
                    hold_for_words(link, job, held, at)
                left -= request.quota_images
                accepted.append(SubmitResult(job, True, left, held=held is not None))
            return tuple(accepted)

        return accept

    def admit(
        self,
        link: sqlite3.Connection,
        requests: Sequence[Request],
        member: Actor,
        place: Place,
        at: datetime,
    ) -> tuple[int, list[WordDecision | None]]:
        """Check requests of one place together, without storing anything.

        Return the images that the member has left before them, and for each request the word rule
        that holds it for moderators. Raises what ``submit`` does.
        """
        if self.gate.closed_reason:
            raise QueueFull(self.gate.closed_reason)
        check_not_blocked(link, requests[0], at)
        holds = check_server(
            *(link, requests, place, self.word_rules.rules, self._styles),
            *(member.role_ids, at),
        )
        allowance = self._quota_status(link, requests[0].place.guild_id, member, at)
        check_queue_limits(link, member, allowance.quota, self._limits.waiting, len(requests))
        check_quota(allowance, requests)
        return allowance.left, holds

    async def write_admission(
        self, write: Callable[[sqlite3.Connection], Value], requests: Sequence[Request]
    ) -> Value:
        """Run a transaction that may refuse requests; a refusal is recorded in the audit."""
        try:
            return await self._database.write(write)
        except RequestError as refusal:
            try:
                with waits_limited(AUDIT_TIMEOUT_S):
                    await self._record_refusal(requests, refusal)
            except StoreUnavailable as fault:
                # The member waits for the refusal, not for its audit entry.
                log.warning("the audit entry of a refusal could not be saved: %s", fault)
            raise

    def wake(self) -> None:
        """Have the scheduler look at accepted jobs."""
        self._wake()

    async def submit_immediate(self, request: Request) -> Job:
        """Accept the operator's request from the command line: without quota, to run at once.

        The caller runs the job; the scheduler ignores it.
        """
        at = self._now()
        chance, key = self._entropy(5), self._entropy(32)

        def insert(link: sqlite3.Connection) -> Job:
            queued = _new_job(link, request, at, chance)
            job = apply_event(queued, Scheduled(), at)
            steps = self._steps_run(request)
            job_table.insert(link, queued, interaction=None, mac_key=key, steps_run=steps)
            ledger.reserve(link, queued)
            job_table.save(link, job, expected=JobState.QUEUED, at=at)
            return job

        return await self._database.write(insert)

    async def cancel(self, wanted: str, by: Actor, within: Within = lambda _link: None) -> Job:
        """Cancel a waiting or running job for its author or a moderator of its server.

        ``within`` is called first, in the transaction that marks it. A running job is CANCELLED
        once the backend has stopped it; an ended one stays as it is.
        Raises NotAllowed, and RequestError if there is no such job or its images are ready.
        """
        job = await self.jobs.get(wanted)
        if job is None:
            raise RequestError("There is no such job.")
        if by.id != job.request.author.id and not by.moderator:
            raise NotAllowed("Only the member who requested this, or a moderator, can cancel it.")
        if job.state in (JobState.COLLECTING, JobState.DELIVERING):
            what = "it waits for a moderator" if job.is_held else "the images are being posted"
            raise RequestError(f"It is finished already; {what}.")
        if job.state.terminal:
            return job
        # The request to cancel first, even for a waiting job: if the scheduler starts it at this
        # moment, it must not end here while its worker submits it.
        job = await self._lifecycle.apply_event(job, CancelRequested(by.id), within)
        if job.state is JobState.QUEUED:
            cancelled = await self._lifecycle.apply_event(job, Cancelled(by.id))
            self._wake()
            return cancelled
        with disk_faults():
            await self._stop(job)
        return await self.jobs.get(wanted) or job

    async def stop(self, job_id: str) -> None:
        """Have the backend stop a running job whose cancel is stored; a failure is logged.

        After a restart the worker asks again.
        """
        job = await self.jobs.get(job_id)
        if job is None or job.state.terminal or job.cancelled_by is None:
            return
        try:
            with disk_faults():
                await self._stop(job)
        except BackendError as error:
            log.warning("the backend did not stop it: %s", error, extra={"job": job.id})

    async def position(self, job: Job) -> QueuePosition | None:
        """Return a waiting job's position; None for a job that is not waiting."""
        return (await self.positions()).get(job.id)

    async def positions(self) -> dict[str, QueuePosition]:
        """Return all positions by job id, as if nobody else joined. Shared: do not change it.

        Raises StoreUnavailable in a task whose waits are limited.
        """
        try:
            # The shared call has no limit of its own: it serves callers with different ones.
            async with asyncio.timeout(max_wait_s()):
                return await self._shared_positions.get()
        except TimeoutError as error:
            raise StoreUnavailable(self._database.unavailable or NO_ANSWER) from error

    async def _positions(self) -> dict[str, QueuePosition]:
        waiting = await self.jobs.waiting()
        if not waiting:
            return {}
        restrictions, _ = await read_restrictions(self._guilds, self._moderation, self._now())
        # Jobs of the command line take no slot.
        running_jobs = [
            active
            for active in await self.jobs.running()
            if active.state in SLOT_STATES and active.user_id != OPERATOR
        ]
        last_started = await self.jobs.last_started()
        limits = await self._guilds.running_limits()
        times = await self.jobs.run_times()
        at = self._now()

        def compute() -> dict[str, QueuePosition]:
            running = [
                RunningJob(active.job_id, active.user_id, active.channel_ids)
                for active in running_jobs
            ]
            per_user = self._limits.quota.running
            startable, reasons = restrictions.startable(waiting, running)
            order = queue_order(startable, running, last_started, per_user=per_user, limits=limits)
            starts: dict[str, float] = {}
            late = False
            if times.samples:
                seconds = {job.job_id: times.seconds(job.work) or 0.0 for job in startable}
                for active in running_jobs:
                    expected = times.seconds(active.work) or 0.0
                    seconds[active.job_id] = seconds_left(expected, active.dispatched_at, at)
                    late = late or seconds[active.job_id] == 0
                starts = start_times(
                    startable,
                    running,
                    last_started,
                    seconds,
                    slots=self._limits.running,
                    per_user=per_user,
                    limits=limits,
                )
            positions = {
                turn.job_id: QueuePosition(
                    position, turn.reason, _starts_in(starts, turn.job_id), late
                )
                for position, turn in enumerate(order, 1)
            }
            for job in waiting:
                # A limit of 0 keeps a member's jobs out of the order; the position says why.
                why = reasons.get(job.job_id, _MAY_RUN_NOTHING)
                positions.setdefault(job.job_id, QueuePosition(0, why, None))
            return positions

        # A long queue must not block the event loop.
        return await asyncio.to_thread(compute) if len(waiting) > _MAX_INLINE_JOBS else compute()

    async def allowance(self, guild_id: int, member: Actor) -> QuotaStatus:
        """Return a member's quota and its use on a server."""
        at = self._now()
        return await self._database.write(
            lambda link: self._quota_status(link, guild_id, member, at)
        )

    def _quota_status(
        self, link: sqlite3.Connection, guild_id: int, member: Actor, at: datetime
    ) -> QuotaStatus:
        return load_quota_status(link, self._limits.quota, guild_id, member, at)

    async def _record_refusal(self, requests: Sequence[Request], refusal: RequestError) -> None:
        at, first = self._now(), requests[0]
        images = sum(request.quota_images for request in requests)
        await self._database.write(
            lambda link: audit.record_action(
                link,
                at=at,
                guild_id=first.place.guild_id,
                actor_id=first.author.id,
                action="refused",
                subject=f"user:{first.author.id}",
                detail={"why": type(refusal).__name__, "images": images},
            )
        )


def _new_job(link: sqlite3.Connection, request: Request, at: datetime, chance: bytes) -> Job:
    """Return a job whose short id no job of the last day has: members type it."""
    newest = job_queries.newest_id(*id_range(at)).run(link)
    return new_job(job_id(at, chance, newest), request, at)


def _starts_in(starts: Mapping[str, float], job_id: str) -> timedelta | None:
    seconds = starts.get(job_id)
    return None if seconds is None else timedelta(seconds=seconds)
