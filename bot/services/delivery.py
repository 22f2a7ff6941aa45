"""Handing a result over, once, by the first rung of the ladder that holds.

    interaction   edit the first answer, while its token lives
    channel       a message of the bot's own
    direct        a direct message to the author
    kept          nothing is posted; the result waits until a way is open (``bot.services.redelivery``)

Only a definite refusal leads to the next rung. Where a rung cannot be reached, or nobody can say
whether it took the result, the delivery waits, looks whether the last attempt took effect, and
tries the same rung again, for hours if need be.

Each attempt is written down before it is made and after. An attempt without an outcome, after a
crash, was perhaps made: the courier is asked to look before it posts again. What a rung means is
the courier's business; the command line's only rung is a folder.
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
from bot.store import audit, deliveries, jobs
from bot.store.database import Database
from bot.store.deliveries import DeliveryRepository
from bot.store.job_queries import InteractionRef
from bot.store.jobs import ERASED_PROMPT, JobRepository
from bot.store.wait_limits import waits_limited

__all__ = ["InteractionRef", "MessageStore", "StatusMessage", "is_erased"]

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 120.0
METHODS_SECONDS = 5.0


class DeliveryTransport(Protocol):
    """Knows how to hand a package over."""

    async def methods(self, job: Job) -> tuple[str, ...]:
        """The rungs worth trying now, best first; ``kept`` need not be named."""
        ...

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        """Post the package.

        Raises DeliveryUnavailable or OSError if it cannot be done now, or if nobody can say
        whether it was; any other DeliveryError if this rung refuses it.
        """
        ...

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        """The message that an attempt, first made at ``since``, has posted after all, or None.

        Raises DeliveryUnavailable or OSError if that cannot be seen now, any other DeliveryError
        if it can never be.
        """
        ...


class DeliveryService:
    """Climbs down the ladder until a rung holds; the last one always does."""

    def __init__(
        self,
        database: Database,
        transport: DeliveryTransport,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        attempt_seconds: float = ATTEMPT_SECONDS,
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
        waits: Callable[[], None] = lambda: None,
    ) -> Delivered:
        """Hand the result over and say by which rung; never raises for a refused delivery.

        ``again``: rungs that have refused it before are tried, too. ``waits`` is called when it
        turns out that the delivery has to wait.
        """
        nonce = f"job-{job.id}"
        level = logging.INFO if again else logging.WARNING
        pauses = _Pauses(job, Backoff(jitter=0.5, chance=self._chance), self._sleep, waits)
        attempts = {
            attempt.method: attempt
            for attempt in await self._reader.attempts(job.id)
            if attempt.nonce == nonce
        }
        for attempt in attempts.values():
            if attempt.delivered is False:
                continue
            # A restore writes attempts down later than they were made, if they were.
            since = attempt.attempted_at if again else job.created_at
            message = await self._look(attempt.method, job, nonce, since, pauses)
            if message is not None or attempt.delivered:
                return await self._done(job, attempt.method, nonce, message)
        for method in await self._methods(job, waits):
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
                message = await self._attempt(method, job, package, nonce, at, pauses)
            except DeliveryError as error:
                log.log(level, "delivery by %s failed: %s", method, error, extra={"job": job.id})
                await self._note(job, method, nonce, delivered=False, detail=str(error))
                continue
            return await self._done(job, method, nonce, message)
        log.log(level, "the result is kept for the author's history", extra={"job": job.id})
        return Delivered(KEPT)

    async def _methods(self, job: Job, waits: Callable[[], None]) -> tuple[str, ...]:
        """The rungs, once the courier knows them; while Discord is away the card may be unknown."""
        asking = asyncio.ensure_future(self._transport.methods(job))
        try:
            done, _ = await asyncio.wait({asking}, timeout=METHODS_SECONDS)
            if not done:
                waits()
            return await asking
        finally:
            asking.cancel()

    async def _attempt(
        self,
        method: str,
        job: Job,
        package: JobResult,
        nonce: str,
        since: datetime,
        pauses: _Pauses,
    ) -> MessageRef | None:
        """Post on one rung, as often as it takes. Raises DeliveryError if the rung refuses."""
        while True:
            try:
                async with asyncio.timeout(self._attempt_seconds):
                    return await self._transport.send(method, job, package, nonce)
            except (DeliveryUnavailable, OSError) as error:
                await pauses.after(method, error)
            message = await self._look(method, job, nonce, since, pauses)
            if message is not None:
                return message

    async def _look(
        self, method: str, job: Job, nonce: str, since: datetime, pauses: _Pauses
    ) -> MessageRef | None:
        """What an earlier attempt has left on a rung, as soon as that can be seen."""
        while True:
            try:
                async with asyncio.timeout(self._attempt_seconds):
                    return await self._transport.find_sent(method, job, nonce, since)
            except (DeliveryUnavailable, OSError) as error:
                await pauses.after(method, error)
            except DeliveryError as error:
                log.info("cannot look for an earlier post: %s", error, extra={"job": job.id})
                return None

    async def _done(
        self, job: Job, method: str, nonce: str, message: MessageRef | None
    ) -> Delivered:
        await self._note(job, method, nonce, delivered=True)
        return Delivered(method, message)

    async def _note(
        self, job: Job, method: str, nonce: str, *, delivered: bool, detail: str = ""
    ) -> None:
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job.id, method, nonce, delivered=delivered, at=at, detail=detail
            )
        )


class _Pauses:
    """The waits of one delivery; the first is told to whoever wants to know, and logged loudly."""

    def __init__(
        self,
        job: Job,
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[None]],
        waits: Callable[[], None],
    ) -> None:
        self._job = job
        self._backoff = backoff
        self._sleep = sleep
        self._waits = waits
        self._level = logging.WARNING

    async def after(self, method: str, error: DeliveryUnavailable | OSError) -> None:
        """Wait before the next attempt."""
        at_least = error.retry_after if isinstance(error, DeliveryUnavailable) else 0.0
        pause = self._backoff.next(at_least)
        log.log(
            self._level,
            "delivery by %s waits, again in %.1f s: %s",
            method,
            pause,
            str(error) or "no answer in time",
            extra={"job": self._job.id},
        )
        self._level = logging.INFO
        self._waits()
        await self._sleep(pause)


def is_erased(job: Job) -> bool:
    """Whether the author had the words of this request erased: there is nothing to make again."""
    return job.request.prompt == ERASED_PROMPT


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """A job's card, and the interaction whose answer it is while that is still known."""

    message: MessageRef
    interaction: InteractionRef | None

    def is_token_valid(self, at: datetime) -> bool:
        """Whether the message can be edited by the interaction's token, one minute to spare."""
        # Decided by the clock: an expired token answers 401, and too many of those are a ban.
        return (
            self.interaction is not None
            and (self.interaction.expires_at - at).total_seconds() > _SPARE_SECONDS
        )


