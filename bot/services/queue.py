"""The one door: every request enters here, from Discord, the playground or a button.

Accepted means kept: limits, quota, the request, its reservation and its place in line are one
transaction, committed before anyone reads "queued". The interaction's id makes one press one job.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from bot.concurrency import SingleFlight
from bot.domain import quota as quotas
from bot.domain.errors import NotAllowed, QueueFull, QuotaExceeded, RequestError, StoreUnavailable
from bot.domain.events import Cancelled, CancelRequested, Scheduled
from bot.domain.job import SLOT_STATES, Job, JobState, apply_event, job_id, new_job
from bot.domain.quota import Quota, QuotaDenied, QuotaUsage
from bot.domain.request import Request
from bot.domain.scheduling import RunningJob, queue_order, seconds_left, start_times
from bot.services.lifecycle import JobLifecycle
from bot.store import audit, deliveries, guilds, ledger, moderation
from bot.store import jobs as job_table
from bot.store.database import Database
from bot.store.job_queries import InteractionRef
from bot.store.jobs import JobRepository
from bot.store.sqlite_errors import disk_faults
from bot.store.wait_limits import limit_waits, waits_limited

__all__ = [
    "Actor",
    "JobQueue",
    "QueueLimits",
    "QueuePosition",
    "QuotaStatus",
    "SubmissionGate",
    "SubmitResult",
    "limit_waits",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as Discord says at this moment; ``moderator`` is already checked."""

    id: int
    name: str
    role_ids: frozenset[int] = frozenset()
    moderator: bool = False


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """A member's quota and what of it is used now."""

    quota: Quota
    usage: QuotaUsage
    at: datetime
    waiting: int = 0
    running: int = 0

    @property
    def left(self) -> int:
        """Images that may still be made now."""
        return self.usage.left(self.quota, self.at)

    @property
    def used(self) -> int:
        """Images charged in the window."""
        return self.usage.used(self.quota, self.at)

    @property
    def resets_at(self) -> datetime | None:
        """When the oldest charge leaves the window."""
        return self.usage.resets_at(self.quota, self.at)


def load_quota_status(
    link: sqlite3.Connection, default: Quota, guild_id: int, member: Actor, at: datetime
) -> QuotaStatus:
    """What a member may make on a server, ``default`` where no moderator has said otherwise."""
    rules = guilds.rules(link, guild_id)
    quota = quotas.effective_quota(default, rules, member.role_ids, member.id)
    used = ledger.usage(link, guild_id, member.id, at - quota.window)
    counts = job_table.counts(link, member.id)
    return QuotaStatus(quota, used, at, counts.waiting, counts.in_flight)


def check_not_blocked(link: sqlite3.Connection, request: Request, at: datetime) -> None:
    """Raises NotAllowed for a blocked member, QueueFull while moderators have paused."""
    guild = request.place.guild_id
    blocked = moderation.blocked(link, guild, request.author.id, at)
    if blocked is not None:
        until = f" until <t:{int(blocked.until.timestamp())}:f>" if blocked.until else ""
        raise NotAllowed(f"The moderators of this server have blocked you{until}.")
    paused = guilds.settings(link, guild).get("paused")
    if paused:
        why = f" ({paused})" if isinstance(paused, str) else ""
        raise QueueFull(f"The moderators have paused new requests{why}. Try again later.")


def check_queue_limits(link: sqlite3.Connection, member: Actor, quota: Quota, waiting: int) -> None:
    """Raises QueueFull: too many wait for this member, or ``waiting`` and more in all."""
    counts = job_table.counts(link, member.id)
    if counts.waiting >= quota.waiting:
        count = f"{quota.waiting} request{'s' if quota.waiting != 1 else ''}"
        raise QueueFull(
            f"You already have {counts.waiting} waiting; at most {count} may wait at a time. "
            "Cancel one with /cancel, or wait until one starts."
        )
    if counts.waiting_of_all >= waiting:
        raise QueueFull(
            f"The line is full: {counts.waiting_of_all} requests are waiting. "
            "Try again when some of them are done."
        )


