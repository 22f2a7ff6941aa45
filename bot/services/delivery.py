"""Deliver each result once, by the first delivery method that accepts it.

    interaction   edit the first response, while its token is valid
    channel       post a message in the channel
    direct        send a direct message to the author
    kept          post nothing; ``bot.services.redelivery`` tries again later

Only a definite refusal leads to the next method. If a method cannot be reached, or it is unknown
whether it accepted the result, the delivery waits, looks for the message of the last attempt, and
tries the same method again, for hours if needed.

Each attempt is saved before and after it is made. After a crash, an attempt without an outcome may
have been made: the transport looks for its message before it sends again. The transport defines
the methods; that of the command line has one, a folder.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from bot.concurrency import Backoff
from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import KEPT, Delivered, MessageRef
from bot.domain.job import Job
from bot.services.results import JobResult
from bot.store import audit, deliveries, jobs, pictures
from bot.store.database import Database
from bot.store.deliveries import REMOVAL, THREAD, DeliveryAttempt, DeliveryRepository
from bot.store.job_queries import InteractionRef
from bot.store.jobs import ERASED_PROMPT, JobRepository
from bot.store.wait_limits import waits_limited

__all__ = ["InteractionRef", "MessageStore", "StatusMessage", "is_erased"]

log = logging.getLogger(__name__)

ATTEMPT_TIMEOUT_S = 120.0
METHODS_TIMEOUT_S = 5.0


class DeliveryTransport(Protocol):
    """Sends results by one or more delivery methods."""

    async def methods(self, job: Job) -> tuple[str, ...]:
        """Return the methods to try now, best first; ``kept`` need not be named."""
        ...

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        """Send the result and return its message, if there is one.

        Raises DeliveryUnavailable or OSError if that is not possible now, or if it is unknown
        whether it was sent; any other DeliveryError if this method refuses it.
        """
        ...

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        """Return the message that an attempt, first made at ``since``, has sent, or None.

        Raises DeliveryUnavailable or OSError if that cannot be found out now, any other
        DeliveryError if it never can.
        """
        ...


class DeliveryService:
    """Try the delivery methods in order until one accepts the result; ``kept`` always does."""

    def __init__(
        self,
        database: Database,
        transport: DeliveryTransport,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        attempt_seconds: float = ATTEMPT_TIMEOUT_S,
    ) -> None:
        self._database = database
        self._reader = deliveries.DeliveryRepository(database)
        self._transport = transport
        self._now = now
        self._sleep = sleep
        self._chance = chance
        self._attempt_seconds = attempt_seconds

    async def deliver(
        self,
        job: Job,
        package: JobResult,
        *,
        again: bool = False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Delivered:
        """Deliver the result and return the method. Never raises for a refused delivery.

        ``again``: also try the methods that have refused it before. ``on_wait`` is called whenever
        the delivery has to wait. Idempotent: what was sent before is found, not sent again.
        """
        nonce = f"job-{job.id}"
        level = logging.INFO if again else logging.WARNING
        delays = _RetryDelays(job, Backoff(jitter=0.5, chance=self._chance), self._sleep, on_wait)
        if await self._is_removed(job):
            log.info("the result was removed by a moderator", extra={"job": job.id})
            return Delivered(KEPT)
        stored = await self._reader.attempts(job.id)
        attempts = {attempt.method: attempt for attempt in stored if attempt.nonce == nonce}
        for attempt in attempts.values():
            if attempt.delivered is False:
                continue
            # After a restore, an attempt may have been saved later than it was made.
            since = attempt.attempted_at if again else job.created_at
            message = await self._find_sent(attempt.method, job, nonce, since, delays)
            if message is not None or attempt.delivered:
                return await self._done(job, attempt.method, nonce, message)
        for method in await self._methods(job, on_wait):
            if await self._is_removed(job):
                break
            earlier = attempts.get(method)
            if earlier is not None and earlier.delivered is False and not again:
                continue
            at = self._now()
            await self._database.write(
                lambda link, method=method, at=at: deliveries.record_attempt(  # type: ignore[misc]
                    link, job.id, method, nonce, at=at
                )
            )
            try:
                message = await self._send(method, job, package, nonce, at, delays)
            except DeliveryError as error:
                log.log(level, "delivery by %s failed: %s", method, error, extra={"job": job.id})
                await self._record_failure(job, method, nonce, str(error))
                continue
            return await self._done(job, method, nonce, message)
        log.log(
            level, "the result is kept: the author finds it with /history", extra={"job": job.id}
        )
        return Delivered(KEPT)

    async def _is_removed(self, job: Job) -> bool:
        """Return whether moderators have removed the job's result."""
        stored = await self._reader.attempts(job.id)
        return any(attempt.method == REMOVAL for attempt in stored)

    async def _methods(self, job: Job, on_wait: Callable[[], None]) -> tuple[str, ...]:
        """Return the methods. They can take long to find while Discord is unavailable."""
        asking = asyncio.ensure_future(self._transport.methods(job))
        try:
            done, _ = await asyncio.wait({asking}, timeout=METHODS_TIMEOUT_S)
            if not done:
                on_wait()
            return await asking
        finally:
            asking.cancel()

    async def _send(
        self,
        method: str,
        job: Job,
        package: JobResult,
        nonce: str,
        since: datetime,
        delays: _RetryDelays,
    ) -> MessageRef | None:
        """Send by one method, again until it works. Raises DeliveryError if the method refuses."""
        while True:
            try:
                async with asyncio.timeout(self._attempt_seconds):
                    return await self._transport.send(method, job, package, nonce)
            except (DeliveryUnavailable, OSError) as error:
                await delays.after(method, error)
            message = await self._find_sent(method, job, nonce, since, delays)
            if message is not None:
                return message
            if await self._is_removed(job):
                raise DeliveryError("a moderator has removed the result meanwhile")

    async def _find_sent(
        self, method: str, job: Job, nonce: str, since: datetime, delays: _RetryDelays
    ) -> MessageRef | None:
        """Return the message of an earlier attempt, waiting until that can be found out."""
        while True:
            try:
                async with asyncio.timeout(self._attempt_seconds):
                    return await self._transport.find_sent(method, job, nonce, since)
            except (DeliveryUnavailable, OSError) as error:
                await delays.after(method, error)
            except DeliveryError as error:
                log.info("cannot look for an earlier message: %s", error, extra={"job": job.id})
                return None

    async def _done(
        self, job: Job, method: str, nonce: str, message: MessageRef | None
    ) -> Delivered:
        at = self._now()

        def save(link: sqlite3.Connection) -> None:
            deliveries.finish_attempt(link, job.id, method, nonce, delivered=True, at=at)
            if message is not None and deliveries.is_removed(link, job.id):
                deliveries.extend_removal(link, job.id, [message], at=at)

        await self._database.write(save)
        return Delivered(method, message)

    async def _record_failure(self, job: Job, method: str, nonce: str, detail: str) -> None:
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job.id, method, nonce, delivered=False, at=at, detail=detail
            )
        )