_SPARE_SECONDS = 60.0
_A_DAY = timedelta(days=1)
_ROWS = "rows"


class MessageStore:
    """Remembers messages by job and kind."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._deliveries = DeliveryRepository(database)
        self._jobs = JobRepository(database)

    async def status_message(self, job_id: str) -> StatusMessage | None:
        """The card that was the first answer; None before it was posted and after it is gone."""
        message = await self._deliveries.message(job_id, "card")
        if message is None:
            return None
        return StatusMessage(message, await self._jobs.interaction(job_id))

    async def thread(self, job_id: str) -> MessageRef | None:
        """The thread with the rows: its id and that of its first message."""
        return await self._deliveries.message(job_id, "thread")

    async def save_status_message(
        self,
        job_id: str,
        message: MessageRef,
        *,
        posted_at: datetime | None = None,
        answer: bool = True,
    ) -> None:
        """The card was posted, or says now how the job has ended.

        ``posted_at``: when it was, if not now. Not an ``answer``: a message of the bot's own, which
        the interaction's token does not edit.
        """
        at = self._now()

        def keep(link: sqlite3.Connection) -> None:
            deliveries.set_message(link, job_id, "card", message, at=posted_at or at)
            deliveries.close_card(link, job_id, at=at)
            if not answer:
                jobs.forget_token(link, job_id)

        await self._database.write(keep)

    async def cards_owed(self) -> tuple[str, ...]:
        """Jobs of the last day, and older ones under way, whose card was never written down."""
        return await self._deliveries.cards_owed(self._now() - _A_DAY)

    async def card_owed(self, job_id: str) -> bool:
        """Whether the job's card was never written down, nor that there will be none."""
        return await self._deliveries.card_owed(job_id)

    async def no_card(self, job_id: str, why_not: str) -> None:
        """There will be no card, for a reason; the job goes on without one."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.close_card(link, job_id, at=at, why_not=why_not)
        )

    async def stale_status_messages(self, method: str) -> tuple[str, ...]:
        """Jobs of the last day that have ended, and whose card may not say so.

        Not those that were delivered on ``rung``, where the card became the result.
        """
        return await self._deliveries.stale_status_messages(self._now() - _A_DAY, without=method)

    async def enqueue_rows(self, job_id: str) -> None:
        """The rows are to be posted once the grid is."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.record_attempt(link, job_id, _ROWS, _ROWS, at=at)
        )

    async def pending_rows(self) -> tuple[str, ...]:
        """The jobs whose rows are still to be posted."""
        return await self._deliveries.pending_jobs(_ROWS)

    async def complete_rows(self, job_id: str, why_not: str = "") -> None:
        """The rows were posted or, for a reason, are given up."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job_id, _ROWS, _ROWS, delivered=not why_not, at=at, detail=why_not
            )
        )

    async def save_thread(self, job_id: str, first: MessageRef) -> None:
        """The rows were posted in a thread; ``first`` is the thread and its first message."""
        await self._keep(job_id, "thread", first)

    async def job_of(self, message_id: int) -> str | None:
        """The id of the job that a message belongs to."""
        return await self._deliveries.job_of(message_id)

    async def forget(self, message_id: int) -> None:
        """A message is gone from the channel."""
        await self._database.write(lambda link: deliveries.forget_message(link, message_id))

    async def record_deletion(self, job: Job, message_id: int, by: int) -> None:
        """``by`` had the message removed: forgotten and, if it was not the author, on record."""
        at = self._now()

        def note(link: sqlite3.Connection) -> None:
            deliveries.forget_message(link, message_id)
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

    async def _keep(self, job_id: str, kind: deliveries.MessageKind, message: MessageRef) -> None:
        at = self._now()
        # It is posted, so it is kept, also when the member has his answer long since.
        with waits_limited(None):
            await self._database.write(
                lambda link: deliveries.set_message(link, job_id, kind, message, at=at)
            )