def check_quota(allowance: QuotaStatus, request: Request) -> None:
    """Raises QuotaExceeded, saying when as many images are free."""
    outcome = quotas.check_quota(allowance.quota, allowance.usage, request.images, allowance.at)
    if not isinstance(outcome, QuotaDenied):
        return
    window = quotas.format_window(allowance.quota.window)
    have = f"You have {outcome.left} of {allowance.quota.images} images left per {window}"
    need = f"this needs {request.images}"
    if outcome.retry_at is None:
        raise QuotaExceeded(
            f"{have}, and {need}, which is more than your quota ever holds. "
            "Ask for fewer rows or samples.",
            retry_at=None,
        )
    moment = int(outcome.retry_at.timestamp()) + 1
    raise QuotaExceeded(
        f"{have}, and {need}. That much is free again <t:{moment}:R> (<t:{moment}:t>).",
        retry_at=outcome.retry_at,
    )


NOTE_SECONDS = 0.5
OPERATOR: Final = 0
"""The author of jobs from the command line."""

_SHORT_LINE = 100
_BARRED = "not in line: a moderator has set how many of your requests may run at once to 0"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """``[queue]``: jobs running in all and per member, and waiting in all."""

    running: int
    waiting: int
    quota: Quota


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What became of a submission. ``created`` is False for a press that was seen before.

    ``left`` is how many images the member has left in the window, this job taken off.
    """

    job: Job
    created: bool
    images_left: int


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A waiting job's place: ``position`` counts from 1, ``reason`` says why in words.

    ``position`` is 0 for a job that cannot start: its member may run nothing at all. ``starts_in``
    is None then, and while nothing was measured. ``late``: a job that runs takes longer than was
    expected of it.
    """

    position: int
    reason: str
    starts_in: timedelta | None
    late: bool = False


@dataclass(slots=True)
class SubmissionGate:
    """Whether requests are taken at all; a drain or an outage may close it with a reason."""

    closed_reason: str = field(default="")