class _RetryDelays:
    """Wait between the attempts of one delivery. The first wait is logged as a warning."""

    def __init__(
        self,
        job: Job,
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[None]],
        on_wait: Callable[[], None],
    ) -> None:
        self._job = job
        self._backoff = backoff
        self._sleep = sleep
        self._on_wait = on_wait
        self._level = logging.WARNING

    async def after(self, method: str, error: DeliveryUnavailable | OSError) -> None:
        """Wait before the next attempt, at least as long as Discord asked for."""
        at_least = error.retry_after if isinstance(error, DeliveryUnavailable) else 0.0
        pause = self._backoff.next(at_least)
        log.log(
            self._level,
            "delivery by %s failed for now, next attempt in %.1f s: %s",
            method,
            pause,
            str(error) or "no answer in time",
            extra={"job": self._job.id},
        )
        self._level = logging.INFO
        self._on_wait()
        await self._sleep(pause)


def is_erased(job: Job) -> bool:
    """Whether the author had the texts of this request erased; it cannot be repeated then."""
    return job.request.prompt == ERASED_PROMPT


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """A job's status message, and the interaction it responds to while that is known."""

    message: MessageRef
    interaction: InteractionRef | None

    def is_token_valid(self, at: datetime) -> bool:
        """Whether the interaction's token can edit the message, for at least another minute."""
        # By the clock: Discord answers 401 to an expired token, and bans for too many of those.
        return (
            self.interaction is not None
            and (self.interaction.expires_at - at).total_seconds() > _TOKEN_MARGIN_S
        )