class JobQueue:
    """Accepts, cancels, and says who stands where. Knows nothing of slots: see the dispatcher."""

    def __init__(
        self,
        database: Database,
        lifecycle: JobLifecycle,
        limits: QueueLimits,
        *,
        now: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        wake: Callable[[], None],
        steps_run: Callable[[int], int] = int,
        stop: Callable[[Job], Awaitable[None]],
        gate: SubmissionGate | None = None,
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
        self._guilds = guilds.GuildRepository(database)
        # Every accepted request asks for its place: in a rush, many at once.
        self._line = SingleFlight(self._positions)
        self.gate = gate or SubmissionGate()

    async def submit(
        self, request: Request, member: Actor, interaction: InteractionRef | None = None
    ) -> SubmitResult:
        """Take a request in.

        Raises QuotaExceeded, QueueFull, NotAllowed (blocked) or RequestError (paused); then
        nothing was stored but an audit line.
        """
        at = self._now()
        job = new_job(job_id(at, self._entropy(5)), request, at)
        key = self._entropy(32)

        def accept(link: sqlite3.Connection) -> SubmitResult:
            if interaction is not None:
                known = job_table.by_interaction(link, interaction.id)
                if known is not None:
                    place = known.request.place
                    return SubmitResult(
                        known, False, self._allowance(link, place.guild_id, member, at).left
                    )
            if self.gate.closed_reason:
                raise QueueFull(self.gate.closed_reason)
            check_not_blocked(link, request, at)
            allowance = self._allowance(link, request.place.guild_id, member, at)
            check_queue_limits(link, member, allowance.quota, self._limits.waiting)
            check_quota(allowance, request)
            job_table.insert(
                link,
                job,
                interaction=interaction,
                mac_key=key,
                role_ids=member.role_ids,
                steps_run=self._steps_run(request.steps),
            )
            ledger.reserve(link, job)
            if interaction is not None:
                deliveries.owe_card(link, job.id, at=at)
            return SubmitResult(job, True, allowance.left - request.images)

        try:
            receipt = await self._database.write(accept)
        except RequestError as refusal:
            try:
                with waits_limited(NOTE_SECONDS):
                    await self._note_refusal(request, refusal, at)
            except StoreUnavailable as fault:
                # The member waits for the refusal, not for the record of it.
                log.warning("a refusal could not be put on record: %s", fault)
            raise
        if receipt.created:
            self._wake()
        return receipt

    async def submit_immediate(self, request: Request) -> Job:
        """The operator's own request, from the command line: no quota, no line, its turn is now.

        Whoever calls this carries the job; the dispatcher leaves it alone.
        """
        at = self._now()
        queued = new_job(job_id(at, self._entropy(5)), request, at)
        job = apply_event(queued, Scheduled(), at)
        key = self._entropy(32)

        def insert(link: sqlite3.Connection) -> None:
            steps = self._steps_run(request.steps)
            job_table.insert(link, queued, interaction=None, mac_key=key, steps_run=steps)
            ledger.reserve(link, queued)
            job_table.save(link, job, expected=JobState.QUEUED, at=at)

        await self._database.write(insert)
        return job

    async def cancel(self, wanted: str, by: Actor) -> Job:
        """Stop a job, waiting or running, for its author or a moderator of its server.

        A running job is CANCELLED once the backend has stopped it. Raises NotAllowed, and
        RequestError if there is no such job or its picture is ready already.
        """
        job = await self.jobs.get(wanted)
        if job is None:
            raise RequestError("There is no such job.")
        if by.id != job.request.author.id and not by.moderator:
            raise NotAllowed("Only its author or a moderator can cancel this.")
        if job.state in (JobState.COLLECTING, JobState.DELIVERING):
            raise RequestError("It is finished already; the pictures are on their way.")
        if job.state.terminal:
            return job
        # The wish first, even in the line: a job whose turn comes at this moment must not be
        # ended here while its runner hands it over.
        job = await self._lifecycle.apply_event(job, CancelRequested(by.id))
        if job.state is JobState.QUEUED:
            cancelled = await self._lifecycle.apply_event(job, Cancelled(by.id))
            self._wake()
            return cancelled
        with disk_faults():
            await self._stop(job)
        return await self.jobs.get(wanted) or job

    async def position(self, job: Job) -> QueuePosition | None:
        """Where a waiting job stands; None once its turn has come."""
        return (await self.positions()).get(job.id)

    async def positions(self) -> dict[str, QueuePosition]:
        """The whole line as it would move if nobody joined it, by job id; not to be changed."""
        return await self._line.get()

    async def _positions(self) -> dict[str, QueuePosition]:
        waiting = await self.jobs.waiting()
        if not waiting:
            return {}
        # The command line's own jobs take no slot from anybody.
        flights = [
            one
            for one in await self.jobs.running()
            if one.state in SLOT_STATES and one.user_id != OPERATOR
        ]
        last_started = await self.jobs.last_started()
        limits = await self._guilds.running_limits()
        times = await self.jobs.run_times()
        at = self._now()

        def places() -> dict[str, QueuePosition]:
            running = [RunningJob(flight.job_id, flight.user_id) for flight in flights]
            per_user = self._limits.quota.running
            turns = queue_order(waiting, running, last_started, per_user=per_user, limits=limits)
            starts: dict[str, float] = {}
            late = False
            if times.samples:
                seconds = {job.job_id: times.seconds(job.work) or 0.0 for job in waiting}
                for flight in flights:
                    expected = times.seconds(flight.work) or 0.0
                    seconds[flight.job_id] = seconds_left(expected, flight.dispatched_at, at)
                    late = late or seconds[flight.job_id] == 0
                starts = start_times(
                    waiting,
                    running,
                    last_started,
                    seconds,
                    slots=self._limits.running,
                    per_user=per_user,
                    limits=limits,
                )
            positions = {
                turn.job_id: QueuePosition(position, turn.reason, _after(starts, turn.job_id), late)
                for position, turn in enumerate(turns, 1)
            }
            for job in waiting:
                # A limit of 0 leaves a member out of the line: their card must say why.
                positions.setdefault(job.job_id, QueuePosition(0, _BARRED, None))
            return positions

        # A long line must not keep the event loop from answering Discord.
        return await asyncio.to_thread(places) if len(waiting) > _SHORT_LINE else places()

    async def allowance(self, guild_id: int, member: Actor) -> QuotaStatus:
        """What a member may make, and has made, on a server."""

        at = self._now()
        return await self._database.write(lambda link: self._allowance(link, guild_id, member, at))

    def _allowance(
        self, link: sqlite3.Connection, guild_id: int, member: Actor, at: datetime
    ) -> QuotaStatus:
        return load_quota_status(link, self._limits.quota, guild_id, member, at)

    async def _note_refusal(self, request: Request, refusal: RequestError, at: datetime) -> None:
        await self._database.write(
            lambda link: audit.record_action(
                link,
                at=at,
                guild_id=request.place.guild_id,
                actor_id=request.author.id,
                action="refused",
                subject=f"user:{request.author.id}",
                detail={"why": type(refusal).__name__, "images": request.images},
            )
        )


def _after(starts: Mapping[str, float], job_id: str) -> timedelta | None:
    seconds = starts.get(job_id)
    return None if seconds is None else timedelta(seconds=seconds)