_TOKEN_MARGIN_S = 60.0
_RECENT = timedelta(days=1)
_ROWS_METHOD = "rows"
_ATTACHED_ROWS = "attached-rows"


class MessageStore:
    """Stores which message shows which job."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._deliveries = DeliveryRepository(database)
        self._jobs = JobRepository(database)

    async def status_message(self, job_id: str) -> StatusMessage | None:
        """Return the status message; None before it is posted and after it is deleted."""
        message = await self._deliveries.message(job_id, "card")
        if message is None:
            return None
        return StatusMessage(message, await self._jobs.interaction(job_id))

    async def thread(self, job_id: str) -> MessageRef | None:
        """Return the thread with the rows: its id and that of its first message."""
        return await self._deliveries.message(job_id, "thread")

    async def save_status_message(
        self,
        job_id: str,
        message: MessageRef,
        *,
        posted_at: datetime | None = None,
        answer: bool = True,
    ) -> None:
        """Save that the status message was posted, or now shows how the job has ended.

        ``posted_at``: when, if not now. Without ``answer`` it is a message that the interaction's
        token cannot edit.
        """
        at = self._now()

        def keep(link: sqlite3.Connection) -> None:
            deliveries.set_message(link, job_id, "card", message, at=posted_at or at)
            deliveries.close_status_message(link, job_id, at=at)
            if not answer:
                jobs.forget_token(link, job_id)

        await self._database.write(keep)

    async def status_messages_owed(self) -> tuple[str, ...]:
        """Return the jobs, of the last day or unfinished, whose status message was never saved."""
        return await self._deliveries.status_messages_owed(self._now() - _RECENT)

    async def status_message_owed(self, job_id: str) -> bool:
        """Whether the job still needs a status message: none was saved, and none was refused."""
        return await self._deliveries.status_message_owed(job_id)

    async def no_status_message(self, job_id: str, why_not: str) -> None:
        """Save that the job gets no status message, and why."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.close_status_message(link, job_id, at=at, why_not=why_not)
        )

    async def stale_status_messages(self, method: str) -> tuple[str, ...]:
        """Return ended jobs of the last day whose status message may not say so.

        Without those delivered by ``method``, where the status message became the result.
        """
        return await self._deliveries.stale_status_messages(self._now() - _RECENT, without=method)

    async def enqueue_rows(self, job_id: str) -> None:
        """Save that the rows are to be posted after the grid."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.record_attempt(link, job_id, _ROWS_METHOD, _ROWS_METHOD, at=at)
        )

    async def pending_rows(self) -> tuple[str, ...]:
        """Return the jobs whose rows are still to be posted."""
        return await self._deliveries.pending_jobs(_ROWS_METHOD)

    async def wants_rows(self, job_id: str) -> bool:
        """Return whether a job's rows are still to be posted."""
        return job_id in await self.pending_rows()

    async def complete_rows(self, job_id: str, why_not: str = "") -> None:
        """Save that the rows were posted or, with ``why_not``, will not be."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link,
                job_id,
                _ROWS_METHOD,
                _ROWS_METHOD,
                delivered=not why_not,
                at=at,
                detail=why_not,
            )
        )

    async def attach_rows(self, job_id: str) -> None:
        """Save that the rows are attached to the result, because a thread was refused."""
        await self._record_place(job_id, _ATTACHED_ROWS)

    async def attaches_rows(self, job_id: str) -> bool:
        """Return whether an attempt to post the rows has attached them, or was about to."""
        return await self._has_place(job_id, _ATTACHED_ROWS)

    async def open_thread(self, job_id: str) -> None:
        """Save that there is a thread, in which rows may be from now on."""
        await self._record_place(job_id, THREAD)

    async def has_thread(self, job_id: str) -> bool:
        """Return whether a thread for the rows was opened; it may be deleted by now."""
        return await self._has_place(job_id, THREAD) or (
            await self.thread(job_id) is not None  # by an earlier version
        )

    async def _record_place(self, job_id: str, place: str) -> None:
        at = self._now()
        await self._database.write(
            lambda link: deliveries.record_attempt(link, job_id, place, place, at=at)
        )

    async def _has_place(self, job_id: str, place: str) -> bool:
        attempts = await self._deliveries.attempts(job_id)
        return any(attempt.method == place for attempt in attempts)

    async def save_thread(self, job_id: str, first: MessageRef) -> None:
        """Save the thread with the rows; ``first`` is the thread and its first message."""
        await self._save_message(job_id, "thread", first)

    async def job_of(self, message_id: int) -> str | None:
        """Return the id of the job that a message belongs to, if there is one."""
        return await self._deliveries.job_of(message_id)

    async def forget(self, message_id: int) -> None:
        """Forget a message that was deleted. Idempotent."""
        await self._database.write(lambda link: deliveries.forget_message(link, message_id))

    async def removals(self, job_id: str) -> tuple[DeliveryAttempt, ...]:
        """Return what of a job's result moderators have removed, done or not."""
        attempts = await self._deliveries.attempts(job_id)
        return tuple(attempt for attempt in attempts if attempt.method == REMOVAL)

    async def extend_removal(self, job: Job) -> None:
        """Save that what was posted since a removal is to be deleted, too. Idempotent."""
        posted, at = [job.result] if job.result else [], self._now()
        await self._database.write(
            lambda link: deliveries.extend_removal(link, job.id, posted, at=at)
        )

    async def pending_removals(self) -> tuple[str, ...]:
        """Return the jobs with messages that are still to be removed."""
        return tuple(dict.fromkeys(await self._deliveries.pending_jobs(REMOVAL)))

    async def finish_removal(self, job_id: str, message: str, why_not: str = "") -> None:
        """Save that a message of a removed result is gone or, with ``why_not``, cannot be."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job_id, REMOVAL, message, delivered=not why_not, at=at, detail=why_not
            )
        )

    async def record_deletion(self, job: Job, message_id: int, by: int) -> None:
        """Forget a message that ``by`` deleted, with an audit entry unless that is the author.

        If it was the result, links to its pictures end.
        """
        at = self._now()

        def note(link: sqlite3.Connection) -> None:
            deliveries.forget_message(link, message_id)
            if job.result is not None and job.result.message_id == message_id:
                pictures.end_links(link, job.id)
            if by == job.request.author.id:
                return
            audit.record_action(
                link,
                at=at,
                guild_id=job.request.place.guild_id,
                actor_id=by,
                action="removed",
                subject=f"job:{job.id}",
                detail={
                    "author": job.request.author.id,
                    "channel": job.request.place.channel_id,
                    "prompt": job.request.prompt,
                    "seed": job.request.seed,
                },
            )

        await self._database.write(note)

    async def _save_message(
        self, job_id: str, kind: deliveries.MessageKind, message: MessageRef
    ) -> None:
        at = self._now()
        # Not limited by the time to answer a member: the message exists.
        with waits_limited(None):
            await self._database.write(
                lambda link: deliveries.set_message(link, job_id, kind, message, at=at)
            )
